//! SIGTERM, and clients of HTTP/2 that do not do what is expected of them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::drain::wait_phase;
use super::half_a_request;
use crate::support::http1::{Conn, End};
use crate::support::http2::{H2, NO_ERROR, PREFACE, get, request, settings};
use crate::support::pause;
use crate::support::server::Server;

/// Asks every 100 ms on, whatever the server says, until the process has ended; how long it took.
#[track_caller]
fn assert_drains_beside(server: &mut Server, h2: &mut H2, first: u32) {
    let began = Instant::now();
    let mut stream = first;
    let code = loop {
        if h2.end.is_none() {
            h2.try_send(&get(stream, "/badge/a/b.svg"));
            stream += 2;
            h2.pump_for(Duration::from_millis(50));
        }
        if let Some(code) = server.wait_exit(Duration::from_millis(50)) {
            break code;
        }
        assert!(began.elapsed() < Duration::from_secs(18), "the drain does not end; {}", h2.state());
    };
    assert_eq!(code, Ok(0), "after {:?}; {}", began.elapsed(), h2.state());
    assert!(began.elapsed() < Duration::from_secs(8), "only after {:?}; {}", began.elapsed(), h2.state());
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
}

#[test]
fn a_client_that_never_answers_the_ping_does_not_hold_the_drain() {
    let mut server = Server::start(&[("DRAIN_DELAY", "500"), ("SHUTDOWN_TIMEOUT", "15s")]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    h2.polite = false;
    server.signal(Signal::TERM);
    assert_drains_beside(&mut server, &mut h2, 3);
}

/// The time that it had for its first byte comes to an end while it is at work.
#[test]
fn a_client_that_was_slow_to_begin_hears_of_the_drain() {
    let mut server =
        Server::start(&[("HEADERS_TIMEOUT", "2s"), ("DRAIN_DELAY", "0"), ("SHUTDOWN_TIMEOUT", "15s")]);
    let conn = Conn::open(server.address);
    pause(100);
    let mut h2 = H2::raw(conn);
    h2.send(&[PREFACE, &settings(&[])].concat());
    h2.assert_serves(1);
    pause(2500);
    server.signal(Signal::TERM);
    let began = Instant::now();
    h2.pump_to_end();
    assert!(!h2.goaways.is_empty(), "{}", h2.state());
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "only after {:?}", began.elapsed());
}

#[test]
fn a_client_that_comes_in_the_drain_and_never_answers_the_ping_does_not_hold_it() {
    let mut server = Server::start(&[("DRAIN_DELAY", "2s"), ("SHUTDOWN_TIMEOUT", "15s")]);
    server.signal(Signal::TERM);
    wait_phase(&server, "DRAINING");
    let mut h2 = H2::open(server.address);
    h2.polite = false;
    assert_drains_beside(&mut server, &mut h2, 1);
}

#[test]
fn a_client_that_answers_the_ping_and_asks_on_does_not_hold_the_drain() {
    let mut server = Server::start(&[("DRAIN_DELAY", "500"), ("SHUTDOWN_TIMEOUT", "15s")]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    server.signal(Signal::TERM);
    assert_drains_beside(&mut server, &mut h2, 3);
}

#[test]
fn streams_opened_at_once_within_the_delay_are_all_served() {
    let mut server = Server::start(&[("DRAIN_DELAY", "4s"), ("SHUTDOWN_TIMEOUT", "15s")]);
    server.signal(Signal::TERM);
    wait_phase(&server, "DRAINING");
    let streams: Vec<u32> = (0..8).map(|number| number * 2 + 1).collect();
    let asked: Vec<u8> = streams.iter().flat_map(|stream| get(*stream, "/badge/a/b.svg")).collect();
    for round in 0..20 {
        // With the first bytes of the connection, or when hands have been shaken.
        let mut h2 = if round % 2 == 0 {
            let mut h2 = H2::raw(Conn::open(server.address));
            h2.send(&[PREFACE, &settings(&[(1, 0), (2, 0)]), &asked].concat());
            h2
        } else {
            let mut h2 = H2::open(server.address);
            h2.send(&asked);
            h2
        };
        for stream in &streams {
            let answer = h2.answer(*stream);
            assert_eq!((answer.status, answer.reset), (Some(200), None), "round {round}; {}", h2.state());
        }
        h2.pump_to_end();
        assert!(!h2.goaways.is_empty(), "{}", h2.state());
        assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
    }
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn uploads_opened_at_once_within_the_delay_are_all_served() {
    let mut server = Server::start(&[("DRAIN_DELAY", "4s"), ("SHUTDOWN_TIMEOUT", "15s")]);
    server.signal(Signal::TERM);
    wait_phase(&server, "DRAINING");
    let mut h2 = H2::open(server.address);
    let streams: Vec<u32> = (0..5).map(|number| number * 2 + 1).collect();
    let heads: Vec<u8> =
        streams.iter().flat_map(|stream| request(*stream, "POST", "/echo", &[], false)).collect();
    h2.send(&heads);
    for stream in &streams {
        h2.upload(*stream, 1000);
    }
    for stream in &streams {
        let answer = h2.answer(*stream);
        assert_eq!((answer.status, answer.body.len()), (Some(200), 1000), "{}", h2.state());
    }
    h2.pump_to_end();
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn streams_opened_at_once_as_the_delay_ends_are_all_served() {
    for delay in [50, 150, 300] {
        let mut server = Server::start(&[
            ("DRAIN_DELAY", &delay.to_string()),
            ("SHUTDOWN_TIMEOUT", "20s"),
            ("MAX_CONNECTIONS_PER_IP", "0"),
        ]);
        let mut busy = half_a_request(&server);
        let asked: Vec<u8> = (0..8).flat_map(|number| get(number * 2 + 1, "/badge/a/b.svg")).collect();
        let first = [PREFACE, &settings(&[(1, 0), (2, 0)]), &asked].concat();
        let began = Instant::now();
        server.signal(Signal::TERM);
        wait_phase(&server, "DRAINING");
        // One connection after the other, until there is no listener: the last were accepted as
        // the gate closed. Few before, so that a slow machine has them served by then.
        let mut conns = Vec::new();
        loop {
            let opened = Instant::now();
            let Ok(mut conn) = Conn::try_open(server.address) else { break };
            let _ = conn.try_send(&first);
            // Who stood still before the first word may be closed without one.
            if opened.elapsed() < Duration::from_millis(300) {
                conns.push(H2::raw(conn));
            }
            let ends = began.elapsed() + Duration::from_millis(40) > Duration::from_millis(delay);
            pause(if ends && conns.len() < 60 { 2 } else { 20 });
        }
        let all = conns.len();
        for (number, mut h2) in conns.into_iter().enumerate() {
            h2.pump_to_end();
            // One that the system itself turned away was not accepted at all.
            if h2.settings.is_empty() && h2.end == Some(End::Reset) {
                continue;
            }
            let served = h2.answers.values().filter(|answer| answer.status == Some(200) && answer.ended);
            assert_eq!(served.count(), 8, "connection {number} of {all}, delay {delay}; {}", h2.state());
        }
        busy.send(b"world");
        assert_eq!(busy.read_response().status, 200);
        assert_eq!(server.exit_code(), 0);
    }
}
