//! Traces, as a collector of the real protocol sees them.

mod context;
mod export;
mod settings;
mod spans;

use crate::support::collector::Collector;
use crate::support::server::Server;
use crate::support::upstream::Upstream;

/// Spans do not wait for others here.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

/// A proxy in front of `upstream` that traces every request, with these settings.
#[track_caller]
fn traced(collector: &Collector, upstream: &Upstream, env: &[(&str, &str)]) -> Server {
    let (url, endpoint) = (upstream.url(), collector.url());
    let ours = [
        ("UPSTREAM", &*url),
        ("TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("NESSEN_UPSTREAM_EJECT_AFTER", "off"),
        ("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0"),
        ("DRAIN_DELAY", "0"),
        SOON,
    ];
    Server::start(&[&ours, env].concat())
}

/// The count of a metric of traces.
#[track_caller]
fn count(server: &Server, name: &str) -> f64 {
    server.metrics().get(name).copied().unwrap_or(0.0)
}

/// Spans that were dropped for this.
#[track_caller]
fn dropped(server: &Server, reason: &str) -> f64 {
    count(server, &format!("nessen_trace_spans_dropped_total{{reason=\"{reason}\"}}"))
}
