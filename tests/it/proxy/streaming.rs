//! What is not to be held back: events as they come, and polls that take their time.

use std::time::{Duration, Instant};

use super::{proxy, runtime, say};
use crate::support::client::{Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::upstream::{Digest, Upstream};

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
        assert_eq!(line, format!("{:x}", event.len()).as_bytes());
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
            let came = tokio::time::timeout(crate::support::PATIENCE, stream.data()).await;
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
        crate::support::assert_eventually(crate::support::PATIENCE, part, came);
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

#[test]
fn a_client_that_leaves_ends_the_request_at_the_upstream() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for fault in ["gate", "events"] {
        let mut client = Client::open(server.address);
        let begun = upstream.begun();
        client.send(&Request::get(fault, fault).bytes());
        upstream.wait_begun(begun + 1);
        if fault == "events" {
            client.head().expect("a head").assert_answers_to(fault);
        }
        assert!(server.requests_active() >= 1.0);
        drop(client);
        let gone = || server.requests_active() <= 0.0;
        crate::support::assert_eventually(crate::support::PATIENCE, "the request is over", gone);
    }
}
