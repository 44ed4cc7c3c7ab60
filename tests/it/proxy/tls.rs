//! Upstreams within TLS: what works without it works within it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{NO_EJECTION, TempFile, ask, http2_upstream, proxy_to, runtime, sum};
use crate::support::client::{Client, Request};
use crate::support::front::{Ca, Front, Manners};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::websocket::Frame;
use crate::support::{PATIENCE, assert_eventually, pause};

/// A proxy to a front with a certificate that it believes.
struct Set {
    upstream: Upstream,
    front: Front,
    server: Server,
    _ca: TempFile,
}

impl Set {
    fn with(manners: Manners, env: &[(&str, &str)]) -> Self {
        let (ca, upstream) = (Ca::new("one"), Upstream::start());
        let front = Front::with(upstream.address, &ca.issue(&["127.0.0.1"]), manners);
        let file = TempFile::new("ca.pem", &ca.pem());
        let server =
            proxy_to(&front.url(), &[&[("NESSEN_UPSTREAM_CA", file.path()), NO_EJECTION], env].concat());
        Self { upstream, front, server, _ca: file }
    }

    fn new() -> Self {
        Self::with(honest(), &[])
    }
}

fn honest() -> Manners {
    Manners { alpn: vec!["http/1.1"], ..Manners::default() }
}

#[test]
fn one_connection_carries_many_requests_and_tickets_do_not_end_it() {
    for old in [false, true] {
        let set = Set::with(Manners { old, ..honest() }, &[]);
        let mut client = Client::open(set.server.address);
        for number in 0..40 {
            let token = format!("t{number}");
            let request = match number % 3 {
                0 => Request::get(&token, "ok"),
                // One that may not be sent twice has the kernel asked whether the connection is quiet.
                1 => Request::post(&token, "chunked", &vec![b'a'; 200_000]),
                _ => Request::post(&token, "ok", b"a body"),
            };
            client.ask(&request).assert_answers(200, &token);
        }
        assert_eq!(set.front.handshakes(), 1, "TLS 1.2: {old}");
        assert_eq!(set.upstream.requests(), 40);
    }
}

#[test]
fn sessions_are_resumed() {
    for old in [false, true] {
        let set = Set::with(Manners { old, ..honest() }, &[("NESSEN_UPSTREAM_MAX_IDLE", "0")]);
        for number in 0..4 {
            let token = format!("t{number}");
            ask(&set.server, &Request::get(&token, "ok")).assert_answers(200, &token);
        }
        assert_eq!(set.front.handshakes(), 4);
        assert!(set.front.counts.resumed.load(Ordering::Relaxed) >= 2, "TLS 1.2: {old}");
    }
}

#[test]
fn large_bodies_pass_both_ways() {
    let set = Set::with(honest(), &[("MAX_BODY_SIZE", "4MiB")]);
    let body = vec![b'x'; 3 << 20];
    let request = Request::post("up", "ok", &body);
    ask(&set.server, &request).assert_answers(200, "up");
    let answer = ask(&set.server, &Request::get("down", "download=5000000"));
    answer.assert_answers(200, "down");
    assert_eq!(answer.body.len(), 5_000_000);
}

/// What is written within TLS is not sent yet.
#[test]
fn the_end_of_a_body_leaves_also_where_the_upstream_was_slow_to_take_it() {
    let set = Set::with(honest(), &[("MAX_BODY_SIZE", "16MiB")]);
    set.upstream.stall_reading(true);
    let mut client = Client::open(set.server.address);
    let request = Request::post("t", "ok", &vec![b'x'; 16 << 20]).bytes();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| client.send(&request));
        set.upstream.wait_begun(1);
        // Everything in between fills up.
        pause(300);
        set.upstream.stall_reading(false);
        sending.join().unwrap();
    });
    client.answer().assert_answers(200, "t");
}

