//! A budget for retries, as in Finagle: requests earn them.
//!
//! Retries at a fixed number per request multiply the load on an upstream in the moment when it can
//! bear it least. Here they add a share of the requests at most, however much fails.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One retry, in hundredths, so that percents are whole numbers.
const RETRY: u32 = 100;
/// Retries there are to begin with: a quiet service has earned none when it first needs one.
const FIRST: u32 = 10 * RETRY;
/// The most that can be saved up: an hour of calm must not pay for a storm.
const MOST: u32 = 100 * RETRY;

/// A token bucket in one word.
#[derive(Debug)]
pub(super) struct RetryBudget {
    percent: u32,
    level: AtomicU32,
}

impl RetryBudget {
    /// `percent` retries per hundred requests.
    pub(super) fn new(percent: u32) -> Self {
        Self { percent, level: AtomicU32::new(if percent == 0 { 0 } else { FIRST }) }
    }

    /// A request was sent for the first time.
    pub(super) fn earn(&self) {
        // A full bucket, the usual case, is only read: no core waits for another's cache line.
        let fill = |level| (level < MOST).then(|| MOST.min(self.percent.saturating_add(level)));
        if self.percent > 0 {
            let _full = self.level.fetch_update(Relaxed, Relaxed, fill);
        }
    }

    /// Takes a retry, if there is one.
    pub(super) fn take(&self) -> bool {
        self.level.fetch_update(Relaxed, Relaxed, |level| level.checked_sub(RETRY)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(budget: &RetryBudget) -> usize {
        std::iter::repeat_with(|| budget.take()).take_while(|taken| *taken).count()
    }

    #[test]
    fn a_quiet_service_has_ten_retries_and_requests_earn_their_percentage() {
        let budget = RetryBudget::new(20);
        assert_eq!(drain(&budget), 10);
        (0..4).for_each(|_| budget.earn());
        assert!(!budget.take());
        budget.earn();
        assert_eq!(drain(&budget), 1);
        (0..50).for_each(|_| budget.earn());
        assert_eq!(drain(&budget), 10);
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let budget = RetryBudget::new(1000);
        (0..1000).for_each(|_| budget.earn());
        assert_eq!(drain(&budget), 100);
        let huge = RetryBudget::new(u32::MAX);
        huge.earn();
        assert_eq!(drain(&huge), 100);
    }

    #[test]
    fn none_at_zero_percent() {
        let budget = RetryBudget::new(0);
        (0..1000).for_each(|_| budget.earn());
        assert!(!budget.take());
    }
}
