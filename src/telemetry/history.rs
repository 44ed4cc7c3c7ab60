//! What the figures were before somebody looked: a ring of samples, taken once a second.
//!
//! Of a fixed size: five minutes by the second and two hours by the half minute, 160 KiB in all. Nothing
//! of it is on the way of a request: a sample is the difference of counters that are there anyhow.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Metrics;
use super::histogram::{Counts, Percentiles, Seen};
use super::metrics::CLASSES;
use super::process;
use crate::protocol::Protocol;
use crate::refusal::Reason;

/// Samples of a second that are kept: five minutes of them.
pub const FINE: usize = 300;
/// Samples of a second that one coarse sample is made of.
pub const PER_COARSE: u32 = 30;
/// Coarse samples that are kept: two hours of them.
pub const COARSE: usize = 240;

/// CPU time is counted in hundredths of a second: of less than this there is no rate.
const SHORTEST: Duration = Duration::from_millis(200);

const REASONS: usize = Reason::ALL.len();

/// What happened within a short time, and how things stood at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Its end, in milliseconds since the Unix epoch.
    pub at: u64,
    /// How many seconds it is about.
    pub seconds: f32,
    /// Requests finished by the class of their answer, 1xx to 5xx and others; probes and operators left out.
    pub requests: [u32; CLASSES],
    /// Those whose duration is known, of which the percentiles are.
    pub timed: u32,
    /// Percentiles 50, 95 and 99 of the durations in microseconds; zero where there is none.
    pub latency: [u32; 3],
    /// Refusals, in the order of [`Reason::ALL`].
    pub refusals: [u32; REASONS],
    /// Bytes of request bodies read and of response bodies sent.
    pub bytes: [u64; 2],
    /// CPU time spent, in seconds.
    pub cpu: f32,
    /// Requests being served; in a coarse sample the most, as in all that follows.
    pub active: u32,
    /// Open connections, in the order of [`Protocol::ALL`].
    pub connections: [u32; Protocol::ALL.len()],
    /// Bytes that clients hold, as they are accounted.
    pub memory: u64,
    /// Resident memory of the process, in bytes; zero where the system does not tell.
    pub resident: u64,
}

impl Sample {
    /// Requests finished.
    pub fn finished(&self) -> u64 {
        self.requests.iter().copied().map(u64::from).sum()
    }

    /// Refusals for whatever reason.
    pub fn refused(&self) -> u64 {
        self.refusals.iter().copied().map(u64::from).sum()
    }

    /// `count` in a second.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.seconds.max(0.001))
    }

    fn tell(&mut self, latency: &Percentiles) {
        self.timed = narrow(latency.samples);
        self.latency = [latency.p50, latency.p95, latency.p99]
            .map(|duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    /// Takes in the sample after it.
    fn extend(&mut self, next: &Self) {
        fn add<const N: usize>(sum: &mut [u32; N], more: &[u32; N]) {
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum = sum.saturating_add(*more);
            }
        }
        self.at = next.at;
        self.seconds += next.seconds;
        self.cpu += next.cpu;
        add(&mut self.requests, &next.requests);
        add(&mut self.refusals, &next.refusals);
        for (sum, more) in self.bytes.iter_mut().zip(next.bytes) {
            *sum = sum.saturating_add(more);
        }
        self.active = self.active.max(next.active);
        self.memory = self.memory.max(next.memory);
        self.resident = self.resident.max(next.resident);
        for (most, more) in self.connections.iter_mut().zip(next.connections) {
            *most = (*most).max(more);
        }
    }
}

/// Counters as they stood.
#[derive(Debug, Clone)]
struct Totals {
    at: Instant,
    requests: [u64; CLASSES],
    refusals: [u64; REASONS],
    bytes: [u64; 2],
    cpu: f64,
}

/// The samples. Filled by one task, and read by whoever asks.
#[derive(Debug)]
pub struct History(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
    last: Totals,
    seen: Seen,
    /// The next coarse sample, the number of those that it has, and their durations.
    pending: Option<(Sample, u32)>,
    durations: Counts,
    /// Those of one sample. Kept, to be allocated once.
    fresh: Counts,
}

