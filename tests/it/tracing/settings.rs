//! The variables of OpenTelemetry, the keys behind them, and what is wrong with either.

use super::{SOON, traced};
use crate::proxy::{TempFile, ask};
use crate::support::client::Request;
use crate::support::collector::{Collector, Manner};
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;

fn get(path: &str) -> Request {
    Request { target: path.to_owned(), ..Request::get("x", "ok") }
}

#[test]
fn the_variables_mean_what_they_mean_everywhere() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(
        &collector,
        &upstream,
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20key,X-Tenant=a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=talos-gateway,environment=prod,note=a%2Cb"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ],
    );
    ask(&server, &get("/one")).assert_answers(200, "x");
    let span = collector.trace_of("url.path", "/one", 2).remove(0);
    assert_eq!(span.resource["service.name"], "talos-gateway");
    assert_eq!((&*span.resource["environment"], &*span.resource["note"]), ("prod", "a,b"));
    let (method, path, fields) = collector.heads().remove(0);
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/v1/traces"));
    for (name, value) in [
        ("api-key", "s3cret key"),
        ("x-tenant", "a"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(fields[name], value);
    }
    assert!(fields["user-agent"].to_str().unwrap().starts_with("OTel-OTLP-Exporter-"));
    // Neither the log nor the report of what holds tells of it.
    assert!(server.stdout().iter().all(|line| !line.contains("s3cret")));
    let mut check = Process::start(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret")], &["check"]);
    assert_eq!(check.exit_code(), 0);
    let report = check.stdout().join("\n");
    assert!(report.contains("tracing.headers") && !report.contains("s3cret"), "{report}");
}

#[test]
fn a_name_for_traces_alone_goes_before_the_one_for_all() {
    let (collector, other, upstream) = (Collector::http(), Collector::http(), Upstream::start());
    other.will(Manner::Status(500, None));
    let traces = format!("{}/here/it/is?x=1", collector.url());
    let server = traced(
        &other,
        &upstream,
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=not-mine"),
        ],
    );
    ask(&server, &get("/one")).assert_answers(200, "x");
    let span = collector.trace_of("url.path", "/one", 2).remove(0);
    assert_eq!(span.resource["service.name"], "mine");
    let (_, path, fields) = collector.heads().remove(0);
    assert_eq!(path, "/here/it/is");
    assert!(fields.get("a").is_none() && fields["b"] == "2");
    assert!(other.heads().is_empty());
}

#[test]
fn a_path_of_the_endpoint_is_kept_and_grpc_has_its_own() {
    let upstream = Upstream::start();
    for (collector, protocol, expected) in [
        (Collector::http(), "http/protobuf", "/otlp/v1/traces"),
        (Collector::grpc(), "grpc", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ] {
        let (url, endpoint) = (upstream.url(), format!("{}/otlp/", collector.url()));
        let server = Server::start(&[
            ("UPSTREAM", &url),
            ("TRACING_ENABLED", "true"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k"),
            SOON,
        ]);
        ask(&server, &get("/one")).assert_answers(200, "x");
        collector.wait(2);
        let (_, path, fields) = collector.heads().remove(0);
        assert_eq!(path, expected);
        assert_eq!(fields["api-key"], "k");
    }
}

#[test]
fn a_collector_within_tls_is_one_of_the_ca() {
    let upstream = Upstream::start();
    for (grpc, protocol) in [(false, "http/protobuf"), (true, "grpc")] {
        let (collector, ca) = Collector::tls(grpc);
        let file = TempFile::new("collector-ca.pem", &ca);
        let env =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.path())];
        let server = traced(&collector, &upstream, &env);
        ask(&server, &get("/one")).assert_answers(200, "x");
        collector.trace_of("url.path", "/one", 2);
        // One of another CA is sent nothing.
        let (stranger, _) = Collector::tls(grpc);
        let server = traced(&stranger, &upstream, &env);
        ask(&server, &get("/two")).assert_answers(200, "x");
        let line = server.wait_log("why not", |line| line["message"].to_string().contains("handed over"));
        assert!(line["message"].to_string().contains("invalid peer certificate"), "{line}");
        assert!(stranger.heads().is_empty());
    }
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let no_ca = TempFile::new("no-ca.pem", "nothing");
    for (env, words) in [
        (vec![("NESSEN_SERVER_MODE", "prod")], vec!["server.mode", "tracing.endpoint"]),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")], vec!["tracing.endpoint", "http"]),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector")], vec!["tracing.endpoint", "scheme"]),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:planted@collector")],
            vec!["tracing.endpoint", "tracing.headers", "[redacted]@collector"],
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            vec!["tracing.protocol", "http/protobuf", "grpc"],
        ),
        (vec![("OTEL_TRACES_SAMPLER", "jaeger_remote")], vec!["tracing.sampler", "traceidratio"]),
        (vec![("OTEL_TRACES_SAMPLER_ARG", "1.5")], vec!["tracing.ratio", "0 to 1"]),
        (vec![("OTEL_PROPAGATORS", "b3,tracecontext")], vec!["tracing.propagators", "b3"]),
        (vec![("OTEL_EXPORTER_OTLP_HEADERS", "planted")], vec!["tracing.headers", "(redacted)"]),
        (
            vec![("OTEL_EXPORTER_OTLP_CLIENT_KEY", "a.pem")],
            vec!["tracing.client_key", "tracing.client_certificate"],
        ),
        (
            vec![("OTEL_BSP_MAX_QUEUE_SIZE", "10")],
            vec!["tracing.max_queue_size", "tracing.max_export_batch_size"],
        ),
        (
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", no_ca.path()),
            ],
            vec!["tracing.ca", "no-ca.pem", "holds no certificate"],
        ),
        (
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/not/there.pem"),
            ],
            vec!["tracing.ca", "/not/there.pem"],
        ),
    ] {
        let env = [&[("TRACING_ENABLED", "true")], &env[..]].concat();
        let mut process = Process::start(&env, &[]);
        assert_eq!(process.exit_code(), 78, "{env:?}");
        let said = process.stderr().join("\n");
        for word in words {
            assert!(said.contains(word), "{env:?}: {word:?} is not in: {said}");
        }
        assert!(!said.contains("planted"), "{said}");
    }
}

#[test]
fn durations_by_the_conventions_are_a_setting() {
    let upstream = Upstream::start();
    let server = crate::proxy::proxy(
        &upstream,
        &[("NESSEN_METRICS_SEMANTIC_CONVENTIONS", "true"), ("TRUSTED_PROXIES", "127.0.0.1")],
    );
    ask(&server, &get("/one").field("X-Forwarded-Proto", "https")).assert_answers(200, "x");
    let sample = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                  http_response_status_code=\"200\",http_route=\"/\",url_scheme=\"https\",\
                  network_protocol_version=\"1.1\"}";
    assert_eq!(server.metrics().get(sample), Some(&1.0), "{:#?}", server.metrics());
    let server = crate::proxy::proxy(&upstream, &[]);
    ask(&server, &get("/one")).assert_answers(200, "x");
    assert!(server.metrics().keys().all(|name| !name.starts_with("http_server_request")));
}
