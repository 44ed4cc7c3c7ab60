//! The text of `/metrics`.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::super::histogram::BOUNDS;
use super::super::names::{Definition, definition};
use super::super::process::{self, ProcessStats};
use super::{Metrics, not_negative};

impl Metrics {
    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        self.show();
        let mut out = self.prometheus.render();
        self.render_durations(&mut out);
        render_process(&mut out, &process::read());
        out
    }

    /// Tells the recorder what was counted here.
    fn show(&self) {
        self.shown.active.set(not_negative(&self.active) as f64);
        self.shown.bytes_in.absolute(self.bytes_in.load(Ordering::Relaxed));
        self.shown.bytes_out.absolute(self.bytes_out.load(Ordering::Relaxed));
        for connections in &self.connections {
            connections.active_shown.set(not_negative(&connections.active) as f64);
            connections.total_shown.absolute(connections.total.load(Ordering::Relaxed));
        }
        for rejections in &self.rejections {
            rejections.shown.absolute(rejections.count.load(Ordering::Relaxed));
        }
        for series in self.routes.all() {
            let [.., all] = series.buckets.cumulative();
            series.counter.absolute(all);
        }
    }

    fn render_durations(&self, out: &mut String) {
        let name = "http_request_duration_seconds";
        head(out, name);
        for series in self.routes.all() {
            let labels = format!(
                "method=\"{}\",status=\"{}\",route=\"{}\"",
                series.method,
                series.status,
                escaped(&series.route)
            );
            let counts = series.buckets.cumulative();
            let [.., all] = counts;
            // Writing to a String does not fail.
            for ((_, bound), count) in BOUNDS.iter().zip(counts) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {all}");
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", series.buckets.sum_seconds());
            let _ = writeln!(out, "{name}_count{{{labels}}} {all}");
        }
        out.push('\n');
    }
}

fn render_process(out: &mut String, stats: &ProcessStats) {
    let mut show = |name: &str, value: Option<&dyn std::fmt::Display>| {
        if let Some(value) = value {
            head(out, name);
            let _ = writeln!(out, "{name} {value}\n");
        }
    };
    fn any<T: std::fmt::Display>(value: &Option<T>) -> Option<&dyn std::fmt::Display> {
        value.as_ref().map(|value| value as &dyn std::fmt::Display)
    }
    show("process_cpu_seconds_total", any(&stats.cpu_seconds));
    show("process_resident_memory_bytes", any(&stats.resident_bytes));
    show("process_virtual_memory_bytes", any(&stats.virtual_bytes));
    show("process_open_fds", any(&stats.open_fds));
    show("process_max_fds", any(&stats.max_fds));
    show("process_threads", any(&stats.threads));
    show("process_start_time_seconds", any(&stats.start_seconds));
}

fn head(out: &mut String, name: &str) {
    if let Some(Definition { kind, help, .. }) = definition(name) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.label());
    }
}

/// A label's value. Routes come from the configuration, not from a client, and can still hold anything.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