/// All samples, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Of half a minute.
    pub coarse: Vec<Sample>,
    /// Of a second. The last minutes are in both.
    pub fine: Vec<Sample>,
}

impl History {
    /// A history that begins now.
    pub fn new(metrics: &Metrics, now: Instant) -> Self {
        let mut seen = Seen::default();
        let mut durations = Counts::default();
        metrics.durations_since(&mut seen, &mut durations);
        durations.clear();
        Self(Mutex::new(Inner {
            fine: VecDeque::with_capacity(FINE),
            coarse: VecDeque::with_capacity(COARSE),
            last: totals(metrics, now, process::read().cpu_seconds),
            seen,
            pending: None,
            durations,
            fresh: Counts::default(),
        }))
    }

    /// Takes a sample of what happened since the last, unless that was a moment ago: then there is nothing to
    /// say yet. `memory` is what clients hold at this moment.
    pub fn take(&self, metrics: &Metrics, now: Instant, wall: SystemTime, memory: u64) -> Option<Sample> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(inner.last.at) < SHORTEST {
            return None;
        }
        let process = process::read();
        let totals = totals(metrics, now, process.cpu_seconds);
        let inner = &mut *inner;
        let last = std::mem::replace(&mut inner.last, totals.clone());
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        inner.fresh.clear();
        metrics.durations_since(&mut inner.seen, &mut inner.fresh);
        let mut sample = Sample {
            at: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            seconds: now.saturating_duration_since(last.at).as_secs_f32(),
            requests: difference(&totals.requests, &last.requests),
            timed: 0,
            latency: [0; 3],
            refusals: difference(&totals.refusals, &last.refusals),
            bytes: std::array::from_fn(|at| {
                let of = |totals: &Totals| totals.bytes.get(at).copied().unwrap_or_default();
                of(&totals).saturating_sub(of(&last))
            }),
            cpu: seconds(totals.cpu - last.cpu),
            active: narrow(metrics.requests_active()),
            connections: metrics.connections_active().map(narrow),
            memory,
            resident: process.resident_bytes.unwrap_or(0),
        };
        sample.tell(&inner.fresh.percentiles());
        push(&mut inner.fine, FINE, sample);
        inner.durations.add(&inner.fresh);
        let (mut coarse, number) = match inner.pending.take() {
            None => (sample, 1),
            Some((mut coarse, number)) => {
                coarse.extend(&sample);
                (coarse, number + 1)
            }
        };
        if number < PER_COARSE {
            inner.pending = Some((coarse, number));
        } else {
            coarse.tell(&inner.durations.percentiles());
            inner.durations.clear();
            push(&mut inner.coarse, COARSE, coarse);
        }
        Some(sample)
    }

    /// All that is kept.
    pub fn samples(&self) -> Samples {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Samples { coarse: inner.coarse.iter().copied().collect(), fine: inner.fine.iter().copied().collect() }
    }

    /// The last sample of half a minute.
    pub fn last_coarse(&self) -> Option<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).coarse.back().copied()
    }

    /// The last sample.
    pub fn last(&self) -> Option<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fine.back().copied()
    }
}

fn push(ring: &mut VecDeque<Sample>, most: usize, sample: Sample) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(sample);
}

fn totals(metrics: &Metrics, at: Instant, cpu: Option<f64>) -> Totals {
    let mut refusals = [0; REASONS];
    for (refusal, (_, count)) in refusals.iter_mut().zip(metrics.rejections()) {
        *refusal = count;
    }
    Totals { at, requests: metrics.classes(), refusals, bytes: metrics.body_bytes(), cpu: cpu.unwrap_or(0.0) }
}

fn difference<const N: usize>(now: &[u64; N], before: &[u64; N]) -> [u32; N] {
    let mut difference = [0; N];
    for ((difference, now), before) in difference.iter_mut().zip(now).zip(before) {
        *difference = narrow(now.saturating_sub(*before));
    }
    difference
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a few seconds, for people")]
fn seconds(seconds: f64) -> f32 {
    seconds.max(0.0) as f32
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
