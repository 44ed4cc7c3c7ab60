//! The text of `/metrics`.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::conventions;
use super::super::histogram::{BOUNDS, Buckets};
use super::super::names::{Definition, definition};
use super::super::process::{self, ProcessStats};
use super::super::upstreams::{OTHER, UpstreamSeries};
use super::{Metrics, not_negative};

impl Metrics {
    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        self.show();
        let mut out = self.prometheus.render();
        self.render_durations(&mut out);
        self.render_upstreams(&mut out);
        self.tls.render(&mut out, head, escaped);
        render_process(&mut out, &process::read());
        out
    }

    /// Tells the recorder what was counted here.
    fn show(&self) {
        self.shown.active.set(not_negative(&self.active) as f64);
        self.shown.bytes_in.absolute(self.bytes_in.load(Ordering::Relaxed));
        self.shown.bytes_out.absolute(self.bytes_out.load(Ordering::Relaxed));
        self.shown.tunnels.set(not_negative(&self.tunnels) as f64);
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
            histogram(out, name, &labels, &series.buckets);
        }
        out.push('\n');
        self.render_conventions(out);
    }

    /// What is unknown is an empty label, which is none.
    fn render_conventions(&self, out: &mut String) {
        let mut text = String::new();
        for series in self.routes.all() {
            let status = if series.status.starts_with(|first: char| first.is_ascii_digit()) {
                &*series.status
            } else {
                ""
            };
            let route = if &*series.route == "none" { String::new() } else { escaped(&series.route) };
            let labels = format!(
                "http_request_method=\"{}\",http_response_status_code=\"{status}\",http_route=\"{route}\"",
                series.method
            );
            series.conventions.render(&mut text, &labels);
        }
        if !text.is_empty() {
            head(out, conventions::NAME);
            out.push_str(&text);
            out.push('\n');
        }
    }

    /// By hand rather than by the recorder, which keeps a gauge for ever: of an upstream that is no
    /// longer configured, one would go on saying that it is ill.
    fn render_upstreams(&self, out: &mut String) {
        let labelled = |(series, used): (Arc<UpstreamSeries>, bool)| (escaped(&series.label), series, used);
        let all: Vec<_> = self.upstreams.all().into_iter().map(labelled).collect();
        if all.is_empty() {
            return;
        }
        let name = "nessen_upstream_requests_total";
        head(out, name);
        for (label, series, _) in &all {
            for (status, count) in series.requests() {
                let _ = writeln!(out, "{name}{{upstream=\"{label}\",status=\"{status}\"}} {count}");
            }
        }
        let name = "nessen_upstream_request_duration_seconds";
        head(out, name);
        for (label, series, _) in &all {
            histogram(out, name, &format!("upstream=\"{label}\""), &series.durations);
        }
        let count = |name: &str, out: &mut String, value: fn(&UpstreamSeries) -> u64| {
            head(out, name);
            for (label, series, _) in &all {
                let _ = writeln!(out, "{name}{{upstream=\"{label}\"}} {}", value(series));
            }
        };
        count("nessen_upstream_retries_total", out, |series| series.retries.load(Ordering::Relaxed));
        count("nessen_upstream_ejections_total", out, |series| series.ejections.load(Ordering::Relaxed));
        count("nessen_upstream_lookup_failures_total", out, |series| {
            series.lookup_failures.load(Ordering::Relaxed)
        });
        let configured = || all.iter().filter(|(_, _, used)| *used);
        let name = "nessen_upstream_healthy";
        head(out, name);
        // Those that share a label would each say something else.
        for (label, series, _) in configured().filter(|(label, ..)| label != OTHER) {
            let healthy = u8::from(series.healthy.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{upstream=\"{label}\"}} {healthy}");
        }
        let name = "nessen_upstream_connections";
        head(out, name);
        for (label, series, _) in configured() {
            for (state, count) in [("active", &series.active), ("idle", &series.idle)] {
                let count = not_negative(count);
                let _ = writeln!(out, "{name}{{upstream=\"{label}\",state=\"{state}\"}} {count}");
            }
        }
        out.push('\n');
    }
}

/// The lines of one series. Writing to a String does not fail.
fn histogram(out: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let counts = buckets.cumulative();
    let [.., all] = counts;
    for ((_, bound), count) in BOUNDS.iter().zip(counts) {
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {all}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", buckets.sum_seconds());
    let _ = writeln!(out, "{name}_count{{{labels}}} {all}");
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
