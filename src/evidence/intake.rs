//! Where refusals come in: what is known already is counted, what is new is copied and waits to be read.
//!
//! SECURITY: it is a part of what a refusal costs, and a flood of refusals is what it is there for. Nothing here
//! is read, redacted or hashed; what finds no room is dropped and counted.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::severity::Severity;
use crate::client_address::ClientKey;
use crate::protocol::Protocol;
use crate::refusal::Reason;

/// What waits at most.
pub(super) const MOST_WAITING: usize = 1024;
/// Bytes of what waits.
pub(super) const MOST_BYTES: usize = 1 << 20;
/// Bytes of a head that are kept.
pub(super) const HEAD: usize = 8 * 1024;
/// Bytes of a path, and of a body, that tell two refusals apart. A hash costs by the byte.
const TOLD_BY: usize = 256;
const SHARDS: usize = 16;

/// How often the same came, and when last.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) count: AtomicU64,
    /// Milliseconds since the Unix epoch.
    pub(super) last: AtomicU64,
}

/// A refusal as it came.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) signature: u64,
    pub(super) tally: Arc<Tally>,
    pub(super) reason: Reason,
    pub(super) severity: Severity,
    pub(super) client: IpAddr,
    pub(super) protocol: Protocol,
    /// Milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) status: Option<u16>,
    pub(super) detail: Box<str>,
    pub(super) limit: Option<&'static str>,
    pub(super) request_id: Box<str>,
    pub(super) route: Box<str>,
    /// Whether the head was read: else these are the bytes that could not be.
    pub(super) parsed: bool,
    pub(super) head: Vec<u8>,
    pub(super) head_length: usize,
    pub(super) body: Vec<u8>,
    pub(super) body_seen: u64,
}

impl Captured {
    fn size(&self) -> usize {
        size_of::<Self>() + self.head.len() + self.body.len() + self.detail.len() + self.route.len() + 128
    }
}

/// What tells refusals apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Likeness<'a> {
    pub(super) reason: Reason,
    pub(super) client: IpAddr,
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) body: &'a [u8],
}

/// What is to become of a refusal.
#[derive(Debug)]
pub(super) enum Fate {
    /// It was counted, with those like it.
    Folded,
    /// There is no room.
    Dropped,
    /// It is to be copied.
    New(u64, Arc<Tally>),
}

#[derive(Debug)]
pub(super) struct Intake {
    hash: RandomState,
    known: [Mutex<HashMap<u64, Arc<Tally>>>; SHARDS],
    waiting: Mutex<VecDeque<Captured>>,
    count: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            hash: RandomState::new(),
            known: Default::default(),
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Counts what is known; of what is new tells whether there is room.
    pub(super) fn judge(&self, likeness: &Likeness<'_>, severity: Severity, now: u64) -> Fate {
        let signature = self.signature(likeness);
        let Some(shard) = self.shard(signature) else { return Fate::Dropped };
        let mut known = hold(shard);
        match known.entry(signature) {
            Entry::Occupied(known) => {
                let tally = known.get();
                tally.count.fetch_add(1, Ordering::Relaxed);
                tally.last.store(now, Ordering::Relaxed);
                Fate::Folded
            }
            Entry::Vacant(place) if self.has_room(severity) => {
                let tally = Arc::new(Tally { count: AtomicU64::new(1), last: AtomicU64::new(now) });
                place.insert(tally.clone());
                self.count.fetch_add(1, Ordering::Relaxed);
                Fate::New(signature, tally)
            }
            Entry::Vacant(_) => {
                self.drop_one();
                Fate::Dropped
            }
        }
    }

    /// What is more telling finds room for longer.
    fn has_room(&self, severity: Severity) -> bool {
        let quarters = match severity {
            Severity::Low => 2,
            Severity::Medium => 3,
            Severity::High => 4,
        };
        self.count.load(Ordering::Relaxed) < MOST_WAITING / 4 * quarters
            && self.bytes.load(Ordering::Relaxed) < MOST_BYTES / 4 * quarters
    }

    fn signature(&self, likeness: &Likeness<'_>) -> u64 {
        let Likeness { reason, client, method, path, body } = likeness;
        let short = |bytes: &[u8]| bytes.len().min(TOLD_BY);
        let mut hasher = self.hash.build_hasher();
        hasher.write_u8(*reason as u8);
        ClientKey::from(*client).hash(&mut hasher);
        for part in [method, path, body] {
            hasher.write_usize(part.len());
            hasher.write(part.get(..short(part)).unwrap_or_default());
        }
        hasher.finish()
    }

    fn shard(&self, signature: u64) -> Option<&Mutex<HashMap<u64, Arc<Tally>>>> {
        self.known.get(usize::try_from(signature % SHARDS as u64).unwrap_or(0))
    }

    /// One that was new waits to be read; whether many do.
    pub(super) fn wait(&self, captured: Captured) -> bool {
        self.bytes.fetch_add(captured.size(), Ordering::Relaxed);
        let mut waiting = hold(&self.waiting);
        waiting.push_back(captured);
        waiting.len() == 1
    }

    /// The next that waits.
    pub(super) fn next(&self) -> Option<Captured> {
        let captured = hold(&self.waiting).pop_front()?;
        self.bytes.fetch_sub(captured.size(), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(captured)
    }

    /// It is not known any more: another like it is new.
    pub(super) fn forget(&self, signature: u64) {
        if let Some(shard) = self.shard(signature) {
            hold(shard).remove(&signature);
        }
    }

    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
