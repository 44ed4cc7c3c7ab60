//! The metrics of evidence. None is there before something is told.

use metrics::Recorder;

use super::{METADATA, Metrics, key};

impl Metrics {
    /// What is kept as evidence, and how much of it had to go.
    pub fn quarantine(&self, count: usize, bytes: u64, evicted: u64) {
        self.set("quarantine_count", count as f64);
        self.set("quarantine_bytes", bytes as f64);
        self.absolute("quarantine_evicted_total", evicted);
    }

    /// How many entries, and bytes of them, there may be.
    pub fn evidence_bounds(&self, max_count: usize, max_bytes: u64) {
        self.set("nessen_evidence_max_entries", max_count as f64);
        self.set("nessen_evidence_max_bytes", max_bytes as f64);
    }

    /// Whether it is on, its faults, what was dropped, and what cold storage never saw.
    pub fn evidence(&self, on: bool, faults: u64, dropped: u64, lost: u64) {
        self.set("nessen_evidence_on", if on { 1.0 } else { 0.0 });
        self.set("fail_safe_panic_count", faults as f64);
        self.absolute("nessen_evidence_dropped_total", dropped);
        self.absolute("nessen_evidence_lost_total", lost);
    }

    /// Failures to write evidence to cold storage.
    pub fn cold_storage_failures(&self, total: u64) {
        self.absolute("cold_storage_failures_total", total);
    }

    pub(super) fn set(&self, name: &'static str, value: f64) {
        self.recorder.register_gauge(&key(name, &[]), &METADATA).set(value);
    }

    fn absolute(&self, name: &'static str, total: u64) {
        self.recorder.register_counter(&key(name, &[]), &METADATA).absolute(total);
    }
}
