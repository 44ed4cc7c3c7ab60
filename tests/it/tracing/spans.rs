//! What spans say: of a request, of each attempt at an upstream, of what was refused.

use std::time::Duration;

use super::{dropped, traced};
use crate::proxy::{ask, ask2};
use crate::support::client::{Client, Request};
use crate::support::collector::{CLIENT, Collector, SERVER, Span};
use crate::support::http2::{self, H2, reset};
use crate::support::server::Server;
use crate::support::upstream::{DeadPort, Upstream};
use crate::support::{PATIENCE, assert_eventually, pause};

#[test]
fn a_request_and_its_attempt_are_a_parent_and_its_child() {
    for (collector, protocol) in [(Collector::http(), "http/protobuf"), (Collector::grpc(), "grpc")] {
        let upstream = Upstream::start();
        let server = traced(&collector, &upstream, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        let request = Request {
            target: "/a/b?x=1&y=2".to_owned(),
            host: "shop.test:8080".to_owned(),
            ..Request::get("one", "ok")
        };
        let answer = ask(&server, &request.field("User-Agent", "a browser/1.0"));
        answer.assert_answers(200, "one");
        let spans = collector.trace_of("url.path", "/a/b", 2);
        let [request, attempt] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!((request.kind, attempt.kind), (SERVER, CLIENT));
        assert_eq!((request.parent.as_str(), &attempt.parent), ("", &request.id));
        assert!(!request.failed && !attempt.failed);
        assert!(request.start <= attempt.start && attempt.end <= request.end, "{spans:#?}");
        let client = server.get("/health");
        assert_eq!(client.status, 200);
        let id = answer.all("x-request-id")[0].to_owned();
        for (name, value) in [
            ("http.request.method", "GET"),
            ("url.path", "/a/b"),
            ("url.query", "x=1&y=2"),
            ("url.scheme", "http"),
            ("http.route", "/"),
            ("http.response.status_code", "200"),
            ("server.address", "shop.test"),
            ("server.port", "8080"),
            ("client.address", "127.0.0.1"),
            ("network.peer.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "a browser/1.0"),
            ("nessen.request_id", &id),
            ("error.type", ""),
            ("nessen.refusal", ""),
        ] {
            assert_eq!(request.get(name), value, "{name}: {request:#?}");
        }
        assert_eq!(request.name, "GET /");
        let port = upstream.address.port().to_string();
        for (name, value) in [
            ("http.request.method", "GET"),
            ("url.full", &*format!("http://127.0.0.1:{port}/a/b?x=1&y=2")),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("network.peer.port", &port),
            ("http.response.status_code", "200"),
            ("http.request.resend_count", ""),
            ("network.protocol.version", "1.1"),
        ] {
            assert_eq!(attempt.get(name), value, "{name}: {attempt:#?}");
        }
        assert_eq!(attempt.name, "GET");
        // The upstream was told of the attempt.
        let sent = upstream.one("one");
        assert_eq!(sent.all("traceparent"), [format!("00-{}-{}-01", request.trace, attempt.id)]);
        assert_eq!(request.resource["service.name"], "nessen");
        assert_eq!(request.resource["telemetry.sdk.name"], "nessen");
        // And the log of the request.
        let line = server.wait_log("the request", |line| line["path"] == "/a/b?x=1&y=2");
        assert_eq!(
            (line["trace_id"].as_str(), line["span_id"].as_str()),
            (Some(&*request.trace), Some(&*request.id))
        );
        // Of probes there is no span.
        assert!(collector.spans().iter().all(|span| span.trace == request.trace), "{:#?}", collector.spans());
        assert_eq!(dropped(&server, "queue_full"), 0.0);
    }
}

#[test]
fn each_attempt_is_a_span_of_its_own() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(&collector, &upstream, &[]);
    ask(&server, &Request::get("first", "die-on-next")).assert_answers(200, "first");
    let request = Request { target: "/again".to_owned(), ..Request::get("again", "ok") };
    ask(&server, &request).assert_answers(200, "again");
    let spans = collector.trace_of("url.path", "/again", 3);
    let [request, died, answered] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!([&died.parent, &answered.parent], [&request.id; 2]);
    assert_ne!(died.id, answered.id);
    assert!(died.failed && !answered.failed && !request.failed, "{spans:#?}");
    assert_eq!((died.get("error.type"), died.get("http.request.resend_count")), ("upstream_unreachable", ""));
    assert_eq!(answered.get("http.request.resend_count"), "1");
    assert!(died.end <= answered.start, "{spans:#?}");
    // Each was told of itself.
    let told: Vec<String> =
        upstream.seen_of("again").iter().map(|seen| seen.all("traceparent").join(" ")).collect();
    assert_eq!(told, [died, answered].map(|span| format!("00-{}-{}-01", request.trace, span.id)));
}

#[test]
fn what_fails_is_told_from_what_a_client_did_wrong() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(
        &collector,
        &upstream,
        &[("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "2s"), ("NESSEN_UPSTREAM_RETRIES", "0")],
    );
    for (path, fault, status, failed, error, attempt_failed, attempt_error) in [
        ("/teapot", "status=418", "418", false, "", true, "418"),
        ("/broken", "status=503", "503", true, "503", true, "503"),
        ("/slow", "gate", "504", true, "upstream_timeout", true, "upstream_timeout"),
        ("/closed", "close-silent", "502", true, "upstream_unreachable", true, "upstream_unreachable"),
    ] {
        let request = Request { target: path.to_owned(), ..Request::get("x", fault) };
        let answer = ask(&server, &request);
        assert_eq!(answer.status.to_string(), status, "{path}");
        let spans = collector.trace_of("url.path", path, 2);
        let [request, attempt] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!(request.get("http.response.status_code"), status);
        assert_eq!((request.failed, request.get("error.type")), (failed, error), "{request:#?}");
        assert_eq!(
            (attempt.failed, attempt.get("error.type")),
            (attempt_failed, attempt_error),
            "{attempt:#?}"
        );
    }
    upstream.open_gate();
}

#[test]
fn one_that_is_refused_has_a_span_and_no_attempt() {
    let collector = Collector::http();
    let dead = DeadPort::new();
    let (url, endpoint) = (dead.url(), collector.url());
    let server = Server::start(&[
        ("UPSTREAM", &url),
        ("TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("ALLOWED_HOSTS", "nessen.test"),
        ("NESSEN_UPSTREAM_RETRIES", "0"),
        super::SOON,
    ]);
    let request = Request { host: "other.test".to_owned(), ..Request::new("GET", "/elsewhere") };
    ask(&server, &request).assert_refusal(421, "HOST_NOT_ALLOWED");
    let spans = collector.trace_of("url.path", "/elsewhere", 1);
    assert_eq!(spans[0].get("nessen.refusal"), "host_not_allowed");
    assert_eq!((spans[0].failed, spans[0].get("error.type")), (false, ""));
    // One for which there was no upstream has both.
    let request = Request { target: "/dead".to_owned(), ..Request::new("GET", "/") };
    ask(&server, &request).assert_refusal(502, "UPSTREAM_UNREACHABLE");
    let spans = collector.trace_of("url.path", "/dead", 2);
    assert_eq!((spans[0].get("nessen.refusal"), spans[0].failed), ("upstream_unreachable", true));
    assert_eq!(spans[1].get("error.type"), "upstream_unreachable");
    // A method that nobody knows is told in bounds, and is no part of a name.
    let method = format!("X{}", "Y".repeat(60));
    let request = Request::new(&method, "/odd");
    assert_eq!(ask(&server, &request).status, 501);
    let span = &collector.trace_of("url.path", "/odd", 1)[0];
    assert_eq!(span.name.split(' ').next(), Some("HTTP"));
    assert_eq!(span.get("http.request.method"), "_OTHER");
    assert_eq!(span.get("http.request.method_original"), &method[..32]);
}

#[test]
fn a_request_over_http2_and_to_an_upstream_of_it_is_traced_likewise() {
    let (collector, upstream) = (Collector::grpc(), Upstream::start());
    let server = traced(&collector, &upstream, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    let request = Request { target: "/two?a=b".to_owned(), ..Request::get("two", "ok") };
    ask2(&server, &request).unwrap().assert_answers(200, "two");
    let spans = collector.trace_of("url.path", "/two", 2);
    let [request, attempt] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (request.get("network.protocol.version"), attempt.get("network.protocol.version")),
        ("2", "1.1")
    );
    assert_eq!((request.get("server.address"), request.get("url.query")), ("nessen.test", "a=b"));
    assert_eq!(upstream.one("two").all("traceparent"), [format!("00-{}-{}-01", request.trace, attempt.id)]);
    // In front of itself: what one sends as h2c is what the other is asked.
    let url = format!("h2c://{}", server.address);
    let endpoint = collector.url();
    let front = Server::start(&[
        ("UPSTREAM", &url),
        ("TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_SERVICE_NAME", "front"),
        super::SOON,
    ]);
    let request = Request { target: "/both".to_owned(), ..Request::get("both", "ok") };
    ask(&front, &request).assert_answers(200, "both");
    // The one behind trusts nobody: its trace is another, and links to that of the one in front.
    let mut fronts = Vec::new();
    assert_eventually(PATIENCE, "spans of both", || {
        fronts =
            collector.spans().into_iter().filter(|span| span.resource["service.name"] == "front").collect();
        fronts.len() == 2
    });
    let attempt = fronts.iter().find(|span| span.kind == CLIENT).unwrap();
    assert_eq!(attempt.get("network.protocol.version"), "2");
    let behind = |span: &Span| span.resource["service.name"] == "nessen" && span.get("url.path") == "/both";
    assert_eventually(PATIENCE, "the span behind", || collector.spans().iter().any(behind));
    let behind = collector.spans().into_iter().find(behind).unwrap();
    assert_eq!(behind.links, [(attempt.trace.clone(), attempt.id.clone())]);
}

#[test]
fn a_span_lasts_from_the_first_byte_to_the_last() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(&collector, &upstream, &[]);
    let mut client = Client::open(server.address);
    client.send(b"GET /slow HTTP/1.1\r\nHost: nessen.test\r\nX-Token: slow\r\nX-Fault: events\r\n");
    // It begins where the server reads it.
    let mut scraper = server.connect();
    assert_eventually(PATIENCE, "its first byte is read", || {
        server.metrics_on(&mut scraper)["http_connections_active{protocol=\"http/1.1\"}"] >= 2.0
    });
    pause(120);
    client.send(b"\r\n");
    client.head().unwrap();
    pause(120);
    assert!(collector.spans().is_empty(), "it is not over");
    upstream.push(b"data: 1\n\n");
    upstream.push_end();
    assert_eventually(PATIENCE, "the span", || collector.spans().len() == 2);
    let spans = collector.trace_of("url.path", "/slow", 2);
    let took = |span: &Span| Duration::from_nanos(span.end - span.start);
    assert!(took(&spans[0]) >= Duration::from_millis(240), "{:?}", took(&spans[0]));
    assert!(took(&spans[1]) >= Duration::from_millis(120), "{:?}", took(&spans[1]));
    assert!(!spans[0].failed && !spans[1].failed, "{spans:#?}");
}

#[test]
fn one_that_a_client_gives_up_says_so() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(&collector, &upstream, &[]);
    let mut client = H2::open(server.address);
    client.send(&http2::request(1, "GET", "/gone", &[("x-token", "gone"), ("x-fault", "gate")], true));
    assert_eventually(PATIENCE, "it has come", || upstream.begun() == 1);
    client.send(&reset(1, 8));
    let spans = collector.trace_of("url.path", "/gone", 2);
    assert_eq!((spans[0].get("error.type"), spans[1].get("error.type")), ("aborted", "aborted"));
    assert!(spans[0].failed && spans[1].failed);
    upstream.open_gate();
    // One whose upstream breaks off has its status, and failed.
    let request = Request { target: "/short".to_owned(), ..Request::get("short", "length-long") };
    let _ = Client::open(server.address).try_ask(&request);
    let spans = collector.trace_of("url.path", "/short", 2);
    assert!(spans[0].failed && spans[1].failed, "{spans:#?}");
    assert_eq!(
        (spans[0].get("error.type"), spans[1].get("error.type")),
        ("upstream_invalid", "upstream_invalid")
    );
}

/// Planted wherever a request can hold one; none of them is in a byte of what the collector is sent.
#[test]
fn no_secret_is_sent_to_the_collector() {
    for (collector, protocol) in [(Collector::http(), "http/protobuf"), (Collector::grpc(), "grpc")] {
        let upstream = Upstream::start();
        let server = traced(
            &collector,
            &upstream,
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("NESSEN_UPSTREAM_RETRIES", "1")],
        );
        for name in [
            "token",
            "access_token",
            "api_key",
            "X-Amz-Signature",
            "sig",
            "client_secret",
            "password",
            "%74oken",
            "header_b64u",
            "ciphertext_b64u",
            "jwt",
            "session_id",
        ] {
            let target = format!("/login;jsessionid=planted?a=1&{name}=planted&b=2");
            let request = Request { target, ..Request::get("x", "ok") }
                .field("Authorization", "Bearer planted")
                .field("Proxy-Authorization", "Basic planted")
                .field("Cookie", "id=planted")
                .field("X-Api-Key", "planted")
                .field("Referer", "http://a.test/?token=planted");
            ask(&server, &request).assert_answers(200, "x");
        }
        let request =
            Request { target: "/dead?token=planted".to_owned(), ..Request::get("x", "close-silent") };
        assert_eq!(ask(&server, &request).status, 502);
        let spans = collector.wait(26);
        let bytes = collector.bytes();
        assert!(!bytes.windows(7).any(|window| window == b"planted"), "{spans:#?}");
        let sought = spans.iter().find(|span| span.get("url.query").contains("api_key")).unwrap();
        assert_eq!(sought.get("url.path"), "/login;jsessionid=[redacted]");
        assert_eq!(sought.get("url.query"), "a=1&api_key=[redacted]&b=2");
        assert!(spans.iter().any(|span| span.get("url.full").ends_with("?a=1&api_key=[redacted]&b=2")));
    }
}
