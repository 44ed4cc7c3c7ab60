//! The metrics of the server: what `/metrics`, `/api/health` and the welcome page show.
//!
//! Counters and gauges live in the recorder of `metrics-exporter-prometheus`, which is not
//! installed globally: an application that embeds the server keeps its own. Three things are
//! kept here instead. What is counted for every request is a plain atomic, and told to the
//! recorder when somebody looks. The durations are in histograms of fixed size, because the
//! recorder's keep each sample until the next scrape. `process_*` has a counter that is no whole number.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::BuildInfo;
use super::conventions::Spoken;
use super::histogram::Latency;
use super::names::{Kind, METRICS};
use super::rate_limit::{BackendFailure, BackendSeries};
use super::series::Routes;
use super::tls::TlsSeries;
use super::upstreams::{UpstreamSeries, Upstreams};
use crate::lifecycle::Phase;
use crate::protocol::Protocol;
use crate::refusal::Reason;

#[path = "evidence.rs"]
mod evidence;
#[path = "render.rs"]
mod render;
#[path = "traces.rs"]
mod traces;
#[path = "watched.rs"]
mod watched;

pub use watched::UpstreamState;

pub use super::series::RouteId;

/// Labels of the admin endpoints, which are routes of their own. The last is no path, so that no route of
/// the configuration has the same.
pub const ADMIN_ROUTES: [&str; 7] =
    ["/health", "/ready", "/metrics", "/version", "/api/health", "/evidence", "status_page"];

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// As sent; one that is unknown is counted as `_OTHER`.
    pub method: &'a Method,
    /// `None`: aborted before an answer.
    pub status: Option<StatusCode>,
    /// The route it took.
    pub route: RouteId,
    /// From the first byte of the request head to the end of the answer.
    pub duration: Duration,
    /// Bytes of the request body that were read.
    pub bytes_in: u64,
    /// Bytes of the response body that were sent.
    pub bytes_out: u64,
    /// What it was asked in, where durations are wanted as the conventions have them.
    pub spoken: Option<Spoken>,
    /// A probe's swift answer says nothing about the application: it is left out of [`Snapshot`]'s percentiles.
    pub probe: bool,
}

/// Figures for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests finished since the start, probes included.
    pub requests_total: u64,
    /// Requests being served.
    pub requests_active: u64,
    /// Requests of the last minute that the percentiles are taken of. With none, those are zero.
    pub samples: u64,
    /// Half of them were faster. All percentiles are within 5 %, over the last 50 to 60 s.
    pub p50: Duration,
    /// 95 % of them were faster.
    pub p95: Duration,
    /// 99 % of them were faster.
    pub p99: Duration,
}

/// Classes of answers: 1xx to 5xx by their first digit, then what has no such status, or none at all.
pub const CLASSES: usize = 6;
/// Where the requests of probes and operators are counted instead.
const PROBES: usize = CLASSES;

/// All metrics of one server. Every method that is called for a request is lock-free, except the first time
/// that a route answers a method with a status.
pub struct Metrics {
    recorder: PrometheusRecorder,
    prometheus: PrometheusHandle,
    routes: Routes,
    latency: Latency,
    finished: [AtomicU64; CLASSES + 1],
    active: AtomicI64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    connections: [Connections; Protocol::ALL.len()],
    rejections: Box<[Rejections]>,
    upstreams: Upstreams,
    tunnels: AtomicI64,
    pub(super) tls: TlsSeries,
    shown: Shown,
}

#[derive(Debug)]
struct Connections {
    active: AtomicI64,
    total: AtomicU64,
    active_shown: Gauge,
    total_shown: Counter,
}

#[derive(Debug)]
struct Rejections {
    reason: Reason,
    count: AtomicU64,
    shown: Counter,
}

/// Handles into the recorder.
#[derive(Debug)]
struct Shown {
    active: Gauge,
    bytes_in: Counter,
    bytes_out: Counter,
    accept_errors: Counter,
    evicted: Counter,
    phases: [Gauge; Phase::ALL.len()],
    ready: Gauge,
    drain_duration: Gauge,
    drain_cut_off: Counter,
    log_lines_dropped: Counter,
    stalls: Counter,
    clock_steps: Counter,
    rate_limit_keys: Gauge,
    rate_limit_blocked: Gauge,
    memory_bound: Gauge,
    memory_used: Gauge,
    tunnels: Gauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> =
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
    let counter = recorder.register_counter(&key(name, labels), &METADATA);
    counter.increment(0);
    counter
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
    let gauge = recorder.register_gauge(&key(name, labels), &METADATA);
    gauge.set(0.0);
    gauge
}

