//! How long: prefaces, heads, bodies, requests, idleness.

use std::time::{Duration, Instant};

use super::{assert_refusal, data};
use crate::support::http1::End;
use crate::support::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, H2, HEADERS, NO_ERROR, PREFACE, field, frame, request,
    request_fields,
};
use crate::support::server::Server;
use crate::support::{PATIENCE, pause};

#[test]
fn half_a_preface_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "400")]);
    for half in [&PREFACE[..3], &PREFACE[..10], &PREFACE[..PREFACE.len() - 1]] {
        let mut conn = server.connect();
        conn.send(half);
        let (_, end) = conn.read_to_end(PATIENCE);
        assert_ne!(end, End::Open, "{half:?}");
    }
    server.assert_refused("headers_timeout", 3);
}

#[test]
fn a_preface_without_settings_is_cut_off() {
    let server =
        Server::start(&[("HEADERS_TIMEOUT", "400"), ("IDLE_TIMEOUT", "600"), ("LOG_LEVEL", "debug")]);
    let mut h2 = H2::raw(server.connect());
    h2.polite = false;
    h2.send(PREFACE);
    h2.pump_to_end();
    let counted = server.rejections("idle") + server.rejections("headers_timeout");
    assert_eq!(counted, 1.0, "{:?}", server.metrics());
}

#[test]
fn a_head_that_stops_before_its_end_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "1500")]);
    let began = Instant::now();
    let mut h2 = H2::open(server.address);
    h2.send(&frame(HEADERS, END_STREAM, 1, &request_fields("GET", "/badge/a/b.svg", &[])));
    h2.pump_to_end();
    assert!(began.elapsed() > Duration::from_millis(1200), "after {:?}", began.elapsed());
    server.assert_refused_once("headers_timeout");
}

#[test]
fn a_head_that_drips_by_continuations_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "1500")]);
    let mut h2 = H2::open(server.address);
    h2.send(&frame(HEADERS, END_STREAM, 1, &request_fields("GET", "/badge/a/b.svg", &[])));
    let deadline = Instant::now() + PATIENCE;
    while h2.end.is_none() && h2.try_send(&frame(CONTINUATION, 0, 1, &field("x-a", "a"))) {
        assert!(Instant::now() < deadline, "the drip was endured");
        // Few enough not to be a flood of continuations before the time is over.
        h2.pump_for(Duration::from_millis(600));
    }
    h2.pump_to_end();
    server.assert_refused_once("headers_timeout");
}

#[test]
fn half_a_frame_head_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "1500")]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    h2.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &request_fields("GET", "/", &[]))[..12]);
    h2.pump_to_end();
    server.assert_refused_once("headers_timeout");
}

#[test]
fn a_body_that_stops_is_answered_and_its_neighbours_live_on() {
    let server = Server::start(&[("BODY_TIMEOUT", "500")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.send(&data(1, b"hello", false));
    h2.assert_serves(3);
    assert_refusal(&h2.answer(1), 408, "BODY_TIMEOUT");
    h2.assert_serves(5);
    server.assert_refused_once("body_timeout");
}

#[test]
fn a_body_that_drips_is_answered_and_its_neighbours_live_on() {
    let server = Server::start(&[("NESSEN_LIMITS_MIN_BODY_RATE", "1000 B/s after 500ms")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    let deadline = Instant::now() + PATIENCE;
    while h2.answers.is_empty() {
        assert!(Instant::now() < deadline, "the drip was endured");
        h2.send(&data(1, b"a", false));
        h2.pump_for(Duration::from_millis(40));
    }
    assert_refusal(&h2.answer(1), 408, "BODY_TOO_SLOW");
    h2.assert_serves(3);
    server.assert_refused_once("body_too_slow");
}

#[test]
fn a_request_that_takes_too_long_is_given_up_and_its_neighbours_live_on() {
    let server = Server::start(&[("REQUEST_TIMEOUT", "600"), ("BODY_TIMEOUT", "60s")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    assert_refusal(&h2.answer(1), 504, "REQUEST_TIMEOUT");
    h2.assert_serves(3);
    server.assert_refused_once("request_timeout");
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::start(&[("IDLE_TIMEOUT", "1500"), ("LOG_LEVEL", "debug")]);
    let mut h2 = H2::open(server.address);
    let began = Instant::now();
    h2.assert_serves(1);
    h2.pump_to_end();
    assert!(began.elapsed() > Duration::from_millis(1200), "after {:?}", began.elapsed());
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
    server.assert_refused_once("idle");
}

#[test]
fn pings_do_not_keep_an_idle_connection_open_for_ever() {
    let server = Server::start(&[("IDLE_TIMEOUT", "1500"), ("LOG_LEVEL", "debug")]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    let deadline = Instant::now() + PATIENCE;
    while h2.end.is_none() {
        assert!(Instant::now() < deadline, "kept open by {} pings", h2.pongs);
        h2.try_send(&frame(crate::support::http2::PING, 0, 0, b"awake???"));
        h2.pump_for(Duration::from_millis(150));
    }
    server.assert_refused_once("idle");
}

#[test]
fn a_connection_that_never_asks_has_the_time_of_a_head() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "1500"), ("LOG_LEVEL", "debug")]);
    let mut h2 = H2::open(server.address);
    let deadline = Instant::now() + PATIENCE;
    while h2.end.is_none() {
        assert!(Instant::now() < deadline, "kept open by {} pings", h2.pongs);
        h2.try_send(&frame(crate::support::http2::PING, 0, 0, b"awake???"));
        h2.pump_for(Duration::from_millis(100));
    }
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
    server.assert_refused_once("idle");
    // Who has asked once may be idle for longer.
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    h2.pump_for(Duration::from_millis(1800));
    h2.assert_serves(3);
}

#[test]
fn a_connection_with_a_stream_open_is_not_idle() {
    let server = Server::start(&[("IDLE_TIMEOUT", "1500"), ("NESSEN_LIMITS_MIN_BODY_RATE", "off")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    for byte in [b"a", b"b", b"c"] {
        pause(1800);
        h2.send(&data(1, byte, false));
    }
    h2.send(&data(1, b"", true));
    assert_eq!(h2.answer(1).body, b"abc");
}
