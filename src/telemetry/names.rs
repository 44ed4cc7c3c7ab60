//! THE table of metrics. What `/metrics` says about each, and `docs/METRICS.md`, come from here.

use std::fmt::Write;

/// What a metric's value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Counts of values up to each bound, with their sum.
    Histogram,
}

impl Kind {
    /// As on a `# TYPE` line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name, with the unit in it.
    pub name: &'static str,
    /// What its value means.
    pub kind: Kind,
    /// Unit of the value; empty for a plain count or a 0/1.
    pub unit: &'static str,
    /// Names of its labels, none of which ever takes a value from a client.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Counter, unit, labels, help }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Gauge, unit, labels, help }
}

/// Labels of a request. `route` is the configured path (`none`: refused before one was chosen).
const REQUEST: &[&str] = &["method", "status", "route"];

/// What the conventions want; a status or a route that there is none of is empty.
const CONVENTIONS: &[&str] = &[
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "url_scheme",
    "network_protocol_version",
];

/// The upstream as configured, such as `http://app:8080`; never a resolved address.
const UPSTREAM: &[&str] = &["upstream"];

/// Every metric, in the order of the documentation.
pub const METRICS: &[Definition] = &[
    counter(
        "http_requests_total",
        "",
        REQUEST,
        "Requests finished; status is aborted where the client went before an answer.",
    ),
    gauge("http_requests_active", "", &[], "Requests being served."),
    Definition {
        name: "http_request_duration_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: REQUEST,
        help: "Time from the first byte of the request head to the end of the answer.",
    },
    Definition {
        name: "http_server_request_duration_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: CONVENTIONS,
        help: "The same by OpenTelemetry's conventions, with their buckets; absent unless metrics.semantic_conventions is set.",
    },
    counter("http_request_body_bytes_total", "bytes", &[], "Bytes of request bodies read."),
    counter("http_response_body_bytes_total", "bytes", &[], "Bytes of response bodies sent."),
    gauge(
        "http_connections_active",
        "",
        &["protocol"],
        "Open connections; unknown until the first bytes tell.",
    ),
    counter(
        "http_connections_total",
        "",
        &["protocol"],
        "Connections by what they turned out to speak, counted when that is known or they close.",
    ),
    counter(
        "nessen_accept_errors_total",
        "",
        &[],
        "Failures to accept a connection, such as running out of descriptors.",
    ),
    counter(
        "nessen_connections_evicted_total",
        "",
        &[],
        "Idle connections, or slow senders of a head, closed to make room for new ones.",
    ),
    counter(
        "nessen_rejections_total",
        "",
        &["reason"],
        "Requests, streams and connections refused, by the limit or rule that refused them.",
    ),
    counter(
        "nessen_tls_handshakes_total",
        "",
        &["result"],
        "TLS handshakes by how they ended; full and resumed are those that succeeded. Absent without TLS.",
    ),
    counter(
        "nessen_tls_reloads_total",
        "",
        &["result"],
        "Times that certificates were read again; failed: what was there was kept. Absent without TLS.",
    ),
    gauge(
        "nessen_tls_certificate_expiry_timestamp_seconds",
        "seconds",
        &["certificate"],
        "Until when a certificate is valid, in Unix time; the label is its file. Absent without TLS.",
    ),
    gauge("nessen_phase", "", &["phase"], "1 for the phase the process is in, 0 for the others."),
    gauge("nessen_ready", "", &[], "1 while /ready answers 200."),
    gauge(
        "nessen_build_info",
        "",
        &["version", "revision", "rustc"],
        "Always 1; the labels say what was built from what.",
    ),
    gauge("nessen_drain_duration_seconds", "seconds", &[], "How long the drain took; 0 until it is over."),
    counter(
        "nessen_drain_cut_off_total",
        "",
        &[],
        "Requests and upgraded connections cut off when the drain deadline passed.",
    ),
    counter(
        "nessen_log_lines_dropped_total",
        "",
        &[],
        "Log lines lost because the reader of the log stalled or writing failed.",
    ),
    counter(
        "nessen_process_stalls_total",
        "",
        &[],
        "Times that the process stood still for over a second: stopped, or without CPU.",
    ),
    counter("nessen_clock_steps_total", "", &[], "Times that the wall clock was set by a second or more."),
    counter(
        "nessen_cpu_throttled_periods_total",
        "",
        &[],
        "Periods in which the control group had used up its CPU quota; absent where there is none.",
    ),
    gauge("quarantine_count", "", &[], "Refused requests kept as evidence; absent where none is collected."),
    gauge("quarantine_bytes", "bytes", &[], "Bytes that they take of evidence.max_bytes."),
    gauge("nessen_evidence_max_entries", "", &[], "Most entries that may be kept: evidence.max_count."),
    gauge(
        "nessen_evidence_max_bytes",
        "bytes",
        &[],
        "Most bytes that entries may take: evidence.max_bytes, or what was left of it for limits.memory.",
    ),
    counter("quarantine_evicted_total", "", &[], "Entries that made room for others."),
    counter("cold_storage_failures_total", "", &[], "Failures to write evidence to evidence.storage."),
    gauge(
        "fail_safe_panic_count",
        "",
        &[],
        "Internal faults of the evidence code since the start; at evidence.panic_threshold it switches itself off.",
    ),
    gauge(
        "nessen_evidence_on",
        "",
        &[],
        "1 while evidence is collected; 0 once too many faults switched it off.",
    ),
    counter(
        "nessen_evidence_dropped_total",
        "",
        &[],
        "Refusals of which no evidence was kept: too many at a time, or too many of one client.",
    ),
    counter(
        "nessen_evidence_lost_total",
        "",
        &[],
        "Entries that were evicted or purged before they were written to evidence.storage.",
    ),
    gauge("nessen_rate_limit_keys", "", &[], "Clients tracked by the rate limit."),
    gauge("nessen_rate_limit_blocked_sources", "", &[], "Clients blocked by the rate limit at this moment."),
    gauge(
        "nessen_rate_limit_backend_up",
        "",
        &[],
        "1 while Redis answers for the shared rate limits, 0 while it is not asked for want of answers; absent where limits are local.",
    ),
    counter(
        "nessen_rate_limit_backend_questions_total",
        "",
        &[],
        "Questions to Redis about shared rate limits. Refusals that are certain without one ask none.",
    ),
    counter(
        "nessen_rate_limit_backend_errors_total",
        "",
        &["kind"],
        "Questions to Redis without an answer, and failures to connect: timeout, connect, closed, auth, error, overflow.",
    ),
    counter(
        "nessen_rate_limit_fallback_total",
        "",
        &[],
        "Requests judged by local limits because the shared ones could not be asked.",
    ),
    gauge(
        "nessen_memory_bound_bytes",
        "bytes",
        &[],
        "Worst-case memory that the limits in force allow clients to make the server hold.",
    ),
    gauge(
        "nessen_memory_used_bytes",
        "bytes",
        &[],
        "What clients hold of that at this moment, as it is accounted: connections, requests, bodies, tracked clients.",
    ),
    gauge(
        "nessen_memory_limit_bytes",
        "bytes",
        &[],
        "Memory that the process may use: what its control group allows, else what the machine has.",
    ),
    gauge(
        "nessen_cpu_limit_cores",
        "",
        &[],
        "CPUs that the process may use, in parts too: by its control group's quota and its affinity.",
    ),
    gauge(
        "nessen_sandbox_enforced",
        "",
        &["part"],
        "1 for each part of server.sandbox that the kernel enforces on the process, else 0.",
    ),
    gauge(
        "nessen_check_ok",
        "",
        &["check"],
        "1 while the readiness check counts as well; 0 before its first answer.",
    ),
    counter(
        "nessen_upstream_requests_total",
        "",
        &["upstream", "status"],
        "Attempts to have a request answered; status is the class of the answer, or why there was none.",
    ),
    Definition {
        name: "nessen_upstream_request_duration_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: UPSTREAM,
        help: "Time from the begin of an attempt to the response head, or to the time-out of waiting for it.",
    },
    gauge("nessen_upstream_healthy", "", UPSTREAM, "1 while the upstream is sent requests."),
    counter("nessen_upstream_retries_total", "", UPSTREAM, "Requests tried again after a failure here."),
    counter(
        "nessen_upstream_ejections_total",
        "",
        UPSTREAM,
        "Times that an address of the upstream was taken out because requests to it failed.",
    ),
    counter(
        "nessen_upstream_lookup_failures_total",
        "",
        UPSTREAM,
        "Lookups of the upstream's name that failed; addresses that were known before stay in use.",
    ),
    gauge(
        "nessen_upstream_connections",
        "",
        &["upstream", "state"],
        "Connections to the upstream: active ones serve a request, idle ones wait for the next.",
    ),
    counter(
        "nessen_trace_spans_exported_total",
        "",
        &[],
        "Spans that the collector has taken; absent, like the others of traces, while tracing is off.",
    ),
    counter(
        "nessen_trace_spans_dropped_total",
        "",
        &["reason"],
        "Spans that came to nothing: queue_full, export_failed, rejected by the collector, or shutdown.",
    ),
    counter(
        "nessen_trace_export_failures_total",
        "",
        &[],
        "Times that the collector did not take a batch when it was asked.",
    ),
    gauge("nessen_tunnels_active", "", &[], "Upgraded connections, such as WebSockets."),
    counter("process_cpu_seconds_total", "seconds", &[], "User and system CPU time spent."),
    gauge("process_resident_memory_bytes", "bytes", &[], "Resident memory size."),
    gauge("process_virtual_memory_bytes", "bytes", &[], "Virtual memory size."),
    gauge("process_open_fds", "", &[], "Open file descriptors."),
    gauge("process_max_fds", "", &[], "Most file descriptors the process may open."),
    gauge("process_threads", "", &[], "Operating system threads."),
    gauge(
        "process_start_time_seconds",
        "seconds",
        &[],
        "Start of the process, in seconds since the Unix epoch.",
    ),
];