impl Metrics {
    /// Metrics of a server with these routes besides `none` and [`ADMIN_ROUTES`].
    pub fn new(routes: &[&str], build: BuildInfo) -> Arc<Self> {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
                Kind::Histogram => recorder.describe_histogram(metric.name.into(), None, metric.help.into()),
            }
        }
        let table = Routes::default();
        for label in ["none"].iter().chain(&ADMIN_ROUTES).chain(routes) {
            table.add(label);
        }
        let built = [("version", build.version), ("revision", build.revision), ("rustc", build.rustc)];
        gauge(&recorder, "nessen_build_info", &built).set(1.0);
        let counter = |name, labels: &[(&'static str, &str)]| counter(&recorder, name, labels);
        let gauge = |name, labels: &[(&'static str, &str)]| gauge(&recorder, name, labels);
        let shown = Shown {
            active: gauge("http_requests_active", &[]),
            bytes_in: counter("http_request_body_bytes_total", &[]),
            bytes_out: counter("http_response_body_bytes_total", &[]),
            accept_errors: counter("nessen_accept_errors_total", &[]),
            evicted: counter("nessen_connections_evicted_total", &[]),
            phases: Phase::ALL.map(|phase| gauge("nessen_phase", &[("phase", phase.as_str())])),
            ready: gauge("nessen_ready", &[]),
            drain_duration: gauge("nessen_drain_duration_seconds", &[]),
            drain_cut_off: counter("nessen_drain_cut_off_total", &[]),
            log_lines_dropped: counter("nessen_log_lines_dropped_total", &[]),
            stalls: counter("nessen_process_stalls_total", &[]),
            clock_steps: counter("nessen_clock_steps_total", &[]),
            rate_limit_keys: gauge("nessen_rate_limit_keys", &[]),
            rate_limit_blocked: gauge("nessen_rate_limit_blocked_sources", &[]),
            memory_bound: gauge("nessen_memory_bound_bytes", &[]),
            memory_used: gauge("nessen_memory_used_bytes", &[]),
            tunnels: gauge("nessen_tunnels_active", &[]),
        };
        let connections = Protocol::ALL.map(|protocol| Connections {
            active: AtomicI64::new(0),
            total: AtomicU64::new(0),
            active_shown: gauge("http_connections_active", &[("protocol", protocol.label())]),
            total_shown: counter("http_connections_total", &[("protocol", protocol.label())]),
        });
        let rejections = Reason::ALL.iter().map(|reason| Rejections {
            reason: *reason,
            count: AtomicU64::new(0),
            shown: counter("nessen_rejections_total", &[("reason", reason.label())]),
        });
        let metrics = Self {
            routes: table,
            latency: Latency::new(Instant::now()),
            finished: std::array::from_fn(|_| AtomicU64::new(0)),
            active: AtomicI64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            connections,
            rejections: rejections.collect(),
            upstreams: Upstreams::default(),
            tunnels: AtomicI64::new(0),
            tls: TlsSeries::default(),
            shown,
            prometheus: recorder.handle(),
            recorder,
        };
        metrics.set_phase(Phase::Starting);
        Arc::new(metrics)
    }

    /// The id of a route; [`RouteId::NONE`] for one that was never added.
    pub fn route_id(&self, label: &str) -> RouteId {
        self.routes.find(label).unwrap_or(RouteId::NONE)
    }

    /// The id of a route, which is added if it is new: for routes that come with a reloaded
    /// configuration. Past a quarter of a million labels it is [`RouteId::NONE`].
    pub fn add_route(&self, label: &str) -> RouteId {
        self.routes.add(label)
    }

    /// The label of a route.
    pub fn route_label(&self, route: RouteId) -> &str {
        self.routes.label(route)
    }

    /// A request head was read. Each is followed by one [`Metrics::request_finished`].
    pub fn request_started(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over: its answer was sent to the end, or it was aborted.
    pub fn request_finished(&self, finished: &Finished<'_>) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        let class = finished.status.map_or(0, |status| usize::from(status.as_u16() / 100));
        let class = if finished.probe { PROBES } else { class.wrapping_sub(1).min(CLASSES - 1) };
        if let Some(count) = self.finished.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let series =
            self.routes.series(finished.route, finished.method, finished.status, |method, status, route| {
                let labels = [("method", method), ("status", status), ("route", &**route)];
                counter(&self.recorder, "http_requests_total", &labels)
            });
        if let Some(series) = series {
            series.buckets.record(finished.duration);
            if let Some(spoken) = finished.spoken {
                series.conventions.record(spoken, finished.duration);
            }
        }
        if !finished.probe {
            self.latency.record(finished.duration);
        }
        if finished.bytes_in > 0 {
            self.bytes_in.fetch_add(finished.bytes_in, Ordering::Relaxed);
        }
        if finished.bytes_out > 0 {
            self.bytes_out.fetch_add(finished.bytes_out, Ordering::Relaxed);
        }
    }

    /// A request, stream or connection was refused.
    pub fn rejected(&self, reason: Reason) {
        // The table is in the order of the enum.
        if let Some(rejections) = self.rejections.get(reason as usize) {
            rejections.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each reason refused, in the order of [`Reason::ALL`].
    pub fn rejections(&self) -> Vec<(Reason, u64)> {
        self.rejections.iter().map(|one| (one.reason, one.count.load(Ordering::Relaxed))).collect()
    }

    fn connections(&self, protocol: Protocol) -> &Connections {
        let [unknown, http1, http2] = &self.connections;
        match protocol {
            Protocol::Unknown => unknown,
            Protocol::Http1 => http1,
            Protocol::Http2 => http2,
        }
    }

    /// A connection was accepted.
    pub fn connection_opened(&self, protocol: Protocol) {
        let connections = self.connections(protocol);
        connections.active.fetch_add(1, Ordering::Relaxed);
        if protocol != Protocol::Unknown {
            connections.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection turned out to speak `to`.
    pub fn connection_identified(&self, from: Protocol, to: Protocol) {
        if from == to {
            return;
        }
        self.connections(from).active.fetch_sub(1, Ordering::Relaxed);
        self.connections(to).active.fetch_add(1, Ordering::Relaxed);
        if from == Protocol::Unknown {
            self.connections(to).total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection that speaks `protocol` is closed.
    pub fn connection_closed(&self, protocol: Protocol) {
        let connections = self.connections(protocol);
        connections.active.fetch_sub(1, Ordering::Relaxed);
        if protocol == Protocol::Unknown {
            connections.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Open connections, in the order of [`Protocol::ALL`].
    pub fn connections_active(&self) -> [u64; Protocol::ALL.len()] {
        self.connections.each_ref().map(|connections| not_negative(&connections.active))
    }

    /// The listener could not accept a connection.
    pub fn accept_error(&self) {
        self.shown.accept_errors.increment(1);
    }

    /// A connection was closed to make room for another.
    pub fn connection_evicted(&self) {
        self.shown.evicted.increment(1);
    }

    /// The process is in this phase.
    pub fn set_phase(&self, phase: Phase) {
        for (gauge, candidate) in self.shown.phases.iter().zip(Phase::ALL) {
            gauge.set(if candidate == phase { 1.0 } else { 0.0 });
        }
    }

    /// Whether `/ready` says 200.
    pub fn set_ready(&self, ready: bool) {
        self.shown.ready.set(if ready { 1.0 } else { 0.0 });
    }

    /// The drain is over, and took this long.
    pub fn drain_finished(&self, took: Duration) {
        self.shown.drain_duration.set(took.as_secs_f64());
    }

    /// `number` more requests or upgraded connections were cut off.
    pub fn drain_cut_off(&self, number: u64) {
        self.shown.drain_cut_off.increment(number);
    }

    /// Log lines lost since the start, as [`LogPipe::dropped`](super::LogPipe::dropped) counts them.
    pub fn log_lines_dropped(&self, total: u64) {
        self.shown.log_lines_dropped.absolute(total);
    }

    /// The process stood still.
    pub fn process_stalled(&self) {
        self.shown.stalls.increment(1);
    }

    /// The wall clock was set.
    pub fn clock_stepped(&self) {
        self.shown.clock_steps.increment(1);
    }

    /// Periods without CPU since the control group was made.
    pub fn cpu_throttled(&self, periods: u64) {
        let name = "nessen_cpu_throttled_periods_total";
        self.recorder.register_counter(&key(name, &[]), &METADATA).absolute(periods);
    }

    /// Clients that the rate limit tracks.
    pub fn rate_limit_keys(&self, keys: usize) {
        self.shown.rate_limit_keys.set(keys as f64);
    }

    /// Clients that the rate limit blocks at this moment.
    pub fn rate_limit_blocked(&self, clients: usize) {
        self.shown.rate_limit_blocked.set(clients as f64);
    }

    /// The series of a rate limit that is shared.
    pub fn rate_limit_backend(&self) -> BackendSeries {
        let counter = |name, labels: &[(&'static str, &str)]| counter(&self.recorder, name, labels);
        let error =
            |one: BackendFailure| counter("nessen_rate_limit_backend_errors_total", &[("kind", one.label())]);
        BackendSeries {
            errors: BackendFailure::ALL.map(error),
            asked: counter("nessen_rate_limit_backend_questions_total", &[]),
            fallback: counter("nessen_rate_limit_fallback_total", &[]),
        }
    }

    /// Whether those who share the rate limit can be asked.
    pub fn rate_limit_backend_up(&self, up: bool) {
        self.set("nessen_rate_limit_backend_up", if up { 1.0 } else { 0.0 });
    }

    /// Worst-case bytes that the limits in force allow.
    pub fn memory_bound(&self, bytes: u64) {
        self.shown.memory_bound.set(bytes as f64);
    }

    /// Bytes that are charged at this moment.
    pub fn memory_used(&self, bytes: u64) {
        self.shown.memory_used.set(bytes as f64);
    }

    /// What the machine, or the container, lets the process use; memory where that is known.
    pub fn machine(&self, memory: Option<u64>, cpus: f64) {
        if let Some(bytes) = memory {
            self.set("nessen_memory_limit_bytes", bytes as f64);
        }
        self.set("nessen_cpu_limit_cores", cpus);
    }

    /// Which parts of the sandbox are enforced.
    pub fn sandbox<'a>(&self, parts: impl IntoIterator<Item = (&'a str, bool)>) {
        for (part, enforced) in parts {
            let labels = [("part", part)];
            let gauge = self.recorder.register_gauge(&key("nessen_sandbox_enforced", &labels), &METADATA);
            gauge.set(if enforced { 1.0 } else { 0.0 });
        }
    }

    /// Whether the readiness check of this name counts as well.
    pub fn check(&self, name: &str, ok: bool) {
        let gauge = self.recorder.register_gauge(&key("nessen_check_ok", &[("check", name)]), &METADATA);
        gauge.set(if ok { 1.0 } else { 0.0 });
    }

    /// The series of the upstream configured as `label`: the same for every route and after every
    /// reload that names it. Ask once and keep it; past 1024 labels all share `_OTHER`.
    pub fn upstream(&self, label: &str) -> Arc<UpstreamSeries> {
        self.upstreams.get(label)
    }

    /// Upgraded connections that are open: add and subtract.
    pub fn tunnels(&self) -> &AtomicI64 {
        &self.tunnels
    }

    /// Call every few seconds, and at least every 10: it moves the window of the percentiles on.
    /// Memory stays as it is without it.
    pub fn upkeep(&self) {
        self.latency.advance(Instant::now());
        self.prometheus.run_upkeep();
    }

    /// Figures for people, of this moment.
    pub fn snapshot(&self) -> Snapshot {
        let latency = self.latency.percentiles(Instant::now());
        Snapshot {
            requests_total: self.finished.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
            requests_active: not_negative(&self.active),
            samples: latency.samples,
            p50: latency.p50,
            p95: latency.p95,
            p99: latency.p99,
        }
    }
}

fn not_negative(count: &AtomicI64) -> u64 {
    u64::try_from(count.load(Ordering::Relaxed)).unwrap_or(0)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
