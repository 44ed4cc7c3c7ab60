//! `limits.memory`: bytes that all clients together may make the server hold.
//!
//! Whatever grows with what clients do is charged here before it is held, and given back with it:
//! connections, the requests on them, bodies. What does not fit is refused, so that the sum never
//! passes the limit. What is of a fixed size (tracked clients, compressors, the places for probes)
//! is set aside beforehand and is not in this account.
//!
//! Room is shared out among clients by dynamic thresholds (Choudhury and Hahne, "Dynamic queue
//! length thresholds for shared-memory packet switches", 1998): nobody may have more than is still
//! free. One client alone gets half of it, and `n` greedy ones leave a share of `1/(n+1)` to
//! whoever comes next. What a few requests take is never refused for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::refusal::{Reason, Refusal};

/// Bytes of a connection that waits: its task, its socket's own bookkeeping in the system, and as much
/// of a request head as is kept without a parser.
pub const WAITING: u64 = 8 * 1024;
/// Bytes more of one at work: a read buffer at its largest (32 KiB), as much again for writing, and
/// the parser.
pub const WORKING: u64 = 72 * 1024;
/// Bytes more of a connection that waits, where it speaks TLS: its session, and no buffer.
pub const TLS: u64 = 8 * 1024;
/// Bytes more of one in its handshake: what has come of it, and what is on its way out.
pub const HANDSHAKE: u64 = 24 * 1024;
/// Bytes more of one at work, where it speaks TLS: a record on its way in, twice, and two on their way out.
pub const TLS_WORKING: u64 = 72 * 1024;
/// Bytes more of a request to an upstream: a buffer to read, and one to write.
pub const UPSTREAM: u64 = 128 * 1024;
/// Bytes more of one within TLS: records that come and go, and what is decrypted of them.
pub const UPSTREAM_TLS: u64 = 80 * 1024;
/// Bytes more of a request for a file: a piece that is read, one in between, and one on its way out.
pub const FILE: u64 = 192 * 1024;
/// Bytes of an HTTP/2 stream that is open, whatever becomes of it: its head, its state, and an answer
/// that is short, and need not be read.
pub const STREAM: u64 = 4 * 1024;
/// Bytes of a body that are in its connection's buffers anyway.
pub const BUFFERED: u64 = 16 * 1024;
/// Bytes of a connection on which only probes are answered, all in all: its heads are small.
pub const PROBING: u64 = 40 * 1024;

/// Streams of a connection that are requests like any other. What more of them hold may take three
/// quarters of the room, and leaves the rest to those who ask for less.
pub const FEW: usize = 4;

/// A client may hold this part of all in any case, if there is room: a few requests.
const FLOOR: u64 = 32;

/// A bounded sum that everything which is held adds to. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryAccount(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
    scarce: Notify,
}

/// What is charged, and so how far the account may be filled by it: what serves clients who are
/// there already goes before what merely waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A connection on which nothing happens.
    Waiting,
    /// A request that is read, served or answered.
    Work,
    /// The same, for a client that has [a few](FEW) under way on this connection.
    More,
    /// A request body that a handler holds.
    Body,
}

impl Purpose {
    /// How much of `limit` may be in use once this is charged.
    fn ceiling(self, limit: u64) -> u64 {
        match self {
            Self::Work => limit,
            Self::More => limit - limit / 4,
            Self::Waiting => limit - limit / 16,
            Self::Body => limit - limit / 8,
        }
    }
}

/// What one client holds, over all of its connections.
#[derive(Debug, Default)]
pub struct Share {
    bytes: AtomicU64,
    /// Its requests, as far as [`Places`](crate::places::Places) counts them.
    pub requests: AtomicUsize,
}

impl MemoryAccount {
    /// An account of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0), scarce: Notify::new() }))
    }

    /// Bytes that are charged at this moment.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes in use beyond three quarters: what can be spared should go then.
    pub fn scarce_by(&self) -> u64 {
        self.used().saturating_sub(self.0.limit / 4 * 3)
    }

    /// Whether half of it is in use.
    pub fn is_half_used(&self) -> bool {
        self.used() > self.0.limit / 2
    }

    /// Whether `bytes` more would fit, whoever asks.
    pub fn has_room(&self, bytes: u64, purpose: Purpose) -> bool {
        self.used().saturating_add(bytes) <= purpose.ceiling(self.0.limit)
    }

    /// Waits until something finds it scarce.
    pub async fn scarce(&self) {
        self.0.scarce.notified().await;
    }

    /// A charge of nothing yet; what it takes counts for the client whose `share` it is.
    pub fn open(&self, share: Option<Arc<Share>>) -> Charge {
        Charge { account: self.clone(), share, bytes: AtomicU64::new(0) }
    }
}

/// What somebody has charged; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    account: MemoryAccount,
    share: Option<Arc<Share>>,
    bytes: AtomicU64,
}

