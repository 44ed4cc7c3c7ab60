//! What is not to be held back: events as they come, and polls that take their time.

use std::time::{Duration, Instant};

use super::{proxy, runtime, say};
use crate::support::client::{Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::server::Server;
use crate::support::upstream::{Digest, Upstream};
use crate::support::{PATIENCE, assert_eventually};

/// What an event may take on a machine that is not busy.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Fails where more than one in ten came late: a machine that is busy may lose a moment, a buffer
/// holds back all of them.
#[track_caller]
fn assert_prompt(what: &str, delays: &mut [Duration]) {
    delays.sort();
    say(&format!("{what}: median {:?}, longest {:?}", delays[delays.len() / 2], delays[delays.len() - 1]));
    let late = delays.iter().filter(|delay| **delay > AT_ONCE).count();
    assert!(late * 10 <= delays.len(), "{what}: {delays:?}");
}

#[test]
fn events_arrive_one_by_one() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    client.send(&Request::get("t", "events").field("Accept", "text/event-stream").bytes());
    // The head alone, before there is any event.
    client.head().expect("a head").assert_answers_to("t");
    let mut delays = Vec::new();
    for number in 0..30 {
        let event = format!("data: {number}\n\n");
        let began = Instant::now();
        upstream.push(event.as_bytes());
        // A chunk of its own, whole, before the next one is sent.
        let line = client.wire().line().expect("a chunk");
        assert!(line.eq_ignore_ascii_case(format!("{:x}", event.len()).as_bytes()), "{line:?}");
        let chunk = client.wire().bytes(event.len() as u64 + 2).expect("an event");
        delays.push(began.elapsed());
        assert_eq!(chunk, format!("{event}\r\n").as_bytes());
    }
    upstream.push_end();
    assert_eq!(client.wire().line().expect("an end"), b"0");
    assert_prompt("events over HTTP/1.1", &mut delays);
}

#[test]
fn events_arrive_one_by_one_over_http_2() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut delays = runtime().block_on(async {
        let client = Client2::open(server.address).await;
        let waiting = client.begin(&Request::get("t", "events")).await.unwrap();
        let mut stream = waiting.await.expect("a head before any event").into_body();
        let mut delays = Vec::new();
        for number in 0..30 {
            let event = format!("data: {number}\n\n");
            let began = Instant::now();
            upstream.push(event.as_bytes());
            let came = tokio::time::timeout(PATIENCE, stream.data()).await;
            delays.push(began.elapsed());
            assert_eq!(came.expect("an event").unwrap().unwrap(), event.as_bytes());
        }
        upstream.push_end();
        delays
    });
    assert_prompt("events over HTTP/2", &mut delays);
}

#[test]
fn an_upload_arrives_as_it_is_sent() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let request = Request::post("t", "ok", b"").body(Body::Parts(Vec::new(), Vec::new()));
    client.send(&request.head_bytes());
    // The head goes on before there is a body, and each part before the next.
    upstream.wait_begun(1);
    for part in ["one ", "two ", "three"] {
        let before = upstream.read();
        client.send(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
        let came = || upstream.read() >= before + part.len() as u64;
        assert_eventually(PATIENCE, part, came);
    }
    client.send(b"0\r\n\r\n");
    client.answer().assert_answers(200, "t");
    assert_eq!(upstream.one("t").body, Digest::of(b"one two three"));
}

#[test]
fn a_long_poll_is_waited_for() {
    let upstream = Upstream::start();
    // No time-out but that of the request, which is far away.
    let env = [("IDLE_TIMEOUT", "300ms"), ("HEADERS_TIMEOUT", "300ms"), ("BODY_TIMEOUT", "300ms")];
    let server = proxy(&upstream, &env);
    let mut client = Client::open(server.address);
    client.send(&Request::get("t", "gate").bytes());
    upstream.wait_begun(1);
    client.assert_quiet_for(Duration::from_millis(1200));
    upstream.open_gate();
    client.answer().assert_answers(200, "t");
}

/// Waits until the server has noticed that nobody wants the answer any more.
#[track_caller]
fn assert_given_up(server: &Server, what: &str) {
    assert_eventually(PATIENCE, what, || server.requests_active() <= 0.0);
}

/// A client goes: in order, which may mean its sending side alone, or by a reset.
fn leave(client: Client, reset: bool) {
    if reset {
        let socket = client.socket();
        socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_client_that_has_left_is_missed_at_the_next_event() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for reset in [false, true] {
        let mut client = Client::open(server.address);
        client.send(&Request::get("t", "events").bytes());
        client.head().expect("a head").assert_answers_to("t");
        leave(client, reset);
        assert_eventually(PATIENCE, "nobody reads any more", || {
            upstream.push(b"data: is anybody there?\n\n");
            server.requests_active() <= 0.0
        });
    }
}

#[test]
fn a_client_that_has_left_holds_nothing_once_its_answer_is_there() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for (number, reset) in [false, true].into_iter().enumerate() {
        let mut client = Client::open(server.address);
        client.send(&Request::get("t", "gate").bytes());
        upstream.wait_begun(number + 1);
        leave(client, reset);
    }
    upstream.open_gate();
    assert_given_up(&server, "answers that nobody wants");
}

#[test]
fn a_stream_that_is_cancelled_ends_the_request_at_the_upstream() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    runtime().block_on(async {
        let client = Client2::open(server.address).await;
        for (number, fault) in ["gate", "events"].into_iter().enumerate() {
            let waiting = client.begin(&Request::get(fault, fault)).await.unwrap();
            upstream.wait_begun(number + 1);
            // Whoever drops it cancels it.
            if fault == "events" {
                drop(waiting.await.expect("a head"));
            } else {
                drop(waiting);
            }
            tokio::task::block_in_place(|| assert_given_up(&server, fault));
        }
    });
}
