use std::collections::BTreeSet;
use std::io::Write;

use super::*;
use crate::telemetry::names::definition;

fn metrics() -> Arc<Metrics> {
    Metrics::new(&["/", "/api", "/odd\"\\\nroute"], BuildInfo::current())
}

fn finished(method: &Method, status: u16, route: RouteId) -> Finished<'_> {
    Finished {
        method,
        status: StatusCode::from_u16(status).ok(),
        route,
        duration: Duration::from_millis(20),
        bytes_in: 3,
        bytes_out: 5,
        spoken: None,
        probe: false,
    }
}

/// The value on the line that begins with `series`.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn a_request_is_counted_once_in_every_metric() {
    let metrics = metrics();
    let route = metrics.route_id("/api");
    assert_eq!(metrics.route_label(route), "/api");
    metrics.request_started();
    assert_eq!(metrics.snapshot().requests_active, 1);
    assert_eq!(value(&metrics.render(), "http_requests_active"), 1.0);
    metrics.request_finished(&finished(&Method::GET, 200, route));
    let text = metrics.render();
    let labels = "method=\"GET\",status=\"200\",route=\"/api\"";
    assert_eq!(value(&text, &format!("http_requests_total{{{labels}}}")), 1.0);
    assert_eq!(value(&text, &format!("http_request_duration_seconds_count{{{labels}}}")), 1.0);
    assert_eq!(value(&text, &format!("http_request_duration_seconds_sum{{{labels}}}")), 0.02);
    assert_eq!(value(&text, &format!("http_request_duration_seconds_bucket{{{labels},le=\"0.01\"}}")), 0.0);
    assert_eq!(value(&text, &format!("http_request_duration_seconds_bucket{{{labels},le=\"0.025\"}}")), 1.0);
    assert_eq!(value(&text, "http_requests_active"), 0.0);
    assert_eq!(value(&text, "http_request_body_bytes_total"), 3.0);
    assert_eq!(value(&text, "http_response_body_bytes_total"), 5.0);
}

#[test]
fn a_request_of_no_route_method_or_status_is_counted_too() {
    let metrics = metrics();
    let brew = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(metrics.route_id("/unheard-of"), RouteId::NONE);
    metrics.request_started();
    metrics.request_finished(&Finished { status: None, ..finished(&brew, 0, RouteId::NONE) });
    let text = metrics.render();
    assert_eq!(value(&text, "http_requests_total{method=\"_OTHER\",status=\"aborted\",route=\"none\"}"), 1.0);
}

#[test]
fn every_reason_is_there_from_the_start() {
    let metrics = metrics();
    metrics.rejected(Reason::Overloaded);
    metrics.rejected(Reason::Idle);
    let text = metrics.render();
    for (reason, count) in metrics.rejections() {
        let expected = u64::from(matches!(reason, Reason::Overloaded | Reason::Idle));
        assert_eq!(count, expected, "{reason}");
        assert_eq!(value(&text, &format!("nessen_rejections_total{{reason=\"{reason}\"}}")), expected as f64);
    }
}

#[test]
fn connections_move_between_protocols() {
    let metrics = metrics();
    for _ in 0..3 {
        metrics.connection_opened(Protocol::Unknown);
    }
    metrics.connection_identified(Protocol::Unknown, Protocol::Http1);
    metrics.connection_identified(Protocol::Unknown, Protocol::Http2);
    assert_eq!(metrics.connections_active(), [1, 1, 1]);
    metrics.connection_closed(Protocol::Unknown);
    metrics.connection_closed(Protocol::Http2);
    assert_eq!(metrics.connections_active(), [0, 1, 0]);
    let text = metrics.render();
    for protocol in Protocol::ALL {
        assert_eq!(
            value(&text, &format!("http_connections_total{{protocol=\"{}\"}}", protocol.label())),
            1.0
        );
    }
}

