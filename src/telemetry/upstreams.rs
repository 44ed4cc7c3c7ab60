//! The series of each configured upstream. What is counted for a request is a plain atomic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::histogram::Buckets;

/// Labels that are told apart. They come from the configuration, but reloads can bring ever new ones.
const MOST: usize = 1024;
/// What all others share.
pub(super) const OTHER: &str = "_OTHER";

/// Values of `status`: the classes by their first digit, what is none of them, and the failures in
/// the order of [`UpstreamFailure`].
const STATUSES: [&str; 10] =
    ["1xx", "2xx", "3xx", "4xx", "5xx", OTHER, "unreachable", "invalid", "timeout", "aborted"];
const FIRST_FAILURE: usize = 6;

/// Why an attempt had no response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection, or it broke before the answer.
    Unreachable,
    /// What answered broke HTTP.
    Invalid,
    /// It did not answer in time.
    Timeout,
    /// The client went away first.
    Aborted,
}

/// What is counted of one upstream. Every method is lock-free.
#[derive(Debug)]
pub struct UpstreamSeries {
    pub(super) label: Arc<str>,
    requests: [AtomicU64; STATUSES.len()],
    pub(super) durations: Buckets,
    pub(super) healthy: AtomicBool,
    pub(super) retries: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) lookup_failures: AtomicU64,
    pub(super) active: AtomicI64,
    pub(super) idle: AtomicI64,
}

impl UpstreamSeries {
    fn new(label: &str) -> Self {
        Self {
            label: label.into(),
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            durations: Buckets::default(),
            // Until somebody knows better: it is sent requests.
            healthy: AtomicBool::new(true),
            retries: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            lookup_failures: AtomicU64::new(0),
            active: AtomicI64::new(0),
            idle: AtomicI64::new(0),
        }
    }

    /// The upstream as configured.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// An attempt was answered: its response head came after `took`.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        self.count(class.min(FIRST_FAILURE - 1));
        self.durations.record(took);
    }

    /// An attempt had no answer, and ended after `took`.
    pub fn failed(&self, kind: UpstreamFailure, took: Duration) {
        self.count(FIRST_FAILURE + kind as usize);
        // The head would have taken that long at least: left out, the slowest would look fast. What
        // failed otherwise says nothing about how long an answer takes.
        if kind == UpstreamFailure::Timeout {
            self.durations.record(took);
        }
    }

    fn count(&self, status: usize) {
        if let Some(count) = self.requests.get(status) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request that failed here is tried again, here or elsewhere.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// An address was taken out because requests to it failed.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// A lookup of its name failed.
    pub fn lookup_failed(&self) {
        self.lookup_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the upstream as a whole is sent requests.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Connections that serve a request: add and subtract.
    pub fn connections_active(&self) -> &AtomicI64 {
        &self.active
    }

    /// Connections that wait for the next request: add and subtract.
    pub fn connections_idle(&self) -> &AtomicI64 {
        &self.idle
    }

    /// How often each status was counted.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATUSES.into_iter().zip(self.requests.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// All upstreams that were ever asked for, up to [`MOST`].
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    series: Mutex<BTreeMap<Arc<str>, Arc<UpstreamSeries>>>,
}

impl Upstreams {
    /// The series of `label`, which is made the first time.
    pub(super) fn get(&self, label: &str) -> Arc<UpstreamSeries> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(label) {
            return known.clone();
        }
        if all.len() >= MOST {
            // Those that a reload took out make room for those that it brought.
            all.retain(|_, series| is_used(series));
        }
        let label = if all.len() >= MOST { OTHER } else { label };
        let made = all.entry(label.into()).or_insert_with(|| Arc::new(UpstreamSeries::new(label)));
        made.clone()
    }

    /// Every series there is, by label, and whether anybody but the caller uses it.
    pub(super) fn all(&self) -> Vec<(Arc<UpstreamSeries>, bool)> {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let looked_at = |series| {
            let used = is_used(series);
            (series.clone(), used)
        };
        all.values().map(looked_at).collect()
    }
}

/// Whether a route still holds it, apart from the table.
fn is_used(series: &Arc<UpstreamSeries>) -> bool {
    Arc::strong_count(series) > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_its_series() {
        let upstreams = Upstreams::default();
        let first = upstreams.get("http://app:8080");
        first.retried();
        assert!(Arc::ptr_eq(&first, &upstreams.get("http://app:8080")));
        drop(first);
        assert_eq!(upstreams.get("http://app:8080").retries.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn labels_are_bounded_and_those_in_use_stay() {
        let upstreams = Upstreams::default();
        let used: Vec<_> = (0..MOST - 1).map(|n| upstreams.get(&format!("http://{n}:1"))).collect();
        for n in 0..10_000 {
            assert_eq!(upstreams.get(&format!("http://gone-{n}:1")).label(), format!("http://gone-{n}:1"));
        }
        let last = upstreams.get("http://last:1");
        let more = [upstreams.get("http://more:1"), upstreams.get("http://even-more:1")];
        assert!(more.iter().all(|series| series.label() == OTHER) && last.label() != OTHER);
        assert!(Arc::ptr_eq(&used[7], &upstreams.get("http://7:1")));
        assert!(upstreams.all().len() <= MOST + 1);
    }

    #[test]
    fn every_attempt_is_counted_by_how_it_ended() {
        let series = UpstreamSeries::new("http://app:8080");
        for status in [101, 200, 204, 302, 404, 599, 600, 999] {
            series.answered(StatusCode::from_u16(status).unwrap(), Duration::from_millis(3));
        }
        for kind in [
            UpstreamFailure::Unreachable,
            UpstreamFailure::Invalid,
            UpstreamFailure::Timeout,
            UpstreamFailure::Aborted,
        ] {
            series.failed(kind, Duration::from_secs(30));
        }
        let counts: Vec<_> = series.requests().collect();
        let expected = [1, 2, 1, 1, 1, 2, 1, 1, 1, 1];
        assert_eq!(counts, STATUSES.into_iter().zip(expected).collect::<Vec<_>>());
        assert_eq!(series.durations.cumulative().last(), Some(&9), "the answers and the time-out");
    }
}
