//! Switches evidence off when its own code fails too often: what watches over others must harm nobody.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts faults, and blows.
#[derive(Debug)]
pub(super) struct Fuse {
    threshold: usize,
    window: Duration,
    faults: Mutex<VecDeque<Instant>>,
    total: AtomicU64,
    blown: AtomicBool,
}

impl Fuse {
    /// Blows at `threshold` faults within `window`.
    pub(super) fn new(threshold: usize, window: Duration) -> Self {
        Self {
            threshold,
            window,
            faults: Mutex::default(),
            total: AtomicU64::new(0),
            blown: AtomicBool::new(false),
        }
    }

    /// Does what `work` does, unless it is off. A panic in it is a fault, and goes no further.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.is_blown() {
            return None;
        }
        // Locks that a panic leaves behind are taken over by who comes next, and every structure under one
        // is whole between its own steps, or off after a few more of these.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => Some(done),
            Err(_) => {
                self.fault();
                None
            }
        }
    }

    /// Something went wrong that never should.
    fn fault(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push_back(now);
        while faults.front().is_some_and(|first| now.duration_since(*first) > self.window) {
            faults.pop_front();
        }
        if faults.len() >= self.threshold && !self.blown.swap(true, Ordering::Relaxed) {
            let window = self.window.as_secs();
            tracing::error!(
                "evidence is off until the next start: {} internal faults within {window} s \
                 (evidence.panic_threshold); requests are served on",
                faults.len()
            );
        }
    }

    /// Whether it is off for good.
    pub(super) fn is_blown(&self) -> bool {
        self.blown.load(Ordering::Relaxed)
    }

    /// Faults since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_faults_within_the_window_blow_it() {
        let fuse = Fuse::new(3, Duration::from_secs(60));
        assert_eq!(fuse.guard(|| 7), Some(7));
        for _ in 0..2 {
            assert_eq!(fuse.guard(|| panic!("meant to")), None::<()>);
        }
        assert!(!fuse.is_blown());
        assert_eq!(fuse.guard(|| 7), Some(7));
        assert_eq!(fuse.guard(|| panic!("meant to")), None::<()>);
        assert!(fuse.is_blown());
        assert_eq!((fuse.guard(|| 7), fuse.total()), (None, 3));
    }

    #[test]
    fn faults_that_are_long_past_do_not_count() {
        let fuse = Fuse::new(2, Duration::ZERO);
        for _ in 0..5 {
            fuse.fault();
            let at = Instant::now();
            while Instant::now() == at {}
        }
        assert!(!fuse.is_blown());
        assert_eq!(fuse.total(), 5);
    }
}