#[test]
fn the_life_of_the_process_is_shown() {
    let metrics = metrics();
    assert_eq!(value(&metrics.render(), "nessen_phase{phase=\"STARTING\"}"), 1.0);
    metrics.set_phase(Phase::Draining);
    metrics.set_ready(true);
    metrics.drain_finished(Duration::from_millis(1500));
    metrics.drain_cut_off(2);
    metrics.log_lines_dropped(7);
    metrics.log_lines_dropped(9);
    metrics.process_stalled();
    metrics.clock_stepped();
    metrics.clock_stepped();
    assert!(
        !metrics.render().contains("nessen_cpu_throttled_periods_total "),
        "no quota is not none used up"
    );
    metrics.cpu_throttled(11);
    metrics.rate_limit_keys(4);
    metrics.rate_limit_blocked(1);
    assert!(!metrics.render().contains("nessen_rate_limit_backend_up "), "local limits are not shared ones");
    metrics.rate_limit_backend_up(true);
    let backend = metrics.rate_limit_backend();
    backend.asked();
    backend.failed(BackendFailure::Timeout);
    backend.failed(BackendFailure::Timeout);
    metrics.rate_limit_backend().fell_back();
    metrics.memory_bound(1 << 30);
    metrics.memory_used(1 << 20);
    metrics.machine(None, 0.5);
    assert!(!metrics.render().contains("nessen_memory_limit_bytes "), "unknown is not zero");
    metrics.machine(Some(1 << 28), 1.5);
    metrics.sandbox([("files", true), ("ports", false)]);
    metrics.accept_error();
    let text = metrics.render();
    for (series, expected) in [
        ("nessen_phase{phase=\"STARTING\"}", 0.0),
        ("nessen_phase{phase=\"DRAINING\"}", 1.0),
        ("nessen_ready", 1.0),
        ("nessen_drain_duration_seconds", 1.5),
        ("nessen_drain_cut_off_total", 2.0),
        ("nessen_log_lines_dropped_total", 9.0),
        ("nessen_process_stalls_total", 1.0),
        ("nessen_clock_steps_total", 2.0),
        ("nessen_cpu_throttled_periods_total", 11.0),
        ("nessen_rate_limit_keys", 4.0),
        ("nessen_rate_limit_blocked_sources", 1.0),
        ("nessen_rate_limit_backend_up", 1.0),
        ("nessen_rate_limit_backend_questions_total", 1.0),
        ("nessen_rate_limit_backend_errors_total{kind=\"timeout\"}", 2.0),
        ("nessen_rate_limit_backend_errors_total{kind=\"overflow\"}", 0.0),
        ("nessen_rate_limit_fallback_total", 1.0),
        ("nessen_memory_bound_bytes", 1_073_741_824.0),
        ("nessen_memory_limit_bytes", 268_435_456.0),
        ("nessen_cpu_limit_cores", 1.5),
        ("nessen_sandbox_enforced{part=\"files\"}", 1.0),
        ("nessen_sandbox_enforced{part=\"ports\"}", 0.0),
        ("nessen_accept_errors_total", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn an_upstream_and_what_goes_through_it_are_shown() {
    let metrics = metrics();
    let app = metrics.upstream("http://app:8080");
    app.answered(StatusCode::NOT_FOUND, Duration::from_millis(20));
    app.failed(super::super::UpstreamFailure::Timeout, Duration::from_secs(3));
    app.retried();
    app.ejected();
    app.lookup_failed();
    app.set_healthy(false);
    app.connections_active().fetch_add(3, Ordering::Relaxed);
    app.connections_idle().fetch_add(2, Ordering::Relaxed);
    metrics.tunnels().fetch_add(4, Ordering::Relaxed);
    metrics.check("database", true);
    metrics.check("database", false);
    let text = metrics.render();
    for (series, expected) in [
        ("nessen_upstream_requests_total{upstream=\"http://app:8080\",status=\"4xx\"}", 1.0),
        ("nessen_upstream_requests_total{upstream=\"http://app:8080\",status=\"timeout\"}", 1.0),
        ("nessen_upstream_requests_total{upstream=\"http://app:8080\",status=\"2xx\"}", 0.0),
        ("nessen_upstream_request_duration_seconds_count{upstream=\"http://app:8080\"}", 2.0),
        ("nessen_upstream_request_duration_seconds_sum{upstream=\"http://app:8080\"}", 3.02),
        ("nessen_upstream_request_duration_seconds_bucket{upstream=\"http://app:8080\",le=\"0.025\"}", 1.0),
        ("nessen_upstream_retries_total{upstream=\"http://app:8080\"}", 1.0),
        ("nessen_upstream_ejections_total{upstream=\"http://app:8080\"}", 1.0),
        ("nessen_upstream_healthy{upstream=\"http://app:8080\"}", 0.0),
        ("nessen_upstream_connections{upstream=\"http://app:8080\",state=\"active\"}", 3.0),
        ("nessen_upstream_connections{upstream=\"http://app:8080\",state=\"idle\"}", 2.0),
        ("nessen_tunnels_active", 4.0),
        ("nessen_check_ok{check=\"database\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    drop(app);
    let text = metrics.render();
    assert!(!text.contains("nessen_upstream_healthy{"), "an upstream that is gone is said to be ill");
    assert_eq!(value(&text, "nessen_upstream_retries_total{upstream=\"http://app:8080\"}"), 1.0);
}

#[test]
fn the_text_holds_exactly_what_the_table_promises() {
    let metrics = metrics();
    metrics.request_started();
    let spoken = Some(Spoken { version: http::Version::HTTP_11, secure: true });
    let route = metrics.route_id("/odd\"\\\nroute");
    metrics.request_finished(&Finished { spoken, ..finished(&Method::GET, 200, route) });
    let _upstream = metrics.upstream("http://app:8080");
    metrics.check("database", true);
    metrics.machine(Some(1), 1.0);
    metrics.sandbox([("files", true), ("ports", false)]);
    metrics.cpu_throttled(1);
    metrics.quarantine(1, 1, 1);
    metrics.evidence_bounds(1, 1);
    metrics.evidence(true, 1, 1, 1);
    metrics.cold_storage_failures(1);
    metrics.rate_limit_backend_up(true);
    let _shared = metrics.rate_limit_backend();
    metrics.tls().in_use(vec![("a.pem".into(), Duration::from_secs(1))]);
    metrics.traces(&crate::trace::Spans::new(crate::trace::Room { spans: 1, batch: 1 }).counts());
    let text = metrics.render();
    let mut typed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(definition(name).unwrap().kind.label(), kind, "{name}");
        assert!(typed.insert(name), "{name} has two TYPE lines");
    }
    let promised: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(typed, promised);
    for metric in METRICS {
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        let sample = text.lines().find(|line| line.starts_with(metric.name)).unwrap();
        for label in metric.labels {
            assert!(sample.contains(&format!("{label}=\"")), "{sample}");
        }
    }
    assert!(text.contains("route=\"/odd\\\"\\\\\\nroute\""), "{text}");
}

/// `promtool` is the authority; where it is not installed, the test above has to do.
#[test]
fn promtool_has_nothing_to_say() {
    let metrics = metrics();
    metrics.request_started();
    metrics.request_finished(&finished(&Method::POST, 503, RouteId::NONE));
    let _upstreams = ["http://app:8080", "http://odd\"\\:1"].map(|label| metrics.upstream(label));
    metrics.check("database", true);
    let mut promtool = std::process::Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(std::process::Stdio::piped());
    let Ok(mut child) =
        promtool.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()
    else {
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.render().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_million_requests_that_nobody_scrapes_cost_no_memory() {
    let metrics = metrics();
    let route = metrics.route_id("/");
    let mut record = |number: u64| {
        metrics.request_started();
        metrics.request_finished(&Finished {
            duration: Duration::from_micros(number % 5000),
            ..finished(&Method::GET, 200, route)
        });
    };
    (0..1000).for_each(&mut record);
    metrics.upkeep();
    let resident = || super::super::process::read().resident_bytes.unwrap_or(0);
    let (before, series) = (resident(), metrics.routes.all().len());
    for number in 0..3_000_000 {
        record(number);
        if number % 500_000 == 0 {
            metrics.upkeep();
        }
    }
    // Kept as raw samples they would be 24 MB. Other tests run beside this one.
    assert!(resident().saturating_sub(before) < 12_000_000);
    assert_eq!(metrics.routes.all().len(), series);
    assert_eq!(metrics.snapshot().requests_total, 3_001_000);
}

#[test]
fn probes_are_left_out_of_the_percentiles() {
    let metrics = metrics();
    for probe in [true, true, true, false] {
        metrics.request_started();
        let duration = if probe { Duration::from_micros(10) } else { Duration::from_millis(50) };
        metrics.request_finished(&Finished { probe, duration, ..finished(&Method::GET, 200, RouteId::NONE) });
    }
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.requests_total, snapshot.samples), (4, 1));
    assert!(
        snapshot.p50 > Duration::from_millis(47) && snapshot.p99 < Duration::from_millis(53),
        "{snapshot:?}"
    );
}
