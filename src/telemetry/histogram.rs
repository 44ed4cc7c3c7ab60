//! Histograms of fixed size: what they hold never grows, however long nobody scrapes them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of `http_request_duration_seconds`: in nanoseconds, and as the label `le`.
pub(super) const BOUNDS: [(u64, &str); 15] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_000_000_000, "2"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// One series of a Prometheus histogram.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Not cumulative; the last is everything over the last bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Buckets {
    pub(super) fn record(&self, duration: Duration) {
        let nanos = nanos(duration);
        let at = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were recorded up to each bound; the last is all of them.
    pub(super) fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut so_far = 0;
        self.counts.each_ref().map(|count| {
            so_far += count.load(Ordering::Relaxed);
            so_far
        })
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sixteen buckets for each doubling: the middle of a bucket is at most 1/32 off.
const PER_DOUBLING: usize = 16;
/// Up to 2^41 ns, over half an hour; longer ones count as that.
const LATENCY_BUCKETS: usize = 38 * PER_DOUBLING;
const WINDOWS: usize = 6;
const WINDOW: Duration = Duration::from_secs(10);

/// Percentiles of the last minute: six windows of ten seconds, the oldest forgotten as a new one
/// begins. Recording is one atomic addition; 30 KiB in all.
///
/// A record that races with the change of windows may land in the new one or be lost with the
/// old: these are figures for people, the exact ones are in [`Buckets`].
#[derive(Debug)]
pub(super) struct Latency {
    windows: Box<[[AtomicU64; LATENCY_BUCKETS]; WINDOWS]>,
    current: AtomicUsize,
    began: Mutex<Instant>,
}

/// Durations by bucket.
#[derive(Debug)]
pub(super) struct Counts(Box<[u64; LATENCY_BUCKETS]>);

impl Default for Counts {
    fn default() -> Self {
        Self(Box::new([0; LATENCY_BUCKETS]))
    }
}

impl Counts {
    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Adds those of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0.iter()) {
            *count += more;
        }
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let samples: u64 = self.0.iter().sum();
        let percentile = |percent: u64| {
            let rank = (samples * percent).div_ceil(100);
            let mut so_far = 0;
            let at = self.0.iter().position(|count| {
                so_far += count;
                so_far >= rank
            });
            Duration::from_nanos(at.map_or(0, middle_of))
        };
        if samples == 0 {
            return Percentiles::default();
        }
        Percentiles { samples, p50: percentile(50), p95: percentile(95), p99: percentile(99) }
    }
}

/// What somebody who looks again and again has seen already.
#[derive(Debug, Default)]
pub(super) struct Seen {
    window: usize,
    counts: Counts,
}

/// What [`Counts::percentiles`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) samples: u64,
    pub(super) p50: Duration,
    pub(super) p95: Duration,
    pub(super) p99: Duration,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            windows: Box::new(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0)))),
            current: AtomicUsize::new(0),
            began: Mutex::new(now),
        }
    }

    pub(super) fn record(&self, duration: Duration) {
        let window = self.windows.get(self.current.load(Ordering::Relaxed));
        if let Some(bucket) = window.and_then(|window| window.get(bucket_of(nanos(duration)))) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins new windows for the time that has passed.
    pub(super) fn advance(&self, now: Instant) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let mut steps = 0;
        while now.saturating_duration_since(*began) >= WINDOW {
            if steps == WINDOWS {
                // All of it is old, however long that was.
                *began = now;
                break;
            }
            let next = (self.current.load(Ordering::Relaxed) + 1) % WINDOWS;
            for bucket in self.windows.get(next).into_iter().flatten() {
                bucket.store(0, Ordering::Relaxed);
            }
            self.current.store(next, Ordering::Relaxed);
            *began += WINDOW;
            steps += 1;
        }
    }

    pub(super) fn percentiles(&self, now: Instant) -> Percentiles {
        self.advance(now);
        let mut counts = Counts::default();
        for window in self.windows.iter() {
            for (count, bucket) in counts.0.iter_mut().zip(window) {
                *count += bucket.load(Ordering::Relaxed);
            }
        }
        counts.percentiles()
    }

    /// Adds to `into` what was recorded since `seen`, which has to be less than a minute old: what has
    /// left the windows is not found.
    pub(super) fn since(&self, seen: &mut Seen, into: &mut Counts) {
        let current = self.current.load(Ordering::Relaxed);
        // Every window once, even if `seen` is of another histogram.
        for _ in 0..WINDOWS {
            let window = self.windows.get(seen.window).into_iter().flatten();
            for ((count, bucket), before) in into.0.iter_mut().zip(window).zip(seen.counts.0.iter_mut()) {
                let now = bucket.load(Ordering::Relaxed);
                *count += now.saturating_sub(*before);
                *before = now;
            }
            if seen.window == current {
                break;
            }
            seen.window = (seen.window + 1) % WINDOWS;
            seen.counts.clear();
        }
    }
}

