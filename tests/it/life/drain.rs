//! SIGTERM, step by step.

use std::time::Duration;

use rustix::process::Signal;

use super::half_a_request;
use crate::support::http1::{Conn, End, NoResponse, get};
use crate::support::http2::{H2, NO_ERROR, request};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

#[track_caller]
pub(super) fn wait_phase(server: &Server, phase: &str) {
    server.wait_log(phase, |line| line["message"] == "phase" && line["to"] == phase);
}

#[track_caller]
fn wait_listener_closed(server: &Server) {
    assert_eventually(PATIENCE, "the listener closed", || Conn::try_open(server.address).is_err());
}

#[test]
fn within_the_delay_everything_is_served_and_nothing_is_ready() {
    let mut server = Server::start(&[("DRAIN_DELAY", "2500")]);
    let mut old = server.connect();
    old.assert_serves();
    server.signal(Signal::TERM);
    wait_phase(&server, "DRAINING");
    let mut new = server.connect();
    for conn in [&mut old, &mut new] {
        conn.send(&get("/badge/a/b.svg"));
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.says_close()), (200, true));
        conn.assert_closed();
    }
    let health = server.get("/health");
    let ready = server.get("/ready");
    assert_eq!((health.status, ready.status), (200, 503));
    assert!(ready.text().contains("DRAINING"), "{}", ready.text());
    let metrics = server.metrics();
    assert_eq!((metrics["nessen_ready"], metrics["nessen_phase{phase=\"DRAINING\"}"]), (0.0, 1.0));
    assert_eq!(server.exit_code(), 0);
    wait_phase(&server, "STOPPING");
}

#[test]
fn draining_finishes_the_request_in_flight() {
    // One worker has another runtime than several.
    for workers in ["1", "2"] {
        let env = [("DRAIN_DELAY", "300"), ("SHUTDOWN_TIMEOUT", "20s"), ("NESSEN_SERVER_WORKERS", workers)];
        let mut server = Server::start(&env);
        let mut busy = half_a_request(&server);
        server.signal(Signal::TERM);
        wait_phase(&server, "DRAINING");
        wait_listener_closed(&server);
        assert!(server.wait_exit(Duration::ZERO).is_none(), "gone with a request in flight");
        busy.send(b"world");
        let answer = busy.read_response();
        assert_eq!((answer.status, answer.text().as_str(), answer.says_close()), (200, "helloworld", true));
        busy.assert_closed();
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn after_the_delay_new_requests_are_refused() {
    let mut server = Server::start(&[("DRAIN_DELAY", "300"), ("SHUTDOWN_TIMEOUT", "20s")]);
    let mut busy = half_a_request(&server);
    // Half a head is no request yet, and not idle either: it may be finished, and is then refused.
    // Each was served once, so that it was certainly accepted before the drain.
    let mut halves: Vec<Conn> = (0..25)
        .map(|_| {
            let mut half = server.connect();
            half.assert_serves();
            half.send(b"GET /badge/a/b.svg HTTP/1.1\r\nHost: nes");
            half
        })
        .collect();
    server.signal(Signal::TERM);
    wait_listener_closed(&server);
    // What was on its way when the gate closed may still be served; soon nothing is.
    assert_eventually(PATIENCE, "a refusal", || {
        pause(200);
        let mut half = halves.pop().expect("a refusal comes before all are served");
        let _ = half.try_send(b"sen.test\r\n\r\n");
        match half.try_read_response(PATIENCE) {
            Ok(answer) if answer.status == 200 => {
                assert!(answer.says_close(), "{answer:?}");
                false
            }
            Ok(answer) => {
                assert_problem(&answer, 503, "SERVER_SHUTTING_DOWN");
                half.assert_closed();
                true
            }
            Err(NoResponse::Ended(End::Fin | End::Reset, rest)) if rest.is_empty() => true,
            Err(none) => panic!("{none:?}"),
        }
    });
    busy.send(b"world");
    assert_eq!(busy.read_response().status, 200);
    drop(halves);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_idle_connection_is_closed_in_the_drain() {
    let mut server =
        Server::start(&[("DRAIN_DELAY", "300"), ("IDLE_TIMEOUT", "60s"), ("SHUTDOWN_TIMEOUT", "20s")]);
    let _busy = half_a_request(&server);
    let mut idle = server.connect();
    idle.assert_serves();
    let mut silent = server.connect();
    server.signal(Signal::TERM);
    idle.assert_closed();
    silent.assert_closed();
    assert!(server.wait_exit(Duration::ZERO).is_none(), "gone with a request in flight");
}

#[test]
fn a_request_that_arrives_within_the_delay_on_an_idle_connection_is_served() {
    let mut server = Server::start(&[("DRAIN_DELAY", "1500")]);
    let mut conns: Vec<Conn> = (0..20).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.assert_serves();
    }
    server.signal(Signal::TERM);
    // None may be closed under a client that was told nothing.
    for conn in &mut conns {
        conn.send(&get("/badge/a/b.svg"));
        let answer = conn.read_response();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn http2_is_told_to_go_away_within_the_delay() {
    let mut server = Server::start(&[("DRAIN_DELAY", "3s"), ("SHUTDOWN_TIMEOUT", "20s")]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    h2.send(&request(3, "POST", "/echo", &[], false));
    server.signal(Signal::TERM);
    h2.pump_until("GOAWAY", |h2| !h2.goaways.is_empty());
    assert_ne!(server.get("/health").status, 0, "the listener closed before the GOAWAY");
    // What was open is finished, whatever the GOAWAY's round trip has brought.
    h2.upload(3, 10);
    let answer = h2.answer(3);
    assert_eq!((answer.status, answer.body.len()), (Some(200), 10));
    h2.pump_to_end();
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
    assert!(h2.goaways.iter().all(|(last, _)| *last >= 3), "{}", h2.state());
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn http2_goaways_are_spread_over_the_delay() {
    let mut server = Server::start(&[("DRAIN_DELAY", "4s")]);
    let mut conns: Vec<H2> = (0..12).map(|_| H2::open(server.address)).collect();
    for h2 in &mut conns {
        h2.assert_serves(1);
    }
    let began = std::time::Instant::now();
    server.signal(Signal::TERM);
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let waits: Vec<_> = conns
            .iter_mut()
            .map(|h2| {
                scope.spawn(move || {
                    h2.pump_until("GOAWAY", |h2| !h2.goaways.is_empty());
                    began.elapsed()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*last - *first > Duration::from_millis(500), "all at once: {times:?}");
    assert!(*last < Duration::from_secs(8), "too late: {times:?}");
    drop(conns);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_new_http2_connection_within_the_delay_is_served_once_and_goes_away() {
    let mut server = Server::start(&[("DRAIN_DELAY", "2s")]);
    server.signal(Signal::TERM);
    wait_phase(&server, "DRAINING");
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    h2.pump_to_end();
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR) && !h2.goaways.is_empty(), "{}", h2.state());
    assert_eq!(server.exit_code(), 0);
}
