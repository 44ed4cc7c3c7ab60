//! `Expect: 100-continue`, and answers before the body has been asked for (RFC 9110 section 10.1.1).

use std::time::{Duration, Instant};

use super::{ask, proxy};
use crate::support::client::{Body, Client, Request};
use crate::support::http1::End;
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::Broken;
use crate::support::{PATIENCE, assert_eventually};

/// How long the server waits for an upstream's leave before it gives its own.
const PATIENCE_FOR_CONTINUE: Duration = Duration::from_secs(1);

const BODY: &[u8] = b"the body that was waited with";

fn expecting(token: &str, fault: &str) -> Request {
    Request::post(token, fault, BODY).field("Expect", "100-continue")
}

#[test]
fn the_upstreams_continue_is_passed_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let request = expecting("t", "late-continue");
    let sent = Instant::now();
    client.send(&request.head_bytes());
    // The head arrives there, with its expectation, before there is a body.
    upstream.wait_begun(1);
    client.wire().wait(Duration::from_millis(200));
    let early = client.wire().fill();
    client.wire().wait(PATIENCE);
    if sent.elapsed() < PATIENCE_FOR_CONTINUE {
        assert_eq!(early, Err(Broken::Ended(End::Open)));
    }
    upstream.open_gate();
    assert_eq!(client.head().expect("an interim answer").status, 100);
    client.send(BODY);
    client.answer().assert_answers(200, "t");
    let seen = upstream.one("t");
    assert_eq!((seen.body, seen.all("expect").len()), (Digest::of(BODY), 1));
}

#[test]
fn a_refusal_is_passed_on_without_the_body() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for round in 0..3 {
        let mut client = Client::open(server.address);
        let token = round.to_string();
        let request = expecting(&token, "refuse-expect");
        let sent = Instant::now();
        client.send(&request.head_bytes());
        let answer = client.answer();
        answer.assert_answers(417, &token);
        if sent.elapsed() < PATIENCE_FOR_CONTINUE {
            assert_eq!(answer.interim, [0; 0], "the body was asked for");
        }
        // Whoever was refused may go away or send something else, but not be misread: the server
        // closes, or takes what comes next for the body.
        if answer.says_close() {
            client.assert_ended();
        }
    }
    let mut client = Client::open(server.address);
    client.ask(&Request::get("n", "ok")).assert_answers(200, "n");
}

#[test]
fn a_client_that_does_not_wait_is_served() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    for number in 0..5 {
        let token = number.to_string();
        let answer = client.ask(&expecting(&token, "ok"));
        answer.assert_answers(200, &token);
        assert_eq!(upstream.one(&token).body, Digest::of(BODY));
    }
}

#[test]
fn an_upstream_that_never_says_continue_gets_the_body() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let request = expecting("t", "no-continue");
    client.send(&request.head_bytes());
    upstream.wait_begun(1);
    // Whoever has waited long enough sends it without having been asked.
    client.send(BODY);
    client.answer().assert_answers(200, "t");
    assert_eq!(upstream.one("t").body, Digest::of(BODY));
}

#[test]
fn an_early_answer_reaches_a_client_that_is_uploading() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("MAX_BODY_SIZE", "32MiB")]);
    for fault in ["early-keep", "early-close"] {
        for round in 0..5 {
            let token = format!("{fault}-{round}");
            let mut client = Client::open(server.address);
            // More than the kernel takes in on the way: a request that has left whole, and was
            // answered, is over.
            let body = vec![b'u'; 24 << 20];
            let request = Request::post(&token, fault, &body);
            let socket = client.socket();
            let bytes = request.bytes();
            // It goes on writing until the server does not take any more.
            let writing = std::thread::spawn(move || {
                use std::io::Write;
                _ = (&*socket).write_all(&bytes);
            });
            let answer = client.answer();
            answer.assert_answers(413, &token);
            assert_eq!(answer.body, b"early");
            drop(client.socket().shutdown(std::net::Shutdown::Both));
            writing.join().unwrap();
        }
    }
    // Half an upload must not have become the beginning of another request.
    let mut client = Client::open(server.address);
    for number in 0..20 {
        client.ask(&Request::get(&number.to_string(), "ok")).assert_answers(200, &number.to_string());
    }
}

#[test]
fn a_client_that_dies_in_its_upload_leaves_no_whole_request() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let head = "POST / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: half\r\n";
    for (number, rest) in
        ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 10\r\n\r\nhello"]
            .iter()
            .enumerate()
    {
        for end in ["close", "reset"] {
            let mut client = Client::open(server.address);
            client.send(format!("{head}{rest}").as_bytes());
            let begun = number * 2 + 1 + usize::from(end == "reset");
            upstream.wait_begun(begun);
            if end == "reset" {
                let socket = client.socket();
                socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            let given_up = || upstream.unfinished() >= begun;
            assert_eventually(PATIENCE, "the upstream is told", given_up);
        }
    }
    assert_eq!(upstream.seen_of("half").len(), 0, "half a body was taken for a whole one");
}

#[test]
fn a_body_over_the_limit_never_arrives_whole() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("MAX_BODY_SIZE", "64KiB")]);
    let body = vec![b'x'; 100 << 10];
    let told = Request::post("told", "ok", &body);
    ask(&server, &told).assert_refusal(413, "BODY_TOO_LARGE");
    assert_eq!(upstream.begun(), 0, "known ahead, and sent there for nothing");
    let parts = Body::Parts(body.chunks(10_000).map(<[u8]>::to_vec).collect(), Vec::new());
    let untold = Request::post("untold", "ok", b"").body(parts);
    ask(&server, &untold).assert_refusal(413, "BODY_TOO_LARGE");
    assert_eventually(PATIENCE, "the upstream is told", || upstream.unfinished() == 1);
    assert_eq!(upstream.requests(), 0);
    // Nothing of that is to be blamed on the upstream.
    for number in 0..10 {
        let token = number.to_string();
        ask(&server, &Request::get(&token, "ok")).assert_answers(200, &token);
    }
}

#[test]
fn an_upload_that_stops_is_the_clients_fault_and_no_whole_request() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("BODY_TIMEOUT", "300ms")]);
    for number in 1..=8 {
        let mut client = Client::open(server.address);
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        client.answer().assert_refusal(408, "BODY_TIMEOUT");
        client.assert_ended();
        assert_eventually(PATIENCE, "the upstream is told", || upstream.unfinished() == number);
    }
    assert_eq!(upstream.requests(), 0);
    // More of them than an upstream may fail before it is left alone.
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
}