fn bucket_of(nanos: u64) -> usize {
    let per_doubling = PER_DOUBLING as u64;
    let bucket = if nanos < per_doubling {
        nanos
    } else {
        let exponent = u64::from(nanos.ilog2());
        (exponent - 3) * per_doubling + (nanos >> (exponent - 4)) % per_doubling
    };
    usize::try_from(bucket).map_or(LATENCY_BUCKETS - 1, |bucket| bucket.min(LATENCY_BUCKETS - 1))
}

fn middle_of(bucket: usize) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket as u64;
    }
    let shift = bucket / PER_DOUBLING - 1;
    let low = ((PER_DOUBLING + bucket % PER_DOUBLING) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_are_labelled_right() {
        for (bound, label) in BOUNDS {
            let seconds = Duration::from_secs_f64(label.parse().unwrap());
            assert_eq!(Duration::from_nanos(bound), seconds, "{label}");
        }
        assert!(BOUNDS.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let buckets = Buckets::default();
        for millis in [100, 101, 2000, 60_000] {
            buckets.record(Duration::from_millis(millis));
        }
        let cumulative = buckets.cumulative();
        let upto = |label: &str| cumulative[BOUNDS.iter().position(|bound| bound.1 == label).unwrap()];
        assert_eq!((upto("0.05"), upto("0.1"), upto("0.25"), upto("2"), upto("10")), (0, 1, 2, 3, 3));
        assert_eq!(cumulative[BOUNDS.len()], 4);
        assert!((buckets.sum_seconds() - 62.201).abs() < 1e-9);
    }

    #[test]
    fn every_duration_is_within_five_percent_of_its_bucket() {
        let mut nanos = 1u64;
        while nanos < 1 << 41 {
            let middle = middle_of(bucket_of(nanos));
            let error = middle.abs_diff(nanos) as f64 / nanos as f64;
            assert!(error <= 0.05, "{nanos} ns is shown as {middle} ns");
            nanos += nanos / 37 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn who_looks_again_is_told_what_is_new() {
        let begin = Instant::now();
        let latency = Latency::new(begin);
        let mut seen = Seen::default();
        let new = |seen: &mut Seen| {
            let mut counts = Counts::default();
            latency.since(seen, &mut counts);
            counts.percentiles()
        };
        latency.record(Duration::from_millis(1));
        assert_eq!(new(&mut seen).samples, 1);
        assert_eq!(new(&mut seen), Percentiles::default());
        // Partly before the window ends, and partly after.
        latency.record(Duration::from_millis(2));
        latency.advance(begin + WINDOW);
        latency.record(Duration::from_millis(900));
        latency.record(Duration::from_millis(900));
        let found = new(&mut seen);
        assert_eq!(found.samples, 3);
        assert!(found.p50 > Duration::from_millis(800), "{found:?}");
        // Over several windows, and over all of them.
        latency.record(Duration::from_millis(1));
        latency.advance(begin + WINDOW * 4);
        latency.record(Duration::from_millis(1));
        assert_eq!(new(&mut seen).samples, 2);
        latency.advance(begin + WINDOW * 9);
        latency.record(Duration::from_millis(1));
        assert_eq!(new(&mut seen).samples, 1);
        assert_eq!(new(&mut seen).samples, 0);
    }

    #[test]
    fn percentiles_are_those_of_the_last_minute() {
        let begin = Instant::now();
        let latency = Latency::new(begin);
        assert_eq!(latency.percentiles(begin), Percentiles::default());
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis));
        }
        let near = |found: Duration, millis: f64| (found.as_secs_f64() * 1e3 - millis).abs() <= millis * 0.05;
        let found = latency.percentiles(begin + Duration::from_secs(49));
        assert_eq!(found.samples, 100);
        assert!(near(found.p50, 50.0) && near(found.p95, 95.0) && near(found.p99, 99.0), "{found:?}");
        latency.record(Duration::from_secs(1));
        let found = latency.percentiles(begin + Duration::from_secs(60));
        assert_eq!(found.samples, 1);
        assert!(near(found.p50, 1000.0));
        assert_eq!(latency.percentiles(begin + Duration::from_secs(3600)).samples, 0);
        latency.record(Duration::from_secs(1));
        assert_eq!(latency.percentiles(begin + Duration::from_secs(3601)).samples, 1);
    }
}
