//! What those who look on see of the metrics, once a second and without a text in between.

use std::sync::atomic::Ordering;

use super::super::histogram::{Counts, Seen};
use super::super::upstreams::OTHER;
use super::{CLASSES, Metrics, not_negative};

/// One upstream at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamState {
    /// As configured.
    pub label: String,
    /// Whether it is sent requests; `None` where several share the label.
    pub healthy: Option<bool>,
    /// Connections that serve a request.
    pub active: u64,
    /// Connections that wait for one.
    pub idle: u64,
    /// Attempts since the start.
    pub attempts: u64,
    /// Those without an answer, or with one of 5xx.
    pub failures: u64,
    /// Requests tried again.
    pub retries: u64,
    /// Times that an address was taken out.
    pub ejections: u64,
}

impl Metrics {
    /// Requests finished since the start by the class of their answer, those of probes left out.
    pub(in super::super) fn classes(&self) -> [u64; CLASSES] {
        std::array::from_fn(|class| self.finished.get(class).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// Bytes of request bodies read and of response bodies sent.
    pub(in super::super) fn body_bytes(&self) -> [u64; 2] {
        [&self.bytes_in, &self.bytes_out].map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// Requests being served.
    pub fn requests_active(&self) -> u64 {
        not_negative(&self.active)
    }

    /// Adds to `into` the durations since `seen`.
    pub(in super::super) fn durations_since(&self, seen: &mut Seen, into: &mut Counts) {
        self.latency.since(seen, into);
    }

    /// The upstreams that are configured, by their label, at most `most` of them; and how many there are.
    pub fn upstream_states(&self, most: usize) -> (Vec<UpstreamState>, usize) {
        let mut all = self.upstreams.all();
        all.retain(|(_, used)| *used);
        let count = all.len();
        // What is ill comes first, so that it is never left out.
        all.sort_by_key(|(series, _)| series.healthy.load(Ordering::Relaxed));
        let state = |series: &super::UpstreamSeries| {
            let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            let failed = |status: &str| {
                !matches!(status, "1xx" | "2xx" | "3xx" | "4xx" | "aborted") && status != OTHER
            };
            UpstreamState {
                label: series.label().to_owned(),
                healthy: (series.label() != OTHER).then(|| series.healthy.load(Ordering::Relaxed)),
                active: not_negative(&series.active),
                idle: not_negative(&series.idle),
                attempts: series.requests().map(|(_, count)| count).sum(),
                failures: series
                    .requests()
                    .filter(|(status, _)| failed(status))
                    .map(|(_, count)| count)
                    .sum(),
                retries: load(&series.retries),
                ejections: load(&series.ejections),
            }
        };
        (all.iter().take(most).map(|(series, _)| state(series)).collect(), count)
    }
}