/// The definition of `name`.
pub fn definition(name: &str) -> Option<&'static Definition> {
    METRICS.iter().find(|definition| definition.name == name)
}

/// `docs/METRICS.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Generated from the table in `src/telemetry/names.rs`; do not edit. Served on `/metrics` in the Prometheus\n\
         text format.\n\n\
         No label takes a value from a client: an unknown method is `_OTHER`, a status over 599 is `_OTHER`, a request\n\
         aborted before its answer has the status `aborted`, and `route` is the configured path (`none` where the\n\
         request was refused before a route was chosen). `upstream` is the configured URL, and `_OTHER` past 1024 of\n\
         them; `status` of an attempt is `1xx` to `5xx`, `_OTHER`, `unreachable`, `invalid`, `timeout` or `aborted`.\n\
         `process_*` and `nessen_memory_limit_bytes` are absent where the system does not tell.\n\n\
         | metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for Definition { name, kind, unit, labels, help } in METRICS {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        // Writing to a String does not fail.
        let _ = writeln!(out, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.label());
    }
    let bounds = super::histogram::BOUNDS.map(|(_, label)| label).join(", ");
    let _ = write!(out, "\nBuckets of both durations, in seconds: {bounds}.\n\n## Reasons\n\n");
    out.push_str("Values of `reason` on `nessen_rejections_total`; each is there from the start, at 0.\n\n| reason | status |\n|---|---|\n");
    for reason in crate::refusal::Reason::ALL {
        let status = reason.status().map_or_else(|| "none".to_owned(), |status| status.as_str().to_owned());
        let _ = writeln!(out, "| `{reason}` | {status} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        for (at, metric) in METRICS.iter().enumerate() {
            let name = metric.name;
            assert!(METRICS.iter().skip(at + 1).all(|other| other.name != name), "{name} stands twice");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(name.strip_suffix("_total").unwrap_or(name).ends_with(metric.unit), "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{name}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "asked of the person at the keyboard, not of the server")]
    fn the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
        if std::env::var_os("NESSEN_UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, reference(), "run NESSEN_UPDATE_GOLDEN=1 cargo test");
    }
}
