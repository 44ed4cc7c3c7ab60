use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::span::{Kind, Span, Value};
use super::*;
use crate::refusal::Reason;

const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn tracer(root: Root) -> Tracer {
    Tracer {
        sampler: Sampler::new(root, true),
        trust: Trust::Trusted,
        propagates: true,
        spans: Arc::new(Spans::new(Room { spans: 100, batch: 100 })),
    }
}

fn request(fields: &[(&'static str, &str)]) -> Request<()> {
    let request =
        fields.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
    request.uri("/a?b=c").body(()).unwrap()
}

fn ended(status: Option<u16>, reason: Option<Reason>) -> Ended<'static> {
    let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ended {
        status,
        reason,
        route: Some("/a"),
        request_id: "id",
        client: nobody,
        peer: SocketAddr::new(nobody, 1),
        duration: Duration::from_millis(5),
    }
}

#[tokio::test]
async fn one_that_is_not_recorded_is_a_few_numbers() {
    assert!(size_of::<Trace>() <= 48, "{}", size_of::<Trace>());
    let tracer = tracer(Root::Off);
    let trace = tracer.begin(&request(&[("traceparent", CONTEXT)]), false, false, Instant::now());
    assert!(!trace.is_sampled() && trace.recording.is_none());
    assert!(trace.replaces(&TRACEPARENT) && trace.replaces(&TRACESTATE));
    assert!(!trace.replaces(&header::HOST));
    let told = Parent::parse(&trace.parent_of(None).unwrap()).unwrap();
    assert_eq!((told.trace_id, told.span_id, told.flags), (trace.trace_id, trace.span_id, 0));
    trace.end(&ended(Some(200), None));
    assert!(tracer.spans.is_empty());
}

#[tokio::test]
async fn a_context_of_a_trusted_peer_goes_on_with_its_state() {
    let tracer = tracer(Root::Off);
    let asked = request(&[("traceparent", CONTEXT), ("tracestate", "a=1"), ("tracestate", "b=2")]);
    let trace = tracer.begin(&asked, true, false, Instant::now());
    assert!(trace.is_sampled() && !trace.replaces(&TRACESTATE) && trace.replaces(&TRACEPARENT));
    trace.end(&ended(Some(200), None));
    let span = tracer.spans.take().remove(0);
    assert_eq!(span.state.as_deref(), Some("a=1,b=2"));
    assert_eq!(span.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert!(span.remote_parent && span.link.is_none());
    assert_eq!(span.end - span.start, 5_000_000);
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| match value {
        Value::Word(text) => *text,
        Value::Text(text) => text,
        Value::Shared(text) => text,
        Value::Number(_) => "a number",
    })
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_client_is_believed_and_no_other() {
    for (trusted, secure, scheme, host) in [
        (true, false, "https", "shop.test"),
        (false, false, "http", "inner.test"),
        (false, true, "https", "inner.test"),
    ] {
        let tracer = tracer(Root::On);
        let fields =
            [("host", "inner.test"), ("x-forwarded-host", "shop.test"), ("x-forwarded-proto", "https")];
        tracer.begin(&request(&fields), trusted, secure, Instant::now()).end(&ended(Some(200), None));
        let span = tracer.spans.take().remove(0);
        assert_eq!((text(&span, "url.scheme"), text(&span, "server.address")), (Some(scheme), Some(host)));
    }
}

#[tokio::test]
async fn what_failed_is_told_by_status_and_reason() {
    for (status, reason, error) in [
        (Some(200), None, None),
        (Some(404), Some(Reason::NotFound), None),
        (Some(429), Some(Reason::RateLimited), None),
        (Some(500), None, Some("500")),
        (Some(503), Some(Reason::Overloaded), Some("overloaded")),
        // Cut off when it was under way.
        (Some(200), Some(Reason::SlowReader), Some("slow_reader")),
        (None, None, Some("aborted")),
        (None, Some(Reason::Http2Abuse), Some("http2_abuse")),
    ] {
        let tracer = tracer(Root::On);
        tracer.begin(&request(&[]), false, false, Instant::now()).end(&ended(status, reason));
        let span = tracer.spans.take().remove(0);
        assert_eq!(
            (text(&span, "error.type"), span.failed),
            (error, error.is_some()),
            "{status:?} {reason:?}"
        );
        assert_eq!(text(&span, "nessen.refusal"), reason.map(Reason::label));
    }
}

#[tokio::test]
async fn an_attempt_that_nobody_ends_was_given_up() {
    let tracer = tracer(Root::On);
    let trace = tracer.begin(&request(&[]), false, false, Instant::now());
    let peer = Arc::new(Peer {
        scheme: "https",
        authority: "[::1]:8443".into(),
        host: "::1".into(),
        port: 8443,
        version: "2",
    });
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    for (number, error) in [(0, Some("aborted")), (1, None), (2, Some("upstream_timeout")), (3, Some("404"))]
    {
        let mut attempt = trace.attempt(&peer, address, number).unwrap();
        match number {
            1 => attempt.end(),
            2 => attempt.fail("upstream_timeout"),
            3 => attempt.answered(404),
            _ => {}
        }
        drop(attempt);
        let span = tracer.spans.take().remove(0);
        assert_eq!((span.kind, span.parent), (Kind::Client, Some(trace.span_id)));
        assert_eq!((text(&span, "error.type"), span.failed), (error, error.is_some()));
        assert_eq!(text(&span, "url.full"), Some("https://[::1]:8443/a?b=c"));
        assert_eq!(text(&span, "http.request.resend_count").is_some(), number > 0);
    }
    let untraced = self::tracer(Root::Off).begin(&request(&[]), false, false, Instant::now());
    assert!(untraced.attempt(&peer, address, 0).is_none());
}

/// The bound that is set aside for each place in the queue holds for what requests look like.
#[tokio::test]
async fn a_span_of_a_usual_request_takes_less_than_its_place() {
    let tracer = tracer(Root::On);
    let fields = [("host", "shop.example.com"), ("user-agent", &*"Mozilla/5.0 ".repeat(10))];
    tracer.begin(&request(&fields), false, false, Instant::now()).end(&ended(Some(200), None));
    let weight = tracer.spans.take().remove(0).weight();
    assert!(weight <= SPAN_COST, "{weight}");
}
