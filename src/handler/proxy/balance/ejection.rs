//! Passive ejection of one address: what requests found out about it.
//!
//! So many failures within a window put it aside, or so many in a row however long they take: where
//! little is asked, time-outs are further apart than any window, and no request ever succeeds. Each
//! ejection in a row lasts twice as long. When its time
//! is over, one request at a time tries it until one succeeds: a black hole costs one request per
//! back-off, not all that the balancer sends its way.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Failure, GroupOptions};
use crate::random;

/// The most failures that are remembered, whatever the configuration asks for.
const MOST_FAILURES: usize = 1000;

/// What requests found out about one address.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// When requests failed, the oldest first.
    failures: VecDeque<Instant>,
    /// Failures since a request last succeeded.
    run: usize,
    out: Option<Out>,
    /// Ejections in a row.
    in_a_row: u32,
    /// When the last ejection ended.
    returned: Option<Instant>,
    /// Counts ejections and trials. A verdict on a request of another age is no news: the hundred
    /// requests that hung when the address was put aside must not put it aside again when it is back.
    age: u32,
}

#[derive(Debug)]
struct Out {
    until: Instant,
    last: Failure,
    /// The request that tries the address has been on its way since then.
    trial: Option<Instant>,
}

/// Whether an address may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// By any request.
    Ready,
    /// By one request, to see whether it is back.
    Trial,
    /// If there is nothing better: it is put aside, but it refuses at once, and might be back.
    Refusing,
    /// Not at all.
    Down,
}

impl Ejection {
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Whether a success would be news.
    pub(super) fn waits_for_success(&self) -> bool {
        self.out.is_none() && self.run > 0
    }

    pub(super) fn age(&self) -> u32 {
        self.age
    }

    pub(super) fn standing(&self, now: Instant, options: &GroupOptions) -> Standing {
        match &self.out {
            None => Standing::Ready,
            Some(out) if out.trial_is_due(now, options) => Standing::Trial,
            Some(out) if out.last == Failure::Fast => Standing::Refusing,
            // Who answers a request with something else than HTTP is not asked with another one, which
            // may be a payment: it is put aside like one that does not answer.
            Some(_) => Standing::Down,
        }
    }

    /// Takes the one place of a trial, if it is free. Returns its age.
    pub(super) fn begin_trial(&mut self, now: Instant, options: &GroupOptions) -> Option<u32> {
        let out = self.out.as_mut().filter(|out| out.trial_is_due(now, options))?;
        out.trial = Some(now);
        self.age = self.age.wrapping_add(1);
        Some(self.age)
    }

    /// The trial of that age ended without a verdict: its client went away.
    pub(super) fn abandon_trial(&mut self, age: u32) {
        if let Some(out) = self.out.as_mut().filter(|_| self.age == age) {
            out.trial = None;
        }
    }

    /// A request that was sent while the address was in failed. Returns for how long the address is
    /// put aside for it.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        age: u32,
        now: Instant,
        options: &GroupOptions,
    ) -> Option<Duration> {
        let after = usize::try_from(options.eject_after?).unwrap_or(MOST_FAILURES).clamp(1, MOST_FAILURES);
        if self.out.is_some() || age != self.age {
            return None;
        }
        let expired = |at: &Instant| now.saturating_duration_since(*at) > options.eject_window;
        while self.failures.front().is_some_and(expired) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        self.run = self.run.saturating_add(1);
        (self.failures.len().max(self.run) >= after).then(|| self.eject(failure, now, options))
    }

    /// The trial of that age failed.
    pub(super) fn trial_failed(
        &mut self,
        failure: Failure,
        age: u32,
        now: Instant,
        options: &GroupOptions,
    ) -> Option<Duration> {
        (self.out.is_some() && age == self.age).then(|| self.eject(failure, now, options))
    }

    /// A request for which there was nothing better failed.
    pub(super) fn last_resort_failed(&mut self, failure: Failure) {
        if let Some(out) = &mut self.out {
            out.last = failure;
        }
    }

    /// A request succeeded that was sent while the address was in.
    pub(super) fn succeeded(&mut self) {
        self.run = 0;
    }

    /// A request succeeded that was sent while the address was out. Returns whether that is news.
    pub(super) fn returned(&mut self, now: Instant) -> bool {
        let was_out = self.out.take().is_some();
        if was_out {
            self.returned = Some(now);
        }
        was_out
    }

    fn eject(&mut self, failure: Failure, now: Instant, options: &GroupOptions) -> Duration {
        if let (None, Some(returned)) = (&self.out, self.returned) {
            // The back-off is forgotten step by step, one for each `eject_time` of service. At once
            // would let an address that answers one request in ten come back every time for the
            // shortest time; never would make it pay for last week.
            let served = now.saturating_duration_since(returned).as_millis();
            let steps = served / options.eject_time.as_millis().max(1);
            self.in_a_row = self.in_a_row.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        }
        let doubled = options.eject_time.saturating_mul(1 << self.in_a_row.min(30));
        // Addresses that failed together do not come back together.
        let jitter = 0.8 + 0.4 * random::fraction();
        let longest = options.max_eject_time;
        let time = Duration::try_from_secs_f64(doubled.min(longest).as_secs_f64() * jitter)
            .map_or(longest, |time| time.min(longest));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.age = self.age.wrapping_add(1);
        self.failures.clear();
        self.run = 0;
        let until = now.checked_add(time).unwrap_or(now);
        self.out = Some(Out { until, last: failure, trial: None });
        time
    }
}

impl Out {
    /// Whether a request may try the address. A trial that says nothing for the longest back-off (an
    /// upload that takes an hour) no longer keeps others from trying.
    fn trial_is_due(&self, now: Instant, options: &GroupOptions) -> bool {
        let lapsed = |since| now.saturating_duration_since(since) > options.max_eject_time;
        now >= self.until && self.trial.is_none_or(lapsed)
    }
}
