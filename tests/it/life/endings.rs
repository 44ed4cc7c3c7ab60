//! Signals, deadlines and exit codes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::half_a_request;
use crate::support::http1::End;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn nothing_to_drain_ends_well() {
    let mut server = Server::start(&[("DRAIN_DELAY", "0")]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_interrupt_does_not_wait_for_the_delay() {
    let mut server = Server::start(&[("DRAIN_DELAY", "15s")]);
    let mut idle = server.connect();
    idle.assert_serves();
    let began = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "after {:?}", began.elapsed());
    idle.assert_closed();
}

#[test]
fn an_interrupt_still_finishes_what_is_in_flight() {
    let mut server = Server::start(&[("DRAIN_DELAY", "15s")]);
    let mut busy = half_a_request(&server);
    server.signal(Signal::INT);
    server.wait_log("draining", |line| line["to"] == "DRAINING");
    busy.send(b"world");
    assert_eq!(busy.read_response().text(), "helloworld");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn the_deadline_cuts_off_what_is_left_and_says_so() {
    let mut server = Server::start(&[("DRAIN_DELAY", "100"), ("SHUTDOWN_TIMEOUT", "600")]);
    let mut busy = half_a_request(&server);
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 3);
    assert!(began.elapsed() > Duration::from_millis(500), "after {:?}", began.elapsed());
    let (rest, end) = busy.read_to_end(PATIENCE);
    assert!(end != End::Open && !rest.starts_with(b"HTTP/1.1 200"), "{end:?} {rest:?}");
    server.wait_log("stopping", |line| line["to"] == "STOPPING");
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::TERM, Signal::INT), (Signal::INT, Signal::INT)]
    {
        let mut server = Server::start(&[("DRAIN_DELAY", "15s"), ("SHUTDOWN_TIMEOUT", "15s")]);
        let busy = half_a_request(&server);
        server.signal(first);
        server.wait_log("draining", |line| line["to"] == "DRAINING");
        let began = Instant::now();
        server.signal(second);
        assert_eq!(server.exit_code(), 3, "{first:?} {second:?}");
        assert!(began.elapsed() < Duration::from_secs(8), "after {:?}", began.elapsed());
        drop(busy);
    }
}

#[test]
fn a_second_signal_with_nothing_in_flight_is_no_failure() {
    let mut server = Server::start(&[("DRAIN_DELAY", "15s")]);
    server.signal(Signal::TERM);
    server.wait_log("draining", |line| line["to"] == "DRAINING");
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "after {:?}", began.elapsed());
}

#[test]
fn a_reader_of_the_log_that_is_gone_does_not_take_the_server_with_it() {
    // The pipe's other end closes; writes to it fail, and requests are served all the same.
    let server = Server::start(&[]);
    server.close_log();
    for _ in 0..50 {
        assert_eq!(server.get("/badge/a/b.svg").status, 200);
    }
}

#[test]
fn a_reader_of_the_log_that_stalls_does_not_stall_requests() {
    let server = Server::start(&[]);
    server.stall_log(true);
    let mut conn = server.connect();
    // More than a pipe holds, and more than a queue should.
    let began = Instant::now();
    for _ in 0..4000 {
        conn.assert_serves();
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // Each line is there in the end, or counted as dropped.
    server.stall_log(false);
    assert_eventually(PATIENCE, "every line accounted for", || {
        let written = server.log().iter().filter(|line| line["path"] == "/badge/still/there.svg").count();
        written as f64 + server.metrics()["nessen_log_lines_dropped_total"] >= 4000.0
    });
}
