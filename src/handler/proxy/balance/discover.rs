//! Following the addresses of a name.

use std::net::IpAddr;
use std::sync::Arc;

use super::Group;

/// Where the addresses of one name come from.
pub trait AddressSource: Send {
    /// Waits for the next answer: at first the one that is known, if one is. May be dropped and called
    /// anew at any time without missing one.
    fn next(&mut self) -> impl Future<Output = Result<Vec<IpAddr>, String>> + Send;

    /// An address of the name fails: it may be time to ask again, if that was not just done.
    fn refresh(&mut self) {}
}

impl<P: Default + Send + Sync + 'static> Group<P> {
    /// Tells the group what `source` says of one of its upstreams, for as long as the group is in use.
    /// It does not keep the group: a group that a reload replaced goes, and ends this.
    pub fn discover<S>(
        self: &Arc<Self>,
        upstream: usize,
        mut source: S,
    ) -> impl Future<Output = ()> + Send + use<P, S>
    where
        S: AddressSource,
    {
        let (group, mut changes) = (Arc::downgrade(self), self.changes());
        let doubt = self.doubt(upstream);
        let ended = async move { while changes.changed().await.is_ok() {} };
        let follow = async move {
            loop {
                let answer = tokio::select! {
                    answer = source.next() => answer,
                    () = doubt.notified() => {
                        source.refresh();
                        continue;
                    }
                };
                let Some(group) = group.upgrade() else { return };
                match answer {
                    Ok(addresses) => group.set_addresses(upstream, &addresses),
                    Err(why) => group.set_unresolved(upstream, why),
                }
            }
        };
        async move {
            tokio::select! {
                () = ended => {}
                () = follow => {}
            }
        }
    }
}
