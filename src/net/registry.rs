//! All open connections, so that a drain can reach each of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::state::{ConnState, Order};
use super::sweep::NEVER;
use crate::random;

/// The open connections. Clones share one list. It is touched when a connection opens, begins to wait, and
/// closes, never on the way of a request.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Mutex<Slots>,
    emptied: Notify,
    /// Somebody is due earlier than the next look of whoever [sweeps](super::sweep).
    sooner: Notify,
    epoch: Instant,
}

#[derive(Debug)]
pub(super) struct Slots {
    pub(super) connections: Vec<Weak<ConnState>>,
    /// When each is to be woken, in milliseconds.
    pub(super) due: Vec<u64>,
    free: Vec<usize>,
    /// When it is next looked who is due.
    pub(super) look: u64,
    /// Somebody looks.
    pub(super) is_swept: bool,
}

impl Default for Inner {
    fn default() -> Self {
        let slots = Slots { connections: vec![], due: vec![], free: vec![], look: NEVER, is_swept: false };
        let (emptied, sooner) = Default::default();
        Self { slots: Mutex::new(slots), emptied, sooner, epoch: Instant::now() }
    }
}

/// A connection's place in the registry, freed when dropped.
#[derive(Debug)]
pub struct Entry {
    registry: Registry,
    slot: usize,
}

impl Registry {
    /// Enters the connection that `build` makes.
    pub fn enter(&self, build: impl FnOnce(Entry) -> ConnState) -> Arc<ConnState> {
        let mut slots = self.slots();
        let slot = slots.free.pop().unwrap_or(slots.connections.len());
        let state = Arc::new(build(Entry { registry: self.clone(), slot }));
        match slots.connections.get_mut(slot) {
            Some(place) => *place = Arc::downgrade(&state),
            None => {
                slots.connections.push(Arc::downgrade(&state));
                slots.due.push(NEVER);
            }
        }
        state
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        let slots = self.slots();
        slots.connections.len() - slots.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every connection that is open at this moment.
    pub fn connections(&self) -> Vec<Arc<ConnState>> {
        self.slots().connections.iter().filter_map(Weak::upgrade).collect()
    }

    /// Some connections that are open at this moment, `count` at most, chosen at random.
    pub fn sample(&self, count: usize) -> Vec<Arc<ConnState>> {
        let slots = self.slots();
        let places = slots.connections.len();
        if places <= count {
            return slots.connections.iter().filter_map(Weak::upgrade).collect();
        }
        let place = || usize::try_from(random::bits() % places as u64).unwrap_or_default();
        (0..count).filter_map(|_| slots.connections.get(place())?.upgrade()).collect()
    }

    /// Gives an order to all of them.
    pub fn order(&self, order: Order) {
        for connection in self.connections() {
            connection.order(order);
        }
    }

    /// Waits until none is open.
    pub async fn emptied(&self) {
        loop {
            let notified = self.0.emptied.notified();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn sooner(&self) -> &Notify {
        &self.0.sooner
    }

    /// A moment, in milliseconds.
    pub(super) fn millis(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment that is so many.
    pub(super) fn at(&self, millis: u64) -> Instant {
        self.0.epoch + Duration::from_millis(millis)
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Has the connection woken once `at` is over, or earlier.
    pub(super) fn wake_at(&self, at: Instant) {
        self.registry.wake_at(self.slot, at);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut slots = self.registry.slots();
        slots.free.push(self.slot);
        if let Some(due) = slots.due.get_mut(self.slot) {
            *due = NEVER;
        }
        if slots.free.len() == slots.connections.len() {
            // A crowd that has left leaves no empty chairs behind.
            (slots.connections, slots.due, slots.free) = Default::default();
            self.registry.0.emptied.notify_waiters();
        }
    }
}
