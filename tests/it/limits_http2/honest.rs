//! Use that is lively and honest must not be taken for a flood.

use std::time::Duration;

use super::data;
use crate::support::http2::{
    CANCEL, H2, PING, PRIORITY, frame, get, request, reset, settings, window_update,
};
use crate::support::server::Server;
use crate::support::upstream::Upstream;

#[test]
fn some_cancelled_requests_among_many_are_endured() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    for number in 0..500 {
        let stream = number * 2 + 1;
        if number % 10 == 0 {
            // A search box: the answer to the last letter is no longer wanted.
            h2.send(&[request(stream, "POST", "/echo", &[], false), reset(stream, CANCEL)].concat());
        } else {
            h2.assert_serves(stream);
        }
    }
    assert!(h2.goaways.is_empty(), "{}", h2.state());
    h2.assert_serves(1001);
}

/// As many requests that are cancelled as are let finish; whether the connection lived.
fn survives_leavers(trusted: &str) -> bool {
    let upstream = Upstream::start();
    let server = Server::start(&[("TRUSTED_PROXIES", trusted), ("UPSTREAM", &upstream.url())]);
    let mut h2 = H2::open(server.address);
    for number in 0..150 {
        let stream = number * 4 + 1;
        let ask = |stream, fault| request(stream, "GET", "/", &[("x-token", "t"), ("x-fault", fault)], true);
        if !h2.try_send(&[ask(stream, "stall-head"), ask(stream + 2, "ok")].concat()) {
            return false;
        }
        h2.pump_until("an answer, or the end", |h2| {
            !h2.goaways.is_empty() || h2.answers.get(&(stream + 2)).is_some_and(|answer| answer.done())
        });
        if !h2.goaways.is_empty() {
            return false;
        }
        // Behind the other's answer, it is being served.
        h2.try_send(&reset(stream, CANCEL));
    }
    true
}

#[test]
fn a_proxy_may_bring_clients_who_leave_early() {
    assert!(survives_leavers("127.0.0.1"));
    assert!(!survives_leavers("none"), "others are held to a number");
}

#[test]
fn a_ping_now_and_then_is_answered() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    for count in 1..=20 {
        h2.send(&frame(PING, 0, 0, b"thereyet"));
        h2.pump_until("a pong", |h2| h2.pongs == count);
        h2.pump_for(Duration::from_millis(50));
    }
    h2.assert_serves(3);
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn a_ping_with_every_request_is_endured() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    for number in 0..500 {
        h2.send(&frame(PING, 0, 0, b"bandwith"));
        h2.assert_serves(number * 2 + 1);
    }
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn an_upload_in_small_frames_is_taken() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    for _ in 0..600 {
        h2.send(&data(1, &[b'a'; 100], false));
    }
    h2.send(&data(1, b"", true));
    let answer = h2.answer(1);
    assert_eq!((answer.status, answer.body.len()), (Some(200), 60_000));
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn a_download_with_many_window_updates_is_served() {
    let server = Server::start(&[]);
    let mut h2 = H2::open_with(server.address, &[(4, 100)]);
    h2.send(&request(1, "POST", "/echo", &[], false));
    for _ in 0..5 {
        h2.send(&data(1, &[b'a'; 10_000], false));
    }
    h2.send(&data(1, b"", true));
    // A hundred bytes at a time, each given back at once: five hundred updates.
    let answer = h2.answer(1);
    assert_eq!((answer.status, answer.body.len()), (Some(200), 50_000));
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn a_browser_that_greets_at_length_is_served() {
    let server = Server::start(&[]);
    let mut h2 = H2::open_with(server.address, &[(3, 100), (4, 6 << 20), (6, 256 << 10)]);
    h2.send(&window_update(0, 15 << 20));
    // Some browsers used to build a tree of priorities before they asked for anything.
    for stream in [3, 5, 7, 9, 11, 13] {
        h2.send(&frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 200]));
    }
    for change in 0..5 {
        h2.send(&settings(&[(4, (1 << 20) + change)]));
    }
    for stream in (15..215).step_by(2) {
        h2.send(&get(stream, "/badge/a/b.svg"));
    }
    for stream in (15..215).step_by(2) {
        assert_eq!(h2.answer(stream).status, Some(200), "{}", h2.state());
    }
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn a_thousand_requests_are_served_on_one_connection() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    for round in 0..20u32 {
        let streams: Vec<u32> = (0..50).map(|number| (round * 50 + number) * 2 + 1).collect();
        let asked: Vec<u8> = streams.iter().flat_map(|stream| get(*stream, "/badge/a/b.svg")).collect();
        h2.send(&asked);
        for stream in streams {
            assert_eq!(h2.answer(stream).status, Some(200), "{}", h2.state());
        }
    }
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}

#[test]
fn windows_given_back_all_at_once_are_no_abuse() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.polite = false;
    h2.send(&request(1, "POST", "/echo", &[], false));
    for _ in 0..600 {
        h2.send(&data(1, &[b'a'; 100], false));
    }
    h2.send(&data(1, b"", true));
    assert_eq!(h2.answer(1).body.len(), 60_000);
    let updates = [window_update(0, 100), window_update(1, 100)].concat();
    h2.send(&updates.repeat(600));
    h2.polite = true;
    h2.assert_serves(3);
    assert!(h2.goaways.is_empty(), "{}", h2.state());
}
