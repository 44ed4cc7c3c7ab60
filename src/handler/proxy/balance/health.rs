//! Active health checks: every address is asked on its own interval, whatever requests find.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::{Endpoint, Group, HealthOptions};
use crate::deadline::within;
use crate::random;

/// What health checks found out about one address. One that was never asked is available: a start is
/// not held up by checks, and what is down is put aside by the first requests.
#[derive(Debug, Default)]
pub(super) struct Checks {
    failing: bool,
    /// Results in a row that speak against what is held true.
    against: u32,
}

impl Checks {
    pub(super) fn are_failing(&self) -> bool {
        self.failing
    }

    /// A check ended. Returns whether that changed what is held true.
    pub(super) fn note(&mut self, passed: bool, options: &HealthOptions) -> bool {
        self.against = if passed == self.failing { self.against.saturating_add(1) } else { 0 };
        let needed = if self.failing { options.rise } else { options.fall };
        let changes = self.against >= needed.max(1);
        if changes {
            *self = Self { failing: !self.failing, against: 0 };
        }
        changes
    }
}

impl<P: Default + Send + Sync + 'static> Group<P> {
    /// Asks every address for its health, for as long as the group is in use; new ones at once. `probe`
    /// is given an address and the index of its upstream. Ends at once if no checks are configured, and
    /// every check with it when dropped.
    pub fn check_health<F, R>(self: &Arc<Self>, probe: F) -> impl Future<Output = ()> + Send + use<P, F, R>
    where
        F: Fn(SocketAddr, usize) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (group, mut changes) = (Arc::downgrade(self), self.changes());
        let options = self.options().health.clone();
        let probe = Arc::new(probe);
        async move {
            let Some(options) = options else { return };
            let mut tasks = JoinSet::new();
            let mut running: Vec<(Arc<Endpoint<P>>, AbortHandle)> = Vec::new();
            loop {
                let Some(endpoints) = group.upgrade().map(|group| group.endpoints()) else { return };
                running.retain(|(endpoint, task)| {
                    let stays = endpoints.iter().any(|known| Arc::ptr_eq(known, endpoint));
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                for endpoint in endpoints {
                    if !running.iter().any(|(known, _)| Arc::ptr_eq(known, &endpoint)) {
                        let watch = watch(group.clone(), endpoint.clone(), options.clone(), probe.clone());
                        running.push((endpoint, tasks.spawn(watch)));
                    }
                }
                while tasks.try_join_next().is_some() {}
                if changes.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// A health check of an address ended.
    fn checked(&self, endpoint: &Endpoint<P>, result: Result<(), String>, options: &HealthOptions) {
        if !endpoint.change(|record| record.checks.note(result.is_ok(), options)) {
            return;
        }
        let (address, upstream) = (endpoint.address, self.label(endpoint.upstream));
        match result {
            Ok(()) => tracing::info!(%upstream, %address, "the address passes its health check"),
            Err(error) => tracing::warn!(%upstream, %address, %error, "the address fails its health check"),
        }
        self.report(endpoint.upstream);
    }
}

/// Asks one address again and again.
async fn watch<P, F, R>(
    group: Weak<Group<P>>,
    endpoint: Arc<Endpoint<P>>,
    options: HealthOptions,
    probe: Arc<F>,
) where
    P: Default + Send + Sync + 'static,
    F: Fn(SocketAddr, usize) -> R,
    R: Future<Output = Result<(), String>>,
{
    loop {
        let asked = within(options.timeout, probe(endpoint.address, endpoint.upstream)).await;
        let late = || Err(format!("no answer within {} ms", options.timeout.as_millis()));
        let Some(group) = group.upgrade() else { return };
        group.checked(&endpoint, asked.unwrap_or_else(late), &options);
        drop(group);
        tokio::time::sleep(jittered(options.interval)).await;
    }
}

/// An interval that differs by a tenth, so that checks of many addresses spread out.
fn jittered(interval: Duration) -> Duration {
    // The floor keeps an interval of zero from asking without a pause.
    interval.max(Duration::from_millis(10)).mul_f64(0.9 + 0.2 * random::fraction())
}
