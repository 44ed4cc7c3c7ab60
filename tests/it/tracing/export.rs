//! A collector that is slow, gone, hostile or full of itself: requests go on, and what is lost is counted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{count, dropped, traced};
use crate::proxy::ask;
use crate::support::client::{Client, Request};
use crate::support::collector::{Collector, Manner};
use crate::support::server::Server;
use crate::support::upstream::{DeadPort, Upstream};
use crate::support::{PATIENCE, assert_eventually};

const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
const FAILURES: &str = "nessen_trace_export_failures_total";
const EXPORTED: &str = "nessen_trace_spans_exported_total";

/// So many requests, each answered in good time.
#[track_caller]
fn asks(server: &Server, count: usize) {
    let mut client = Client::open(server.address);
    for number in 0..count {
        let began = Instant::now();
        client.ask(&Request::get("x", "ok")).assert_answers(200, "x");
        assert!(began.elapsed() < Duration::from_secs(5), "request {number} took {:?}", began.elapsed());
    }
}

fn resident(server: &Server) -> u64 {
    let pages = server.proc_file("statm").split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    pages * rustix::param::page_size() as u64
}

#[test]
fn a_collector_that_is_gone_costs_spans_and_no_request() {
    let (dead, upstream) = (DeadPort::new(), Upstream::start());
    let (url, endpoint) = (upstream.url(), dead.url());
    let server = Server::start(&[
        ("UPSTREAM", &url),
        ("TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "20"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        super::SOON,
    ]);
    asks(&server, 100);
    assert_eventually(PATIENCE, "they are counted", || count(&server, FAILURES) >= 1.0);
    // Two spans for each request; one batch is in hand, and one queue full.
    assert_eventually(PATIENCE, "the others are dropped", || dropped(&server, "queue_full") >= 160.0);
    assert_eq!(count(&server, EXPORTED), 0.0);
    // It is said once, without the spans or anything else.
    let said = |server: &Server| {
        let log = server.log();
        log.iter().filter(|line| line["message"].to_string().contains("cannot be handed over")).count()
    };
    assert_eventually(PATIENCE, "it is said", || said(&server) >= 1);
    assert_eq!(said(&server), 1);
    // Once it is there, what waits is taken.
    drop(dead);
}

#[test]
fn a_collector_that_never_answers_holds_up_nobody() {
    for (collector, protocol) in [(Collector::http(), "http/protobuf"), (Collector::grpc(), "grpc")] {
        collector.will(Manner::Hang);
        let upstream = Upstream::start();
        let env = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_TIMEOUT", "150")];
        let server = traced(&collector, &upstream, &env);
        asks(&server, 20);
        assert_eventually(PATIENCE, "its time-outs are counted", || count(&server, FAILURES) >= 2.0);
        asks(&server, 20);
        collector.will(Manner::Take);
        assert_eventually(PATIENCE, "all are taken in the end", || count(&server, EXPORTED) == 80.0);
        // One batch may be handed over twice, where the collector took it and was too late to say so.
        let ids: BTreeSet<_> = collector.spans().into_iter().map(|span| span.id).collect();
        assert_eq!(ids.len(), 80);
        server.wait_log("it is well again", |line| line["message"] == "the collector takes traces again");
    }
}

#[test]
fn what_waits_is_bounded() {
    let (collector, upstream) = (Collector::http(), Upstream::start());
    collector.will(Manner::Hang);
    let server =
        traced(&collector, &upstream, &[("ACCESS_LOG", "off"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1h")]);
    // Each with as much as a span can hold.
    let request = format!(
        "GET /{}?{} HTTP/1.1\r\nHost: nessen.test\r\nUser-Agent: {}\r\nX-Token: x\r\nX-Fault: ok\r\n\r\n",
        "p".repeat(3000),
        "q".repeat(3000),
        "u".repeat(1000)
    );
    let mut client = Client::open(server.address);
    let mut asks = |times: usize| {
        for _ in 0..times {
            client.send(request.as_bytes());
            client.answer();
        }
    };
    asks(2000);
    assert_eventually(PATIENCE, "the queue is full", || dropped(&server, "queue_full") > 0.0);
    let (before, lost) = (resident(&server), dropped(&server, "queue_full"));
    asks(3000);
    assert_eventually(PATIENCE, "all more are dropped", || dropped(&server, "queue_full") >= lost + 5900.0);
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
}

#[test]
fn what_the_collector_says_decides() {
    for (collector, protocol, manner, reason, lost) in [
        (Collector::http(), "http/protobuf", Manner::Status(500, None), "export_failed", 2.0),
        (Collector::http(), "http/protobuf", Manner::Status(400, None), "export_failed", 2.0),
        (Collector::http(), "http/protobuf", Manner::Status(301, None), "export_failed", 2.0),
        (Collector::http(), "http/protobuf", Manner::Reject(1), "rejected", 1.0),
        (Collector::http(), "http/protobuf", Manner::Reject(i64::MAX), "rejected", 2.0),
        (Collector::grpc(), "grpc", Manner::Grpc(3), "export_failed", 2.0),
        (Collector::grpc(), "grpc", Manner::GrpcAtOnce(7), "export_failed", 2.0),
        (Collector::grpc(), "grpc", Manner::Status(404, None), "export_failed", 2.0),
        (Collector::grpc(), "grpc", Manner::Garbage, "export_failed", 2.0),
        (Collector::grpc(), "grpc", Manner::Reject(1), "rejected", 1.0),
    ] {
        let upstream = Upstream::start();
        collector.will(manner.clone());
        let env = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1h"),
        ];
        let server = traced(&collector, &upstream, &env);
        asks(&server, 1);
        assert_eventually(PATIENCE, &format!("{manner:?} is counted"), || dropped(&server, reason) == lost);
        assert_eq!(count(&server, EXPORTED), 2.0 - lost, "{manner:?}");
        // The next is another matter.
        collector.will(Manner::Take);
        asks(&server, 1);
        assert_eventually(PATIENCE, "the next is taken", || count(&server, EXPORTED) == 4.0 - lost);
        assert_eq!(dropped(&server, reason), lost);
    }
}

#[test]
fn what_can_be_asked_again_is() {
    for (collector, protocol, manner) in [
        (Collector::http(), "http/protobuf", Manner::Status(503, None)),
        (Collector::http(), "http/protobuf", Manner::Status(429, Some("2"))),
        (Collector::http(), "http/protobuf", Manner::Flood),
        (Collector::grpc(), "grpc", Manner::Grpc(14)),
        (Collector::grpc(), "grpc", Manner::GrpcAtOnce(8)),
        (Collector::grpc(), "grpc", Manner::Flood),
    ] {
        let upstream = Upstream::start();
        collector.will(manner.clone());
        let env = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")];
        let server = traced(&collector, &upstream, &env);
        let began = Instant::now();
        asks(&server, 1);
        assert_eventually(PATIENCE, &format!("{manner:?} fails"), || count(&server, FAILURES) >= 1.0);
        collector.will(Manner::Take);
        assert_eventually(PATIENCE, &format!("{manner:?} is asked again"), || {
            count(&server, EXPORTED) == 2.0
        });
        if matches!(manner, Manner::Status(429, _)) {
            assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
        }
        assert_eq!(collector.spans().len(), 2);
    }
}

#[test]
fn what_is_left_is_handed_over_at_the_end() {
    for collector in [Collector::http(), Collector::grpc()] {
        let upstream = Upstream::start();
        let env = [("OTEL_BSP_SCHEDULE_DELAY", "1h"), GRPC];
        let env = if collector.is_grpc() { &env[..] } else { &env[..1] };
        let mut server = traced(&collector, &upstream, env);
        asks(&server, 700);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 0);
        assert_eq!(collector.spans().len(), 1400);
    }
}

#[test]
fn a_collector_that_does_not_answer_keeps_no_process() {
    for manner in [Manner::Hang, Manner::Status(503, Some("3600"))] {
        let (collector, upstream) = (Collector::http(), Upstream::start());
        collector.will(manner);
        let mut server = traced(&collector, &upstream, &[("OTEL_BSP_SCHEDULE_DELAY", "1h")]);
        asks(&server, 700);
        let began = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 0);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let _ = ask;
    }
}
