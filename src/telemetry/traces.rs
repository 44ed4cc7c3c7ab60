//! What has become of spans. Absent while there are no traces.

use metrics::Recorder;

use super::{METADATA, Metrics, key};
use crate::trace::Counts;

impl Metrics {
    /// As it stands now.
    pub fn traces(&self, counts: &Counts) {
        let set = |name, labels: &[(&'static str, &str)], value| {
            self.recorder.register_counter(&key(name, labels), &METADATA).absolute(value);
        };
        set("nessen_trace_spans_exported_total", &[], counts.exported);
        set("nessen_trace_export_failures_total", &[], counts.failures);
        for (why, count) in counts.dropped {
            set("nessen_trace_spans_dropped_total", &[("reason", why.label())], count);
        }
    }
}
