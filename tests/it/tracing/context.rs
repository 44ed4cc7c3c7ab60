//! The context that a request comes with, whom it is believed of, and what is recorded.

use std::collections::BTreeSet;

use super::{dropped, traced};
use crate::proxy::ask;
use crate::support::client::{Client, Request};
use crate::support::collector::{Collector, Span};
use crate::support::server::Server;
use crate::support::upstream::Upstream;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const TRUSTED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// A request of this path with this context, and what the upstream was sent.
#[track_caller]
fn sent(server: &Server, upstream: &Upstream, path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let request = Request { target: path.to_owned(), ..Request::get(path, "ok") };
    let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
    ask(server, &request).assert_answers(200, path);
    let seen = upstream.one(path);
    let parents = seen.all("traceparent");
    assert_eq!(parents.len(), 1, "{parents:?}");
    (parents[0].to_owned(), seen.all("tracestate").join(","))
}

fn server_span(collector: &Collector, path: &str) -> Span {
    collector.trace_of("url.path", path, 2).remove(0)
}

#[test]
fn a_trusted_peer_is_gone_on_with() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(&collector, &upstream, &[TRUSTED]);
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    let (parent, passed) =
        sent(&server, &upstream, "/on", &[("traceparent", &sampled()), ("tracestate", state)]);
    let span = server_span(&collector, "/on");
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.remote), (TRACE, PARENT, true));
    assert_eq!((span.state.as_str(), passed.as_str()), (state, state));
    assert!(span.links.is_empty());
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains(PARENT));
    // One that says it is not recorded is not, and goes on all the same.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let (parent, passed) =
        sent(&server, &upstream, "/off", &[("traceparent", &unsampled), ("tracestate", state)]);
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    assert!(!parent.contains(PARENT));
    assert_eq!(passed, state);
    let line = server.wait_log("the request", |line| line["path"] == "/off");
    assert_eq!(line["trace_id"], TRACE);
    // A later one comes to the collector later.
    sent(&server, &upstream, "/last", &[]);
    server_span(&collector, "/last");
    assert!(collector.spans().iter().all(|span| span.get("url.path") != "/off"));
}

#[test]
fn what_is_no_context_begins_another_trace() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let server = traced(&collector, &upstream, &[TRUSTED]);
    let state = "a=b";
    for (number, bad) in [
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{PARENT}-0x"),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("00-{TRACE}-{PARENT}"),
        "x".repeat(4000),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/bad/{number}");
        let (parent, passed) =
            sent(&server, &upstream, &path, &[("traceparent", bad), ("tracestate", state)]);
        let span = server_span(&collector, &path);
        assert!(span.trace != TRACE && span.parent.is_empty() && span.links.is_empty(), "{bad}: {span:#?}");
        assert_eq!((passed.as_str(), &parent[3..35]), ("", &*span.trace), "{bad}");
    }
    // Two of them are none.
    let twice = [("traceparent", &*sampled()), ("traceparent", &sampled())];
    sent(&server, &upstream, "/twice", &twice);
    assert_ne!(server_span(&collector, "/twice").trace, TRACE);
    // A tracestate that is none is left out, and the trace goes on.
    let long = format!("a={}", "b".repeat(600));
    for (number, state) in ["no state", &*long, "A=b", "a=1,a=2"].iter().enumerate() {
        let path = format!("/state/{number}");
        let (_, passed) =
            sent(&server, &upstream, &path, &[("traceparent", &sampled()), ("tracestate", state)]);
        assert_eq!(passed, "");
    }
    assert_eq!(collector.trace_of("url.path", "/state/0", 8)[0].trace, TRACE);
}

