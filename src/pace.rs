//! A slowest allowed pace, as a bucket that waiting drains and bytes fill.

use std::time::Duration;

use tokio::time::Instant;

use crate::units::Rate;

/// How long bytes that came early count for a later pause. It bounds what a client can buy by
/// one fast burst: without it, the first megabyte of an upload would pay for half an hour of
/// dripping.
const MEMORY: Duration = Duration::from_secs(30);

/// Judges how fast bytes move while somebody waits for them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rate: f64,
    level: f64,
    cap: f64,
}

impl Pace {
    /// A pace of `rate`, with `credit` bytes beyond its grace for what the system buffers unseen.
    pub fn new(rate: Rate, credit: u32) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a rate beyond 2^53 B/s is not told apart from 2^53")]
        let bytes_per_second = rate.bytes_per_second.max(1) as f64;
        let level = bytes_per_second * rate.grace.as_secs_f64() + f64::from(credit);
        Self { rate: bytes_per_second, level, cap: level + bytes_per_second * MEMORY.as_secs_f64() }
    }

    /// `bytes` moved.
    pub fn moved(&mut self, bytes: u64) {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53 between two calls")]
        let bytes = bytes as f64;
        self.level = (self.level + bytes).min(self.cap);
    }

    /// Somebody waited so long for the other side.
    pub fn waited(&mut self, time: Duration) {
        self.level -= self.rate * time.as_secs_f64();
    }

    /// When the other side is too slow: in the past where it has been so for a while.
    pub fn ends(&self, now: Instant) -> Option<Instant> {
        let owed = Duration::try_from_secs_f64((-self.level / self.rate).max(0.0)).unwrap_or(Duration::MAX);
        now.checked_add(self.patience()).map(|end| end.checked_sub(owed).unwrap_or(now))
    }

    /// How much longer the other side may take; zero once it is too slow.
    pub fn patience(&self) -> Duration {
        Duration::try_from_secs_f64((self.level / self.rate).max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(credit: u32) -> Pace {
        Pace::new(Rate { bytes_per_second: 500, grace: Duration::from_secs(5) }, credit)
    }

    #[test]
    fn a_stall_ends_with_the_grace() {
        let mut pace = pace(0);
        assert_eq!(pace.patience(), Duration::from_secs(5));
        pace.waited(Duration::from_secs(5));
        assert_eq!(pace.patience(), Duration::ZERO);
        let now = Instant::now() + Duration::from_secs(3600);
        assert_eq!(pace.ends(now), Some(now));
        pace.waited(Duration::from_secs(7));
        assert_eq!(pace.ends(now), Some(now - Duration::from_secs(7)));
        pace.moved(500 * 8);
        assert_eq!(pace.ends(now), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_client_at_the_rate_is_never_too_slow_and_one_below_it_is() {
        let mut honest = pace(0);
        let mut slow = pace(0);
        for _ in 0..1000 {
            honest.waited(Duration::from_secs(1));
            honest.moved(500);
            slow.waited(Duration::from_secs(1));
            slow.moved(499);
        }
        assert!(honest.patience() > Duration::from_secs(4));
        assert!(slow.patience() < Duration::from_secs(4));
    }

    #[test]
    fn a_burst_pays_for_half_a_minute_and_no_more() {
        let mut pace = pace(0);
        pace.moved(1 << 30);
        assert_eq!(pace.patience(), Duration::from_secs(35));
    }

    #[test]
    fn a_credit_stands_for_what_the_system_holds() {
        assert_eq!(pace(500).patience(), Duration::from_secs(6));
    }
}
