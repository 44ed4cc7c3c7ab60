//! `limits.write_timeout` and `limits.min_send_rate`: is the client taking what it asked for?

use std::time::Duration;

use tokio::time::Instant;

use crate::pace::Pace;
use crate::units::Rate;

/// Unsent bytes that the system may hold for one socket (`TCP_NOTSENT_LOWAT`). It tells us that a
/// client takes bytes only once about half of this has gone, so it is kept small, and no client
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
    waited: Duration,
    sent: u64,
}

impl SendWatch {
    /// A watch that begins with nothing sent.
    pub fn new(limits: SendLimits) -> Self {
        let pace = limits.min_rate.map(|rate| Pace::new(rate, UNSENT_LOW_WATER));
        Self { limits, pace, waited: Duration::ZERO, sent: 0 }
    }

    /// Judges by other bounds from now on, if they are others.
    pub fn hold_to(&mut self, limits: SendLimits) {
        if limits != self.limits {
            let (waited, sent) = (self.waited, self.sent);
            *self = Self { waited, sent, ..Self::new(limits) };
        }
    }

    /// The moment at which the client is too slow, given that it has taken nothing since
    /// `blocked_since`, waited for `waited` in all and took `sent` bytes in all.
    pub fn deadline(&mut self, now: Instant, blocked_since: Instant, waited: Duration, sent: u64) -> Instant {
        let stall = blocked_since + self.limits.timeout;
        let Some(pace) = &mut self.pace else { return stall };
        pace.waited(waited.saturating_sub(self.waited));
        pace.moved(sent.saturating_sub(self.sent));
        (self.waited, self.sent) = (waited, sent);
        pace.ends(now).map_or(stall, |slow| slow.min(stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_and_a_drip_both_have_their_end() {
        let rate = Rate { bytes_per_second: 1024, grace: Duration::from_secs(5) };
        let limits = SendLimits { timeout: Duration::from_secs(30), min_rate: Some(rate) };
        let start = Instant::now();
        let mut stall = SendWatch::new(limits);
        assert_eq!(stall.deadline(start, start, Duration::ZERO, 0), start + Duration::from_secs(30));
        let mut drip = SendWatch::new(limits);
        let (mut now, mut sent) = (start, 0);
        loop {
            let deadline = drip.deadline(now, now, now - start, sent);
            if deadline <= now {
                break;
            }
            now += Duration::from_secs(1);
            sent += 512;
        }
        // 5 s of grace and 32 s of credit, spent at half a second a second.
        assert_eq!((now - start).as_secs(), 74);
    }
}
