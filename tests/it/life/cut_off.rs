//! What is cut off leaves its trace.

use rustix::process::Signal;

use super::half_a_request;
use crate::support::http2::{H2, request};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// The access lines of requests for `/echo`.
fn lines(server: &Server) -> Vec<serde_json::Value> {
    server.log().into_iter().filter(|line| line["message"] == "request" && line["path"] == "/echo").collect()
}

#[track_caller]
fn assert_one_line(server: &Server, protocol: &str, what: &str) {
    let lines = lines(server);
    assert_eq!(lines.len(), 1, "{what}: {lines:#?}\nof {:#?}", server.log());
    assert_eq!(lines[0]["method"], "POST", "{what}: {lines:?}");
    assert_eq!(lines[0]["protocol"], protocol, "{what}: {lines:?}");
    assert_ne!(lines[0]["status"], 200, "{what}: {lines:?}");
    assert!(lines[0]["request_id"].is_string(), "{what}: {lines:?}");
}

/// With one worker and with two, by turns: they have runtimes of their own.
fn start(delay: &str, timeout: &str, run: usize) -> Server {
    let workers = if run.is_multiple_of(2) { "2" } else { "1" };
    Server::start(&[
        ("DRAIN_DELAY", delay),
        ("SHUTDOWN_TIMEOUT", timeout),
        ("NESSEN_SERVER_WORKERS", workers),
    ])
}

#[test]
fn a_request_cut_off_at_the_deadline_has_its_line_in_the_log() {
    for run in 1..=10 {
        let mut server = start("50", "200", run);
        let busy = half_a_request(&server);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 3, "run {run}");
        assert_one_line(&server, "http/1.1", &format!("run {run}"));
        drop(busy);
    }
}

#[test]
fn a_stream_cut_off_at_the_deadline_has_its_line_in_the_log() {
    for run in 1..=5 {
        let mut server = start("50", "200", run);
        let mut h2 = H2::open(server.address);
        h2.send(&request(1, "POST", "/echo", &[], false));
        assert_eventually(PATIENCE, "a request in flight", || server.requests_active() >= 1.0);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 3, "run {run}");
        assert_one_line(&server, "http/2", &format!("run {run}"));
    }
}

#[test]
fn a_request_cut_off_by_a_second_signal_has_its_line_in_the_log() {
    for run in 1..=5 {
        let mut server = start("15s", "15s", run);
        let busy = half_a_request(&server);
        server.signal(Signal::TERM);
        server.wait_log("draining", |line| line["to"] == "DRAINING");
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 3, "run {run}");
        assert_one_line(&server, "http/1.1", &format!("run {run}"));
        drop(busy);
    }
}

#[test]
fn many_requests_cut_off_at_once_have_their_lines() {
    let mut server = Server::start(&[("DRAIN_DELAY", "50"), ("SHUTDOWN_TIMEOUT", "500")]);
    let busy: Vec<_> = (0..50).map(|_| half_a_request(&server)).collect();
    assert_eventually(PATIENCE, "all in flight", || server.requests_active() >= 50.0);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 3);
    assert_eq!(lines(&server).len(), busy.len());
}
