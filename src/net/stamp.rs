//! Moments of a connection's life that are shared without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A moment, or none, that several parties read and write.
#[derive(Debug, Default)]
pub(super) struct Stamp(AtomicU64);

impl Stamp {
    pub(super) fn set(&self, at: u64) {
        self.0.store(at + 1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}
