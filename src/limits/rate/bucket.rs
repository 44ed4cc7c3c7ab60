//! One client's token bucket, kept as a single point in time.

use std::time::Duration;

/// So many requests in a window, so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Requests per window; at least 1.
    pub max_requests: u64,
    /// The window.
    pub window: Duration,
    /// Requests that may come at once; at least 1.
    pub burst: u64,
    /// How long a client is refused once it asked for too much; zero: only until a token is there.
    pub block: Duration,
    /// Clients tracked at a time; at least 1.
    pub max_keys: usize,
}

impl Policy {
    /// Time in which one token grows.
    pub(super) fn interval(&self) -> Duration {
        let max = u32::try_from(self.max_requests.max(1)).unwrap_or(u32::MAX);
        (self.window / max).max(Duration::from_nanos(1))
    }

    /// Time in which an empty bucket fills.
    pub(super) fn capacity(&self) -> Duration {
        self.interval().saturating_mul(u32::try_from(self.burst.max(1)).unwrap_or(u32::MAX))
    }
}

/// What a bucket answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Go ahead.
    Granted {
        /// Requests that may still come at once.
        remaining: u64,
        /// Until the bucket is full again.
        reset: Duration,
    },
    /// Not now.
    Refused {
        /// Until a request is granted again.
        retry_after: Duration,
        /// Refused for the block time, not only for want of a token.
        blocked: bool,
    },
}

impl Allowance {
    /// The same, as far as this policy can have said it: whoever was asked may be wrong about the time.
    pub(super) fn within(self, policy: &Policy) -> Self {
        match self {
            Self::Granted { remaining, reset } => {
                Self::Granted { remaining: remaining.min(policy.burst), reset: reset.min(policy.capacity()) }
            }
            Self::Refused { retry_after, blocked } => {
                let longest = if blocked { policy.block } else { policy.interval() };
                Self::Refused { retry_after: retry_after.min(longest), blocked }
            }
        }
    }
}

/// The generic cell rate algorithm (ITU-T I.371): a bucket that is `full_at` some moment holds as
/// many tokens as would not have grown between now and then. One number, no timer, no sweep.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// When the bucket will be full, on the limiter's clock.
    full_at: Duration,
    /// Until when the client is refused outright.
    blocked_until: Duration,
}

impl Bucket {
    /// Takes one token at `now`, if there is one.
    pub(crate) fn take(&mut self, policy: &Policy, now: Duration) -> Allowance {
        if let Some(retry_after) = self.blocked_until.checked_sub(now).filter(|left| !left.is_zero()) {
            return Allowance::Refused { retry_after, blocked: true };
        }
        let (interval, capacity) = (policy.interval(), policy.capacity());
        let full_at = self.full_at.max(now) + interval;
        let debt = full_at - now;
        if let Some(excess) = debt.checked_sub(capacity).filter(|excess| !excess.is_zero()) {
            if policy.block.is_zero() {
                return Allowance::Refused { retry_after: excess, blocked: false };
            }
            self.blocked_until = now + policy.block;
            return Allowance::Refused { retry_after: policy.block, blocked: true };
        }
        self.full_at = full_at;
        let remaining = (capacity - debt).as_nanos() / interval.as_nanos().max(1);
        Allowance::Granted { remaining: u64::try_from(remaining).unwrap_or(u64::MAX), reset: debt }
    }

    /// Takes over what was said elsewhere of a bucket that others take from as well, to a question asked `at`
    /// this moment. It then holds at least as many tokens as that one: others only take more.
    pub(crate) fn learn(&mut self, policy: &Policy, at: Duration, said: Allowance) {
        let full_at = match said {
            Allowance::Granted { reset, .. } => at + reset,
            Allowance::Refused { retry_after, blocked: true } => {
                self.blocked_until = self.blocked_until.max(at + retry_after);
                return;
            }
            Allowance::Refused { retry_after, blocked: false } => {
                at + (policy.capacity() + retry_after).saturating_sub(policy.interval())
            }
        };
        self.full_at = self.full_at.max(full_at);
    }