#[test]
fn a_body_that_comes_slowly_is_not_held_back() {
    let set = Set::new();
    let mut client = Client::open(set.server.address);
    let head = "POST / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: t\r\nX-Fault: ok\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes());
    for number in 1..=3 {
        client.send(b"5\r\nhello\r\n");
        assert_eventually(PATIENCE, "a part of the body", || set.upstream.read() == number * 5);
    }
    client.send(b"0\r\n\r\n");
    client.answer().assert_answers(200, "t");
}

#[test]
fn a_websocket_passes() {
    let set = Set::new();
    let mut client = Client::open(set.server.address);
    let upgrade = Request::get("t", "upgrade").field("Connection", "upgrade").field("Upgrade", "websocket");
    client.ask(&upgrade.field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")).assert_answers(101, "t");
    for length in [0, 5, 70_000] {
        let frame = Frame::binary(vec![b'w'; length]);
        client.send(&frame.bytes(Some([1, 2, 3, 4])));
        assert_eq!(Frame::read(client.wire()), Some(frame));
    }
    drop(client);
    set.upstream.wait_closed();
}

#[test]
fn an_answer_that_ends_without_close_notify_is_cut() {
    let good = Set::new();
    ask(&good.server, &Request::get("whole", "until-close")).assert_answers(200, "whole");
    let rude = Set::with(Manners { rude: true, ..honest() }, &[]);
    let answer = ask(&rude.server, &Request::get("cut", "until-close"));
    assert!(answer.cut.is_some(), "{answer:?}");
    // One whose length is known is whole.
    ask(&rude.server, &Request::get("length", "ok")).assert_answers(200, "length");
    ask(&rude.server, &Request::get("length", "close-after")).assert_answers(200, "length");
    // A kept connection that ends so is like any other that ends.
    let mut client = Client::open(rude.server.address);
    for number in 0..6 {
        let token = format!("t{number}");
        client.ask(&Request::get(&token, "die-on-next")).assert_answers(200, &token);
    }
}

#[test]
fn what_comes_unasked_ends_the_connection() {
    let set = Set::new();
    for number in 0..5 {
        for fault in ["unsolicited", "length-short", "closing-rest"] {
            let token = format!("{fault}-{number}");
            ask(&set.server, &Request::get(&token, fault)).assert_answers(200, &token);
            // What comes unasked has come before anything else is asked.
            set.upstream.wait_closed();
            let token = format!("after-{token}");
            ask(&set.server, &Request::get(&token, "ok")).assert_answers(200, &token);
        }
    }
}

#[test]
fn http_2_is_spoken_where_it_is_agreed_on() {
    let runtime = runtime();
    let (upstream, counts) = runtime.block_on(http2_upstream::start());
    let (ca, other) = (Ca::new("one"), Upstream::start());
    let issued = ca.issue(&["127.0.0.1"]);
    let file = TempFile::new("ca.pem", &ca.pem());
    let env = [("NESSEN_UPSTREAM_CA", file.path()), NO_EJECTION];
    let front =
        Front::with(upstream, &issued, Manners { alpn: vec!["h2", "http/1.1"], ..Manners::default() });
    let url = front.url().replace("https", "h2");
    let server = proxy_to(&url, &env);
    for number in 0..10 {
        let token = format!("t{number}");
        ask(&server, &Request::post(&token, "ok", b"a body")).assert_answers(200, &token);
    }
    assert_eq!((counts.streams.load(Ordering::Relaxed), front.handshakes()), (10, 1));
    assert_eq!(sum(&server, "nessen_upstream_requests_total", &[&url]), 10.0);
    // The same is spoken HTTP/1.1 to by https.
    let plain =
        Front::with(other.address, &issued, Manners { alpn: vec!["h2", "http/1.1"], ..Manners::default() });
    ask(&proxy_to(&plain.url(), &env), &Request::get("t", "ok")).assert_answers(200, "t");
    // Who does not offer it is told from others.
    for alpn in [vec!["http/1.1"], vec![]] {
        let front = Front::with(upstream, &issued, Manners { alpn, ..Manners::default() });
        let server = proxy_to(&front.url().replace("https", "h2"), &env);
        let status = ask(&server, &Request::get("t", "ok")).status;
        assert_eq!(status, 502);
    }
}

#[test]
fn a_handshake_that_is_never_answered_takes_the_time_for_a_connection() {
    for http2 in [false, true] {
        let set = Set::with(honest(), &[("NESSEN_UPSTREAM_CONNECT_TIMEOUT", "300ms")]);
        set.front.counts.silent.store(true, Ordering::Relaxed);
        let server = match http2 {
            false => set.server,
            true => proxy_to(
                &set.front.url().replace("https", "h2"),
                &[
                    ("NESSEN_UPSTREAM_CONNECT_TIMEOUT", "300ms"),
                    NO_EJECTION,
                    ("NESSEN_UPSTREAM_RETRIES", "0"),
                ],
            ),
        };
        let began = Instant::now();
        let answer = ask(&server, &Request::post("t", "ok", b"a body"));
        answer.assert_refusal(502, "UPSTREAM_UNREACHABLE");
        assert_eq!(answer.json()["limit"], "upstream.connect_timeout", "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(set.upstream.requests(), 0);
    }
}

#[test]
fn what_is_not_tls_is_invalid() {
    for garbage in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01\0\x02\x02\x28", "SSH-2.0-OpenSSH_9.2\r\n"]
    {
        let set = Set::with(Manners { garbage: Some(garbage.into()), ..honest() }, &[]);
        let answer = ask(&set.server, &Request::get("t", "ok"));
        assert_eq!(answer.status, 502, "{answer:?}");
        let code = if garbage.starts_with('\x15') { "UPSTREAM_UNREACHABLE" } else { "UPSTREAM_INVALID" };
        assert_eq!(answer.code(), code, "{garbage:?}");
        set.server.wait_log("what is wrong", |line| line["message"] == "TLS with the upstream failed");
    }
}

#[test]
fn an_address_that_cannot_be_trusted_is_passed_over() {
    let (ca, upstream) = (Ca::new("one"), Upstream::start());
    let good = Front::start(upstream.address, &ca.issue(&["127.0.0.1"]));
    let bad = Front::start(upstream.address, &Ca::new("other").issue(&["127.0.0.1"]));
    let file = TempFile::new("ca.pem", &ca.pem());
    let urls = format!("{},{}", bad.url(), good.url());
    let server = proxy_to(&urls, &[("NESSEN_UPSTREAM_CA", file.path())]);
    // Nothing was sent, so that even what may not be sent twice goes on to the next.
    for number in 0..100 {
        let token = format!("t{number}");
        ask(&server, &Request::post(&token, "ok", b"a body")).assert_answers(200, &token);
    }
    assert_eq!(bad.handshakes(), 0);
    let failed = ["status=\"invalid\"", &bad.url()];
    assert!(sum(&server, "nessen_upstream_requests_total", &failed) >= 1.0);
    // And is put aside like one that answers with nonsense.
    assert!(sum(&server, "nessen_upstream_ejections_total", &[&bad.url()]) >= 1.0);
}

#[test]
fn health_is_asked_for_within_tls() {
    let env = [("NESSEN_UPSTREAM_HEALTH_PATH", "/well"), ("NESSEN_UPSTREAM_HEALTH_INTERVAL", "20ms")];
    let set = Set::with(honest(), &env);
    set.upstream.answer_unasked_with("ok");
    let healthy = || sum(&set.server, "nessen_upstream_healthy", &[&set.front.url()]);
    assert_eventually(PATIENCE, "healthy", || set.upstream.requests() > 2 && healthy() == 1.0);
    // Another certificate, which it does not believe.
    set.front.replace(&Ca::new("other").issue(&["127.0.0.1"]));
    assert_eventually(PATIENCE, "unhealthy", || healthy() == 0.0);
    let line = set.server.wait_log("why", |line| line["message"] == "the address fails its health check");
    assert_eq!(line["error"], "no TLS: its certificate is of no CA that is believed", "{line}");
}
