//! One address, and what is known of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::ejection::{Ejection, Standing};
use super::health::Checks;
use super::lease::{Kind, Lease};
use super::{Group, GroupOptions};

/// Put aside for what requests found out.
const OUT: u32 = 1;
/// Fails its health check.
const FAILING: u32 = 2;
/// Its last request failed.
const DOUBTED: u32 = 4;
/// The bits below the age.
const FLAG_BITS: u32 = 3;

/// One address that requests can be sent to. `P` is what is kept per address: a pool of connections.
pub struct Endpoint<P> {
    /// The address.
    pub address: SocketAddr,
    /// The index of the configured upstream that it came from.
    pub upstream: usize,
    /// What is kept for the address, for as long as it is known.
    pub pool: P,
    in_flight: AtomicUsize,
    /// What a pick has to know of the record: its flags and age, in one word that needs no lock.
    summary: AtomicU32,
    record: Mutex<Record>,
    group: Weak<Group<P>>,
}

/// What is known of an address. In its lock the summary is written.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) ejection: Ejection,
    pub(super) checks: Checks,
}

impl<P: Default> Endpoint<P> {
    pub(super) fn new(address: SocketAddr, upstream: usize, group: Weak<Group<P>>) -> Self {
        Self {
            address,
            upstream,
            pool: P::default(),
            in_flight: AtomicUsize::new(0),
            summary: AtomicU32::new(0),
            record: Mutex::default(),
            group,
        }
    }
}

impl<P> Endpoint<P> {
    /// Requests that are being served by it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Whether it is neither put aside nor failing its health check.
    pub fn is_available(&self) -> bool {
        self.summary.load(Relaxed) & (OUT | FAILING) == 0
    }

    /// Its group, unless a reload has replaced that.
    pub(super) fn group(&self) -> Option<Arc<Group<P>>> {
        self.group.upgrade()
    }

    pub(super) fn standing(&self, options: &GroupOptions) -> Standing {
        match self.summary.load(Relaxed) & (OUT | FAILING) {
            0 => Standing::Ready,
            OUT => self.record().ejection.standing(Instant::now(), options),
            _ => Standing::Down,
        }
    }

    /// A lease on the address as it stands, unless another request was quicker.
    pub(super) fn take(self: &Arc<Self>, standing: Standing, options: &GroupOptions) -> Option<Lease<P>> {
        let (kind, age) = match standing {
            Standing::Ready => (Kind::Plain, self.summary.load(Relaxed) >> FLAG_BITS),
            Standing::Trial => {
                let begin = |record: &mut Record| record.ejection.begin_trial(Instant::now(), options);
                (Kind::Trial, self.change(begin)?)
            }
            Standing::Refusing => (Kind::LastResort, 0),
            Standing::Down => return None,
        };
        self.in_flight.fetch_add(1, Relaxed);
        Some(Lease::new(self.clone(), kind, age))
    }

    /// A request succeeded that was sent while the address was in. Mostly no news, and that costs
    /// nothing.
    pub(super) fn succeeded(&self) {
        if self.summary.load(Relaxed) & DOUBTED != 0 {
            self.change(|record| record.ejection.succeeded());
        }
    }

    /// A lease was dropped.
    pub(super) fn give_back(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Changes what is known, and what picks see of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.record();
        let result = change(&mut record);
        let out = if record.ejection.is_out() { OUT } else { 0 };
        let failing = if record.checks.are_failing() { FAILING } else { 0 };
        let doubted = if record.ejection.waits_for_success() { DOUBTED } else { 0 };
        self.summary.store((record.ejection.age() << FLAG_BITS) | out | failing | doubted, Relaxed);
        result
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> fmt::Debug for Endpoint<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("upstream", &self.upstream)
            .field("in_flight", &self.in_flight())
            .field("available", &self.is_available())
            .finish_non_exhaustive()
    }
}
