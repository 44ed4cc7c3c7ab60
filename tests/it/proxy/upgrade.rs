//! Connections that leave HTTP: a WebSocket through the proxy, to its end.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ask, proxy, say, sum};
use crate::support::client::{Client, Request};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::websocket::Frame;
use crate::support::{Dice, PATIENCE, assert_eventually};

const TUNNELS: &str = "nessen_tunnels_active";

fn handshake(token: &str) -> Request {
    Request::get(token, "upgrade")
        .field("Connection", "keep-alive, Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A connection that has left HTTP.
#[track_caller]
fn open(server: &Server, token: &str) -> Client {
    let mut client = Client::open(server.address);
    let answer = client.ask(&handshake(token));
    answer.assert_answers(101, token);
    assert_eq!(answer.field("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert!(answer.all("connection").join(",").to_ascii_lowercase().contains("upgrade"), "{answer:?}");
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.all("content-length"), [""; 0], "{answer:?}");
    client
}

#[track_caller]
fn echo(client: &mut Client, frame: &Frame, mask: [u8; 4]) {
    client.send(&frame.bytes(Some(mask)));
    assert_eq!(Frame::read(client.wire()).as_ref(), Some(frame));
}

#[test]
fn a_thousand_messages_come_back() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = open(&server, "t");
    let seen = upstream.one("t");
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    let mut dice = Dice::new();
    let began = Instant::now();
    for number in 0..1000u64 {
        let length = match number % 100 {
            0 => 70_000,
            1 => 126,
            2 => 65_535,
            3 => 0,
            _ => dice.below(300),
        };
        let payload = (0..length).map(|at| (at ^ number) as u8).collect();
        echo(&mut client, &Frame::binary(payload), (dice.below(1 << 32) as u32).to_be_bytes());
    }
    say(&format!("1000 messages there and back in {:?}", began.elapsed()));
    echo(&mut client, &Frame::close(), [1, 2, 3, 4]);
    client.assert_ended();
    drop(client);
    assert_eventually(PATIENCE, "no tunnel left", || sum(&server, TUNNELS, &[]) <= 0.0);
}

/// An upstream that looks for the word alone agrees to what nobody asked for: a client's doing.
#[test]
fn a_protocol_of_a_clients_making_does_not_put_the_upstream_aside() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for number in 0..8 {
        let asked = Request::get(&number.to_string(), "upgrade").field("Connection", "Upgrade");
        ask(&server, &asked.field("Upgrade", "websocket/13")).assert_refusal(502, "UPSTREAM_INVALID");
    }
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
}

#[test]
fn messages_on_their_way_with_the_handshake_are_not_lost() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let frame = Frame::binary(b"early".to_vec());
    // Sent before the answer is there: a client that cannot wait.
    client.send(&[handshake("t").bytes(), frame.bytes(Some([9, 8, 7, 6]))].concat());
    let answer = client.answer();
    // Passed on, or refused: such a client is on its own. Never half of it.
    if answer.status == 101 {
        assert_eq!(Frame::read(client.wire()), Some(frame));
    }
}

#[test]
fn tunnels_are_counted_while_they_are_open() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    assert_eq!(sum(&server, TUNNELS, &[]), 0.0);
    let mut open: Vec<_> = (0..5).map(|number| open(&server, &number.to_string())).collect();
    assert_eventually(PATIENCE, "five tunnels", || sum(&server, TUNNELS, &[]) >= 5.0);
    assert_eq!(sum(&server, TUNNELS, &[]), 5.0);
    // However they end: in order, by a client that is gone, by a reset.
    echo(&mut open[0], &Frame::close(), [0; 4]);
    let socket = open[1].socket();
    socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    open.clear();
    assert_eventually(PATIENCE, "no tunnel", || sum(&server, TUNNELS, &[]) <= 0.0);
    upstream.wait_closed();
    // None of those connections is ever used for another request.
    ask(&server, &Request::get("next", "ok")).assert_answers(200, "next");
}

#[test]
fn an_end_on_one_side_is_told_to_the_other() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = open(&server, "t");
    echo(&mut client, &Frame::binary(b"one".to_vec()), [1; 4]);
    drop(client);
    upstream.wait_closed();
    let mut client = open(&server, "u");
    let _dead = upstream.stop();
    client.assert_ended();
}

