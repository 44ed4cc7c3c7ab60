//! The upstreams of one route: their addresses, and what is told about them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::budget::RetryBudget;
use super::lease::Kind;
use super::{Endpoint, Events, Failure, GroupOptions};

/// The most addresses of one upstream: what a name service says must not take all memory.
const MOST_ADDRESSES: usize = 256;

/// The addresses of all upstreams.
type Members<P> = Vec<Arc<Endpoint<P>>>;

/// The upstreams of one route.
pub struct Group<P> {
    options: GroupOptions,
    events: Arc<dyn Events>,
    members: ArcSwap<Members<P>>,
    known: Mutex<Vec<Known>>,
    /// Upstreams whose name has had no answer yet. Sent anew whenever addresses change; those who
    /// wait see its end as the end of the group.
    waiting: watch::Sender<usize>,
    /// By upstream: an address fails, and its name might have others by now.
    doubts: Vec<Arc<Notify>>,
    budget: RetryBudget,
    this: Weak<Self>,
}

/// What is known of an upstream.
#[derive(Debug, Default)]
struct Known {
    /// The last answer of the name service, or why there was none.
    answer: Option<Result<(), String>>,
    /// It has been said that it has too many addresses.
    warned: bool,
    /// What [`Events`] were told last.
    healthy: Option<bool>,
}

impl<P: Default + Send + Sync + 'static> Group<P> {
    /// A group that knows the upstreams that are addresses; names are for [`Self::discover`].
    pub fn new(options: GroupOptions, events: Arc<dyn Events>) -> Arc<Self> {
        let count = options.upstreams.len();
        let group = Arc::new_cyclic(|this| Self {
            events,
            members: ArcSwap::from_pointee(Vec::new()),
            known: Mutex::new(std::iter::repeat_with(Known::default).take(count).collect()),
            waiting: watch::Sender::new(count),
            doubts: std::iter::repeat_with(Arc::default).take(count).collect(),
            budget: RetryBudget::new(options.retry_budget),
            this: this.clone(),
            options,
        });
        for (upstream, spec) in group.options.upstreams.iter().enumerate() {
            if let Some(address) = literal(&spec.host) {
                group.set_addresses(upstream, &[address]);
            }
        }
        group
    }

    /// The upstreams that are names, by index: each needs a [`Self::discover`].
    pub fn names(&self) -> Vec<(usize, String)> {
        let upstreams = self.options.upstreams.iter().enumerate();
        let names = upstreams.filter(|(_, spec)| literal(&spec.host).is_none());
        names.map(|(upstream, spec)| (upstream, spec.host.clone())).collect()
    }

    /// The addresses of an upstream are these. Those that stay keep their state; those that are gone
    /// are not picked any more, and what they serve goes on.
    pub fn set_addresses(&self, upstream: usize, addresses: &[IpAddr]) {
        let mut all = self.known();
        let (Some(known), Some(spec)) = (all.get_mut(upstream), self.options.upstreams.get(upstream)) else {
            return;
        };
        let before = self.members.load_full();
        let mut now: Members<P> = before.iter().filter(|old| old.upstream != upstream).cloned().collect();
        let others = now.len();
        for address in addresses {
            let address = SocketAddr::new(*address, spec.port);
            let same =
                |endpoint: &&Arc<Endpoint<P>>| endpoint.upstream == upstream && endpoint.address == address;
            if now.iter().any(|endpoint| same(&endpoint)) {
                continue;
            }
            if now.len() - others == MOST_ADDRESSES {
                if !std::mem::replace(&mut known.warned, true) {
                    let (upstream, used) = (&spec.label, MOST_ADDRESSES);
                    tracing::warn!(%upstream, used, "the upstream has more addresses than are used");
                }
                break;
            }
            let fresh = || Arc::new(Endpoint::new(address, upstream, self.this.clone()));
            now.push(before.iter().find(same).cloned().unwrap_or_else(fresh));
        }
        tracing::debug!(upstream = %spec.label, addresses = now.len() - others, "addresses of an upstream");
        self.members.store(Arc::new(now));
        known.answer = Some(Ok(()));
        self.tell(upstream, &mut all);
        self.waiting.send_replace(all.iter().filter(|known| known.answer.is_none()).count());
    }

    /// The name of an upstream was not resolved. The addresses that it had are kept: an old one is
    /// better than none, and if it is gone requests find out. The source of the answer logs it.
    pub fn set_unresolved(&self, upstream: usize, why: String) {
        let mut all = self.known();
        let Some(known) = all.get_mut(upstream) else { return };
        known.answer = Some(Err(why));
        self.tell(upstream, &mut all);
        self.waiting.send_replace(all.iter().filter(|known| known.answer.is_none()).count());
    }
}

