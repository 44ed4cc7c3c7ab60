//! `limits.write_timeout` and `limits.min_send_rate`: is the client taking what it asked for?

use std::time::Duration;

use tokio::time::Instant;

use crate::pace::Pace;
use crate::units::Rate;

/// Unsent bytes that the system may hold for one socket (`TCP_NOTSENT_LOWAT`). It tells us that a
/// client takes bytes only once about half of this has gone, so it is kept small, and no socket
/// is judged by less than this.
pub const UNSENT_LOW_WATER: u32 = 32 * 1024;

/// The two bounds on a client that reads slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendLimits {
    /// Longest time without a byte taken.
    pub timeout: Duration,
    /// Slowest pace while there is something to take; `None` is off.
    pub min_rate: Option<Rate>,
}

/// Judges one stream of bytes by its running totals.
#[derive(Debug, Clone)]
pub struct SendWatch {
    limits: SendLimits,
    pace: Option<Pace>,
    credit: u32,
    waited: Duration,
    sent: u64,
}

impl SendWatch {
    /// A watch over a socket, with nothing sent yet: what the system buffers is not held against it.
    pub fn of_socket(limits: SendLimits) -> Self {
        Self::new(limits, UNSENT_LOW_WATER)
    }

    /// A watch over a stream of HTTP/2. Its bytes count as taken when they leave by its window, so
    /// there is no buffer to make allowance for, and a client that opens windows by drops has no
    /// credit to live on.
    pub fn of_stream(limits: SendLimits) -> Self {
        Self::new(limits, 0)
    }

    fn new(limits: SendLimits, credit: u32) -> Self {
        let pace = limits.min_rate.map(|rate| Pace::new(rate, credit));
        Self { limits, pace, credit, waited: Duration::ZERO, sent: 0 }
    }

    /// The slowest pace that is allowed; `None` is off.
    pub fn min_rate(&self) -> Option<Rate> {
        self.limits.min_rate
    }

    /// Judges by other bounds from now on, if they are others.
    pub fn hold_to(&mut self, limits: SendLimits) {
        if limits != self.limits {
            let (waited, sent) = (self.waited, self.sent);
            *self = Self { waited, sent, ..Self::new(limits, self.credit) };
        }
    }

    /// The moment at which the client is too slow, given that it has taken nothing since
    /// `blocked_since`, waited for `waited` in all and took `sent` bytes in all.
    pub fn deadline(&mut self, now: Instant, blocked_since: Instant, waited: Duration, sent: u64) -> Instant {
        let stall = self.stall(blocked_since);
        let Some(pace) = &mut self.pace else { return stall };
        pace.waited(waited.saturating_sub(self.waited));
        pace.moved(sent.saturating_sub(self.sent));
        (self.waited, self.sent) = (waited, sent);
        pace.ends(now).map_or(stall, |slow| slow.min(stall))
    }

    /// The moment at which nothing has been taken for too long, whatever the pace.
    pub fn stall(&self, blocked_since: Instant) -> Instant {
        blocked_since + self.limits.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> SendLimits {
        let rate = Rate { bytes_per_second: 1024, grace: Duration::from_secs(5) };
        SendLimits { timeout: Duration::from_secs(30), min_rate: Some(rate) }
    }

    /// Seconds for which a client that takes `step` bytes a second is endured.
    fn endured(mut drip: SendWatch, step: u64) -> u64 {
        let start = Instant::now();
        let (mut now, mut sent) = (start, 0);
        while drip.deadline(now, now, now - start, sent) > now {
            now += Duration::from_secs(1);
            sent += step;
        }
        (now - start).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_and_a_drip_both_have_their_end() {
        let start = Instant::now();
        let mut stall = SendWatch::of_socket(limits());
        assert_eq!(stall.deadline(start, start, Duration::ZERO, 0), start + Duration::from_secs(30));
        // 5 s of grace and 32 s of credit, spent at half a second a second.
        assert_eq!(endured(SendWatch::of_socket(limits()), 512), 74);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_its_grace_and_no_credit() {
        assert_eq!(endured(SendWatch::of_stream(limits()), 512), 10);
        assert_eq!(endured(SendWatch::of_stream(limits()), 0), 5);
    }
}