    /// The refusal that is certain at `now`, from what was learnt; nothing is taken.
    pub(crate) fn foresee(&self, policy: &Policy, now: Duration) -> Option<Allowance> {
        if let Some(retry_after) = self.blocked_until.checked_sub(now).filter(|left| !left.is_zero()) {
            return Some(Allowance::Refused { retry_after, blocked: true });
        }
        // Who asks for too much is blocked, and everybody has to hear of that.
        if !policy.block.is_zero() {
            return None;
        }
        let debt = (self.full_at.max(now) + policy.interval()) - now;
        let excess = debt.checked_sub(policy.capacity()).filter(|excess| !excess.is_zero())?;
        Some(Allowance::Refused { retry_after: excess, blocked: false })
    }

    /// Whether the client is being refused outright at `now`.
    pub(crate) fn is_blocked(&self, now: Duration) -> bool {
        self.blocked_until > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        max_requests: 6,
        window: Duration::from_secs(60),
        burst: 3,
        block: Duration::ZERO,
        max_keys: 10,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn granted(allowance: Allowance) -> Option<u64> {
        match allowance {
            Allowance::Granted { remaining, .. } => Some(remaining),
            Allowance::Refused { .. } => None,
        }
    }

    #[test]
    fn a_burst_empties_the_bucket_and_time_fills_it() {
        let mut bucket = Bucket::default();
        let takes: Vec<_> = (0..4).map(|_| granted(bucket.take(&POLICY, SECOND))).collect();
        assert_eq!(takes, [Some(2), Some(1), Some(0), None]);
        let refused = Allowance::Refused { retry_after: Duration::from_secs(10), blocked: false };
        assert_eq!(bucket.take(&POLICY, SECOND), refused);
        assert_eq!(granted(bucket.take(&POLICY, SECOND * 11)), Some(0));
        assert_eq!(granted(bucket.take(&POLICY, SECOND * 600)), Some(2), "never more than the burst");
    }

    #[test]
    fn over_a_long_time_the_rate_is_the_policys() {
        let mut bucket = Bucket::default();
        let count = (0..6000).filter(|s| granted(bucket.take(&POLICY, SECOND * *s)).is_some()).count();
        assert_eq!(count, 602, "6 a minute for 100 minutes, and the burst less its own first");
    }

    #[test]
    fn a_blocked_client_stays_out_for_the_whole_time_however_often_it_asks() {
        let policy = Policy { burst: 1, block: Duration::from_secs(30), ..POLICY };
        let mut bucket = Bucket::default();
        assert!(granted(bucket.take(&policy, SECOND)).is_some());
        assert!(granted(bucket.take(&policy, SECOND)).is_none());
        assert!(bucket.is_blocked(SECOND * 30));
        let refused = Allowance::Refused { retry_after: SECOND, blocked: true };
        assert_eq!(bucket.take(&policy, SECOND * 30), refused);
        assert!(granted(bucket.take(&policy, SECOND * 31)).is_some());
    }

    /// What is refused here is refused there; what is not is for the other one to say.
    #[test]
    fn a_bucket_that_learns_refuses_what_the_other_one_is_bound_to_refuse() {
        for block in [Duration::ZERO, Duration::from_secs(5)] {
            let policy = Policy { block, ..POLICY };
            let (mut shared, mut mirror) = (Bucket::default(), Bucket::default());
            let (mut foreseen, mut asked) = (0, 0);
            for step in 0..400_u32 {
                let now = SECOND + Duration::from_millis(1_900) * step;
                // Somebody else takes as well.
                if step % 3 == 0 {
                    shared.take(&policy, now);
                }
                match mirror.foresee(&policy, now) {
                    Some(refusal) => {
                        foreseen += 1;
                        let certain = shared.take(&policy, now);
                        assert!(granted(certain).is_none(), "{refusal:?} at {now:?}, and there {certain:?}");
                    }
                    None => {
                        asked += 1;
                        let said = shared.take(&policy, now + Duration::from_millis(3));
                        mirror.learn(&policy, now, said);
                    }
                }
            }
            assert!(foreseen > 100 && asked > 60, "{foreseen} foreseen, {asked} asked");
        }
    }
}