impl<P> Group<P> {
    /// Whether every upstream has had its first answer or failure.
    pub fn is_resolved(&self) -> bool {
        *self.waiting.borrow() == 0
    }

    /// Waits until every upstream has had its first answer or failure. For a request that finds
    /// [`Unavailable::NoAddress`](super::Unavailable::NoAddress): the first one after a start must not
    /// fail while the name service is being asked.
    pub async fn resolved(&self) {
        let _gone = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await.is_err();
    }

    /// Every address that can be picked.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint<P>>> {
        self.members.load().as_ref().clone()
    }

    /// Takes a retry from what requests have earned; `false` if there is none.
    pub fn take_retry(&self) -> bool {
        self.budget.take()
    }

    /// What the group was made with.
    pub fn options(&self) -> &GroupOptions {
        &self.options
    }

    pub(super) fn earn_retry(&self) {
        self.budget.earn();
    }

    pub(super) fn members(&self) -> Guard<Arc<Members<P>>> {
        self.members.load()
    }

    /// Changes of the addresses; it ends with the group.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Notified when an address of the upstream is put aside.
    pub(super) fn doubt(&self, upstream: usize) -> Arc<Notify> {
        self.doubts.get(upstream).cloned().unwrap_or_default()
    }

    pub(super) fn label(&self, upstream: usize) -> &str {
        self.options.upstreams.get(upstream).map_or("", |spec| &spec.label)
    }

    pub(super) fn why_no_address(&self) -> String {
        let known = self.known();
        let why = |(known, label): (&Known, &str)| match &known.answer {
            None => format!("{label}: the name is not resolved yet"),
            Some(Ok(())) => format!("{label}: the name has no address"),
            Some(Err(why)) => format!("{label}: {why}"),
        };
        let labels = self.options.upstreams.iter().map(|spec| spec.label.as_str());
        known.iter().zip(labels).map(why).collect::<Vec<_>>().join("; ")
    }

    /// An address that was out answered.
    pub(super) fn returned(&self, endpoint: &Endpoint<P>) {
        if endpoint.change(|record| record.ejection.returned(Instant::now())) {
            let (upstream, address) = (self.label(endpoint.upstream), endpoint.address);
            tracing::info!(%upstream, %address, "the address answers again");
            self.report(endpoint.upstream);
        }
    }

    /// An address failed a request.
    pub(super) fn failed(&self, endpoint: &Endpoint<P>, kind: Kind, age: u32, failure: Failure) {
        let (now, options) = (Instant::now(), &self.options);
        let ejected = endpoint.change(|record| match kind {
            Kind::Plain => record.ejection.failed(failure, age, now, options),
            Kind::Trial => record.ejection.trial_failed(failure, age, now, options),
            Kind::LastResort => {
                record.ejection.last_resort_failed(failure);
                None
            }
        });
        let Some(time) = ejected else { return };
        let (upstream, address) = (self.label(endpoint.upstream), endpoint.address);
        let milliseconds = time.as_millis();
        tracing::warn!(%upstream, %address, ?failure, milliseconds, "the address is put aside");
        self.events.ejected(endpoint.upstream);
        self.report(endpoint.upstream);
        if let Some(doubt) = self.doubts.get(endpoint.upstream) {
            doubt.notify_one();
        }
    }

    /// Tells the upstream's health, if it changed.
    pub(super) fn report(&self, upstream: usize) {
        self.tell(upstream, &mut self.known());
    }

    /// In the lock, so that the last that is told is what is true.
    fn tell(&self, upstream: usize, all: &mut [Known]) {
        let members = self.members.load();
        let healthy = members.iter().any(|member| member.upstream == upstream && member.is_available());
        if let Some(known) = all.get_mut(upstream)
            && known.healthy.replace(healthy) != Some(healthy)
        {
            self.events.healthy(upstream, healthy);
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> fmt::Debug for Group<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members.load();
        f.debug_struct("Group")
            .field("options", &self.options)
            .field("members", &**members)
            .finish_non_exhaustive()
    }
}

/// A host that is an address.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}