impl Charge {
    /// Charges `bytes` more.
    ///
    /// # Errors
    /// The account, or this client's part of it, is exhausted. What was charged before stays charged.
    pub fn add(&self, bytes: u64, purpose: Purpose) -> Result<(), Refusal> {
        let Inner { limit, used, scarce } = &*self.account.0;
        let in_use = used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if in_use > limit / 4 * 3 {
            scarce.notify_one();
        }
        let fits = in_use <= purpose.ceiling(*limit);
        let free = limit.saturating_sub(in_use);
        let own = self
            .share
            .as_ref()
            .map_or(0, |share| share.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Counted itself, what this client holds may be as much as is left and no more.
        if fits && own <= free.saturating_add(bytes).max(limit / FLOOR) {
            return Ok(());
        }
        self.give_back(bytes);
        Err(exhausted(fits))
    }

    /// Charges `bytes` more, whether there is room or not: for what takes the place of something
    /// that has been told to go and has not gone yet.
    pub fn add_in_exchange(&self, bytes: u64) {
        self.account.0.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was charged, before the end.
    pub fn release(&self) {
        // Swapped, so that two who come to it at once do not give it back twice.
        self.uncount(self.bytes.swap(0, Ordering::Relaxed));
    }

    /// Gives back what was charged beyond so many bytes.
    pub fn keep(&self, bytes: u64) {
        let beyond = self.bytes.load(Ordering::Relaxed).saturating_sub(bytes);
        self.give_back(beyond);
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.uncount(bytes);
    }

    fn uncount(&self, bytes: u64) {
        self.account.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release();
    }
}

fn exhausted(by_one: bool) -> Refusal {
    let detail = if by_one {
        "this client holds as much memory as is left for all others"
    } else {
        "the memory for requests is in use"
    };
    Refusal::new(Reason::Overloaded, detail).limit("limits.memory").retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_never_passes_the_limit_and_all_is_given_back() {
        let account = MemoryAccount::new(16);
        let (first, second) = (account.open(None), account.open(None));
        assert!(first.add(6, Purpose::Work).is_ok() && second.add(8, Purpose::Body).is_ok());
        assert_eq!(second.add(3, Purpose::Work).unwrap_err().reason, Reason::Overloaded);
        assert!(account.open(None).add(1, Purpose::More).is_err());
        // The last eighth is not for bodies, and the last sixteenth for requests alone.
        assert!(second.add(1, Purpose::Body).is_err() && second.add(1, Purpose::Waiting).is_ok());
        assert!(second.add(1, Purpose::Waiting).is_err() && second.add(1, Purpose::Work).is_ok());
        assert_eq!(account.used(), 16);
        drop(first);
        assert_eq!(account.used(), 10);
        drop(second);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_client_may_hold_as_much_as_is_left_and_greedy_ones_leave_room() {
        let account = MemoryAccount::new(1_000);
        let take_all = || {
            let charge = account.open(Some(Arc::default()));
            let taken = (0..).take_while(|_| charge.add(10, Purpose::Work).is_ok()).count();
            (charge, taken)
        };
        let mut held = vec![take_all()];
        assert_eq!(held[0].1, 50);
        for _ in 0..3 {
            held.push(take_all());
        }
        // Each came when less was left, and half of that is left by each.
        assert_eq!(held.iter().map(|(_, taken)| *taken).collect::<Vec<_>>(), [50, 25, 13, 6]);
        let newcomer = account.open(Some(Arc::default()));
        assert!(newcomer.add(30, Purpose::Work).is_ok());
        let refused = held[0].0.add(10, Purpose::Work).unwrap_err();
        assert!(refused.detail.contains("this client"), "{refused:?}");
        drop((held, newcomer));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_few_requests_are_never_refused_for_what_others_hold() {
        let account = MemoryAccount::new(64 * 32);
        let _others = (account.open(None), account.open(None).add(1, Purpose::Work).unwrap());
        _others.0.add(64 * 32 - 100, Purpose::Work).unwrap();
        let few = account.open(Some(Arc::default()));
        // More than is left for all others, and no more than a thirty-second part.
        assert!(few.add(64, Purpose::Work).is_ok());
        assert!(few.add(1, Purpose::Work).is_err());
    }

    #[test]
    fn what_is_released_is_not_given_back_again() {
        let (account, share) = (MemoryAccount::new(100), Arc::new(Share::default()));
        let (charge, other) = (account.open(Some(share.clone())), account.open(Some(share.clone())));
        charge.add(20, Purpose::Work).unwrap();
        other.add(10, Purpose::Work).unwrap();
        charge.release();
        charge.release();
        drop(charge);
        assert_eq!((account.used(), share.bytes.load(Ordering::Relaxed)), (10, 10));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_it_gets_scarce() {
        let account = MemoryAccount::new(100);
        let charge = account.open(None);
        charge.add(75, Purpose::Work).unwrap();
        assert_eq!(account.scarce_by(), 0);
        charge.add(1, Purpose::Work).unwrap();
        assert_eq!(account.scarce_by(), 1);
        account.scarce().await;
    }
}