#[test]
fn a_tunnel_that_is_silent_is_closed_in_time() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("NESSEN_UPSTREAM_TUNNEL_IDLE_TIMEOUT", "2s")]);
    let mut client = open(&server, "t");
    // A word now and then keeps it open.
    for _ in 0..5 {
        crate::support::pause(600);
        echo(&mut client, &Frame::binary(b"still here".to_vec()), [7; 4]);
    }
    let began = Instant::now();
    echo(&mut client, &Frame::binary(b"the last word".to_vec()), [7; 4]);
    client.assert_ended();
    let silent = began.elapsed();
    assert!(silent > Duration::from_millis(1900) && silent < Duration::from_secs(10), "{silent:?}");
    upstream.wait_closed();
}

#[test]
fn no_time_out_of_a_request_ends_a_tunnel() {
    let upstream = Upstream::start();
    let env = [
        ("REQUEST_TIMEOUT", "1500ms"),
        ("IDLE_TIMEOUT", "1500ms"),
        ("HEADERS_TIMEOUT", "1500ms"),
        ("BODY_TIMEOUT", "1500ms"),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", "1500ms"),
        ("NESSEN_UPSTREAM_KEEPALIVE_TIMEOUT", "1500ms"),
    ];
    let server = proxy(&upstream, &env);
    let mut client = open(&server, "t");
    client.assert_quiet_for(Duration::from_millis(3000));
    echo(&mut client, &Frame::binary(b"still here".to_vec()), [7; 4]);
}

#[test]
fn the_drain_closes_tunnels_and_is_in_order() {
    let upstream = Upstream::start();
    let mut server = proxy(&upstream, &[("DRAIN_DELAY", "300ms"), ("SHUTDOWN_TIMEOUT", "10s")]);
    let mut clients: Vec<_> = (0..3).map(|number| open(&server, &number.to_string())).collect();
    for client in &mut clients {
        echo(client, &Frame::binary(b"hello".to_vec()), [7; 4]);
    }
    server.signal(Signal::TERM);
    let began = Instant::now();
    for client in &mut clients {
        while Frame::read(client.wire()).is_some() {}
        client.assert_ended();
    }
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    upstream.wait_closed();
}

#[test]
fn a_tunnel_whose_upstream_ignores_the_drain_lives_to_its_deadline() {
    let upstream = Upstream::start();
    let mut server = proxy(&upstream, &[("DRAIN_DELAY", "200ms"), ("SHUTDOWN_TIMEOUT", "1s")]);
    let mut client = Client::open(server.address);
    let mut request = handshake("t");
    request.fields.retain(|(name, _)| name != "X-Fault");
    assert_eq!(client.ask(&request.field("X-Fault", "upgrade-deaf")).status, 101);
    assert!(Frame::read(client.wire()).is_some());
    let began = Instant::now();
    server.signal(Signal::TERM);
    let mut messages = 0;
    while Frame::read(client.wire()).is_some() {
        messages += 1;
    }
    let talked = began.elapsed();
    assert!(
        talked > Duration::from_millis(1000) && messages > 0,
        "cut off after {talked:?} and {messages} messages"
    );
    assert_eq!(server.exit_code(), 3, "cut off, and said not to be");
}

#[test]
fn a_refused_upgrade_is_passed_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    for (round, status) in [426, 403, 200, 401].into_iter().enumerate() {
        let token = round.to_string();
        let mut request = handshake(&token);
        request.fields.retain(|(name, _)| name != "X-Fault");
        let answer = client.ask(&request.field("X-Fault", &format!("status={status}")));
        answer.assert_answers(status, &token);
        assert!(!answer.says_close(), "{answer:?}");
    }
    // And the connection is still one of HTTP.
    client.ask(&Request::get("next", "ok")).assert_answers(200, "next");
    assert_eq!(sum(&server, TUNNELS, &[]), 0.0);
}

#[test]
fn an_upgrade_of_another_kind_than_asked_for_is_none() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut request = handshake("t");
    request.fields.retain(|(name, _)| name != "X-Fault");
    // RFC 9110 section 7.8: only to what was asked for.
    let answer = ask(&server, &request.field("X-Fault", "switch-unasked"));
    answer.assert_refusal(502, "UPSTREAM_INVALID");
    ask(&server, &Request::get("next", "ok")).assert_answers(200, "next");
}

#[test]
fn http_2_by_upgrade_is_not_passed_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let request = Request::get("t", "ok")
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABkAAQAAP__");
    ask(&server, &request).assert_answers(200, "t");
    let seen = upstream.one("t");
    // A known way around a proxy's rules: the upstream must not get to agree.
    assert_eq!(seen.all("upgrade"), [""; 0]);
    assert_eq!(seen.all("http2-settings"), [""; 0]);
}
