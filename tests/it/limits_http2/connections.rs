//! How many requests on a connection, for how long, and how many connections.

use std::time::{Duration, Instant};

use super::assert_refusal;
use crate::support::http1::End;
use crate::support::http2::{
    ACK, H2, NO_ERROR, PING, PREFACE, PROTOCOL_ERROR, SETTINGS, frame, get, request, settings,
};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

#[test]
fn any_frame_in_place_of_settings_ends_the_connection() {
    let server = Server::start(&[]);
    for first in [frame(PING, 0, 0, b"no hello"), frame(SETTINGS, ACK, 0, b""), get(1, "/")] {
        let mut h2 = H2::raw(server.connect());
        h2.send(&[PREFACE, &first].concat());
        h2.pump_to_end();
        assert!(h2.goaways.iter().any(|(_, code)| *code == PROTOCOL_ERROR), "{}", h2.state());
    }
    server.assert_refused("malformed_request", 3);
}

#[test]
fn a_connection_goes_away_after_so_many_requests() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION", "3")]);
    let mut h2 = H2::open(server.address);
    for stream in [1, 3, 5] {
        h2.assert_serves(stream);
    }
    h2.pump_to_end();
    assert!(h2.goaways.last().is_some_and(|(last, code)| *last >= 5 && *code == NO_ERROR), "{}", h2.state());
}

#[test]
fn a_connection_that_goes_away_finishes_what_is_open() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION", "3")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.assert_serves(3);
    h2.assert_serves(5);
    h2.pump_until("GOAWAY", |h2| !h2.goaways.is_empty());
    h2.send(&super::data(1, b"hello", true));
    assert_eq!(h2.answer(1).body, b"hello");
    h2.pump_to_end();
    assert!(h2.goaways.iter().all(|(last, code)| *last >= 5 && *code == NO_ERROR), "{}", h2.state());
}

#[test]
fn a_connection_in_use_goes_away_at_its_age() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_CONNECTION_AGE", "1s")]);
    let began = Instant::now();
    let mut h2 = H2::open(server.address);
    let mut stream = 1;
    while h2.goaways.is_empty() {
        assert!(began.elapsed() < PATIENCE, "still open after {:?}", began.elapsed());
        h2.assert_serves(stream);
        stream += 2;
        pause(20);
    }
    assert!(began.elapsed() > Duration::from_millis(800), "after {:?}", began.elapsed());
    h2.pump_to_end();
    assert!(h2.goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", h2.state());
}

#[test]
fn a_full_house_answers_probes_and_nothing_else() {
    let server = Server::start(&[("MAX_CONNECTIONS", "2"), ("MAX_CONNECTIONS_PER_IP", "0")]);
    let mut held = [H2::open(server.address), H2::open(server.address)];
    for h2 in &mut held {
        h2.send(&request(1, "POST", "/echo", &[], false));
    }
    assert_eventually(PATIENCE, "requests under way", || server.requests_active() >= 2.0);
    let mut third = H2::open(server.address);
    third.send(&get(1, "/ready"));
    assert_eq!(third.answer(1).status, Some(200));
    let mut fourth = H2::open(server.address);
    fourth.send(&get(1, "/badge/a/b.svg"));
    assert_refusal(&fourth.answer(1), 503, "TOO_MANY_CONNECTIONS");
    for h2 in &mut held {
        h2.assert_serves(3);
    }
}

#[test]
fn one_client_may_hold_only_so_many_connections() {
    let server = Server::start(&[("MAX_CONNECTIONS_PER_IP", "2")]);
    let mut held = [H2::open(server.address), H2::open(server.address)];
    // It is refused before it has said what it speaks: the answer may be one of HTTP/1.
    let mut third = server.connect();
    let _ = third.try_send(&[PREFACE, &settings(&[]), &get(1, "/badge/a/b.svg")].concat());
    let (answer, end) = third.read_to_end(PATIENCE);
    assert_ne!(end, End::Open);
    assert!(String::from_utf8_lossy(&answer).contains("TOO_MANY_CONNECTIONS_FROM_CLIENT"), "{answer:?}");
    for h2 in &mut held {
        h2.assert_serves(1);
    }
}