/// Whoever says "record this" of each request would have all of them recorded.
#[test]
fn an_untrusted_client_decides_nothing() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let ratio = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let server = traced(&collector, &upstream, &ratio);
    for number in 0..200 {
        let path = format!("/{number}");
        // An id that any ratio takes.
        let parent = format!("00-{}-{PARENT}-01", format_args!("{:0>31}1", ""));
        let (passed, state) =
            sent(&server, &upstream, &path, &[("traceparent", &parent), ("tracestate", "a=b")]);
        assert!(passed.ends_with("-00") && !passed.contains(PARENT) && state.is_empty(), "{passed}");
    }
    drop(server);
    assert!(collector.spans().is_empty());
    // Where all are recorded anyway, the span links to what the client said.
    let server = traced(&collector, &upstream, &[]);
    let (parent, state) =
        sent(&server, &upstream, "/link", &[("traceparent", &sampled()), ("tracestate", "a=b")]);
    let span = server_span(&collector, "/link");
    assert!(span.trace != TRACE && span.parent.is_empty(), "{span:#?}");
    assert_eq!(span.links, [(TRACE.to_owned(), PARENT.to_owned())]);
    assert_eq!((&parent[3..35], state.as_str()), (&*span.trace, ""));
}

#[test]
fn whom_to_believe_is_a_setting() {
    let upstream = Upstream::start();
    for (trust, proxies, goes_on) in [
        ("all", "none", true),
        ("none", "127.0.0.1", false),
        ("trusted", "none", false),
        ("trusted", "127.0.0.1", true),
    ] {
        let collector = Collector::http();
        let env = [("NESSEN_TRACING_TRUST_INCOMING", trust), ("TRUSTED_PROXIES", proxies)];
        let server = traced(&collector, &upstream, &env);
        let path = format!("/{trust}/{proxies}");
        sent(&server, &upstream, &path, &[("traceparent", &sampled())]);
        assert_eq!(server_span(&collector, &path).trace == TRACE, goes_on, "{trust} {proxies}");
    }
}

#[test]
fn without_tracing_or_its_propagator_fields_go_through_as_they_are() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    for (number, off) in [
        ("TRACING_ENABLED", "false"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_PROPAGATORS", "baggage"),
    ]
    .iter()
    .enumerate()
    {
        let server = match number {
            0 => crate::proxy::proxy(&upstream, &[*off]),
            _ => traced(&collector, &upstream, &[*off]),
        };
        let path = format!("/through/{number}");
        let fields = [("traceparent", "as it is"), ("tracestate", "A, b"), ("baggage", "a=b")];
        let passed = sent(&server, &upstream, &path, &fields);
        assert_eq!(passed, ("as it is".to_owned(), "A, b".to_owned()), "{off:?}");
        assert_eq!(upstream.one(&path).all("baggage"), ["a=b"]);
        let line = server.wait_log("the request", |line| line["path"] == *path);
        assert_eq!(line.get("trace_id").is_some(), number == 3, "{line}");
        // Metrics of traces are there where traces are.
        let shown = server.metrics().keys().any(|name| name.starts_with("nessen_trace_"));
        assert!(!shown || number == 3);
        if number == 3 {
            // Waited for while the server is there: with it would go what it has not sent yet.
            assert_ne!(server_span(&collector, &path).trace, TRACE);
        }
    }
    // Of the last one, spans came; of the others, none.
    assert_eq!(collector.spans().len(), 2);
}

/// Of so many, so many are recorded: within six standard deviations, which one run in a billion is not.
#[test]
fn a_ratio_of_all_is_recorded() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    let ratio =
        [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.2"), ("ACCESS_LOG", "off")];
    let mut server = traced(&collector, &upstream, &ratio);
    let many = 2000;
    let mut client = Client::open(server.address);
    for _ in 0..many {
        client.ask(&Request::get("x", "ok")).assert_answers(200, "x");
    }
    assert_eq!(dropped(&server, "queue_full"), 0.0);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    let spans = collector.spans();
    let traces: BTreeSet<_> = spans.iter().map(|span| span.trace.clone()).collect();
    assert_eq!(spans.len(), 2 * traces.len(), "a request is recorded with its attempt, or not at all");
    let (expected, spread) = (f64::from(many) * 0.2, 6.0 * (f64::from(many) * 0.2 * 0.8).sqrt());
    assert!((traces.len() as f64 - expected).abs() <= spread, "{}", traces.len());
    // What the upstream was told is what was decided.
    let told: BTreeSet<_> = upstream
        .seen()
        .iter()
        .map(|seen| seen.all("traceparent").join(" "))
        .filter(|parent| parent.ends_with("-01"))
        .map(|parent| parent[3..35].to_owned())
        .collect();
    assert_eq!(told, traces);
}
