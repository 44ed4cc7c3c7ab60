//! An upstream that breaks HTTP in every way we know: never a wrong answer, never a mixed-up one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::fates::{Fate, HARMLESS, LONG, TABLE};
use super::{NO_EJECTION, TempFile, ask, ask2, proxy, proxy_to, sum};
use crate::support::client::{Answer, Client, Request};
use crate::support::front::{Ca, Front};
use crate::support::http1::End;
use crate::support::http2::{self, Answer as Answer2, DATA, END_STREAM, H2, frame};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;
use crate::support::{PATIENCE, assert_eventually, pause};
use Fate::{Cut, Gone, Invalid, Late, Silent, Whole};

fn server(upstream: &Upstream) -> Server {
    server_at(&upstream.url(), &[])
}

fn server_at(url: &str, env: &[(&str, &str)]) -> Server {
    let ours = [
        ("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "2s"),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", "1800ms"),
        NO_EJECTION,
    ];
    proxy_to(url, &[&ours, env].concat())
}

/// What became of a request, or what is wrong with it.
fn judge(answer: Result<Answer, Broken>, token: &str) -> Result<Fate, String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Broken::Ended(End::Fin | End::Reset) | Broken::Reset(_)) => return Ok(Silent),
        Err(broken) => return Err(format!("no answer at all: {broken:?}")),
    };
    if format!("{answer:?}").contains("poison") {
        return Err(format!("an answer that nobody asked for: {answer:?}"));
    }
    let ours = answer.all("content-type") == ["application/problem+json"];
    match (ours, &answer.cut) {
        (false, _) if answer.all("x-token") != [token] => Err(format!("somebody else's answer: {answer:?}")),
        (false, None) => Ok(Whole),
        (false, Some(Broken::Syntax(fault))) => Err(format!("{fault} in {answer:?}")),
        (false, Some(Broken::Ended(End::Open))) => Err(format!("it goes on for ever: {answer:?}")),
        (false, Some(_)) => Ok(Cut),
        // An answer to HEAD has no body to tell the reason.
        (true, None) => match (answer.status, answer.code().as_str()) {
            (502, "") if answer.body.is_empty() => Ok(Invalid),
            (502, "UPSTREAM_INVALID") => Ok(Invalid),
            (502, "UPSTREAM_UNREACHABLE") => Ok(Gone),
            (504, "UPSTREAM_TIMEOUT") => Ok(Late),
            _ => Err(format!("another refusal: {answer:?}")),
        },
        (true, Some(_)) => Err(format!("half a refusal: {answer:?}")),
    }
}

/// A fault, over HTTP/1.1, and what comes after it on the same connection. What the upstream has sent may be
/// on its way for `hop` milliseconds.
fn check(
    server: &Server,
    upstream: &Upstream,
    fault: &str,
    fates: &[Fate],
    method: &str,
    hop: u64,
) -> Result<(), String> {
    let token = format!("{fault}-{method}");
    let request = match method {
        "POST" => Request::post(&token, fault, b"a body"),
        _ => Request::get(&token, fault).method(method),
    };
    let mut client = Client::open(server.address);
    let began = Instant::now();
    let answer = client.try_ask(&request);
    // What comes unasked has come before anything else is asked: nobody could tell it from an answer
    // that comes after the question.
    if fault == "unsolicited" {
        upstream.wait_played(&token);
        pause(hop);
    }
    let open = answer.as_ref().is_ok_and(|answer| answer.cut.is_none() && !answer.says_close());
    let fate = judge(answer, &token)?;
    if !fates.contains(&fate) {
        return Err(format!("{fate:?}, where only {fates:?} may be"));
    }
    // What may be asked again is asked three times.
    if began.elapsed() > Duration::from_secs(12) {
        return Err(format!("took {:?}", began.elapsed()));
    }
    if !open && client.wire().fill().is_ok() {
        return Err("something comes after the end".to_owned());
    }
    if open {
        follow(&mut client, &token)?;
    }
    // Others are not to meet what it has left behind either.
    for _ in 0..2 {
        follow(&mut Client::open(server.address), &token)?;
    }
    let met: Vec<_> = upstream.seen_of(&token).iter().map(|seen| seen.connection).collect();
    let after = upstream.seen_of(&format!("{token}-next"));
    if !HARMLESS.contains(&fault) && after.iter().any(|next| met.contains(&next.connection)) {
        return Err("a broken connection was used again".to_owned());
    }
    Ok(())
}

fn follow(client: &mut Client, token: &str) -> Result<(), String> {
    let token = format!("{token}-next");
    match client.try_ask(&Request::get(&token, "ok")).map(|answer| judge(Ok(answer), &token)) {
        Ok(Ok(Whole)) => Ok(()),
        other => Err(format!("the next request: {other:?}")),
    }
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn no_fault_of_an_upstream_becomes_a_wrong_answer() {
    let upstream = Upstream::start();
    every_fault(&upstream, &server(&upstream), 0);
}

#[test]
fn nor_does_any_within_tls() {
    let (upstream, ca) = (Upstream::start(), Ca::new("one"));
    let front = Front::start(upstream.address, &ca.issue(&["127.0.0.1"]));
    let file = TempFile::new("ca.pem", &ca.pem());
    every_fault(&upstream, &server_at(&front.url(), &[("NESSEN_UPSTREAM_CA", file.path())]), 1200);
}

#[track_caller]
fn every_fault(upstream: &Upstream, server: &Server, hop: u64) {
    let mut wrong = Vec::new();
    for method in ["GET", "POST"] {
        for (fault, fates) in TABLE {
            if let Err(why) = check(server, upstream, fault, fates, method, hop) {
                wrong.push(format!("{method} {fault}: {why}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_fault_of_an_upstream_becomes_a_wrong_answer_over_http_2() {
    let upstream = Upstream::start();
    let server = server(&upstream);
    let mut wrong = Vec::new();
    let runtime = super::runtime();
    let client = runtime.block_on(crate::support::client2::Client2::open(server.address));
    for (fault, fates) in TABLE {
        let ask = |token: &str, fault: &str| {
            match runtime.block_on(client.ask(&Request::get(token, fault))) {
                // A stream may be reset before its head has left (RFC 9113 section 8.1): INTERNAL_ERROR
                // is no leave to ask again, as REFUSED_STREAM would be.
                Err(Broken::Reset(2)) => Ok(Cut),
                answer => judge(answer, token),
            }
        };
        match ask(fault, fault) {
            Ok(fate) if fates.contains(&fate) => {}
            other => wrong.push(format!("{fault}: {other:?}, where only {fates:?} may be")),
        }
        if *fault == "unsolicited" {
            upstream.wait_played(fault);
        }
        // A stream that breaks is no reason to lose the connection.
        let next = ask("next", "ok");
        if next != Ok(Whole) {
            wrong.push(format!("{fault}: the next stream: {next:?}"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn an_answer_to_head_that_has_a_body_is_no_answer_to_the_next() {
    let upstream = Upstream::start();
    let server = server(&upstream);
    let mut wrong = Vec::new();
    for fault in ["head-body", "length-short", "chunk-rest", "no-content-body", "unsolicited"] {
        if let Err(why) = check(&server, &upstream, fault, &[Whole, Invalid], "HEAD", 0) {
            wrong.push(format!("HEAD {fault}: {why}"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_cut_between_two_bytes_of_an_answer_makes_a_fault_another_one() {
    let upstream = Upstream::start();
    // On connections of its own: what comes behind an answer comes too late to be told from the next.
    let env = [
        ("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "2s"),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", "1800ms"),
        ("NESSEN_UPSTREAM_MAX_IDLE", "0"),
        NO_EJECTION,
    ];
    let server = proxy(&upstream, &env);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in TABLE.chunks(TABLE.len().div_ceil(4)) {
            let (wrong, server) = (&wrong, &server);
            scope.spawn(move || {
                for (fault, fates) in part.iter().filter(|(fault, _)| !LONG.contains(fault)) {
                    let request = Request::get(fault, fault).field("X-Cut", "1");
                    let answer = Client::open(server.address).try_ask(&request);
                    match judge(answer, fault) {
                        Ok(fate) if fates.contains(&fate) => {}
                        other => wrong.lock().unwrap().push(format!("{fault}: {other:?}, not {fates:?}")),
                    }
                }
            });
        }
    });
    assert_none(&wrong.into_inner().unwrap());
}

#[test]
fn what_is_right_in_a_doubtful_answer_is_passed_on_right() {
    let upstream = Upstream::start();
    let server = server(&upstream);
    for fault in ["length-twice", "length-list", "length-and-chunked", "chunked-and-length", "length-short"] {
        let answer = ask(&server, &Request::get("t", fault));
        if answer.status == 200 {
            assert_eq!(answer.body, b"ok", "{fault}");
        }
    }
    for (fault, name) in [("header-fold", "x-fold"), ("header-space-colon", "x-space")] {
        let answer = ask(&server, &Request::get("t", fault));
        if answer.status == 200 {
            assert!(answer.all(name).iter().all(|value| value.starts_with('a')), "{fault}: {answer:?}");
        }
    }
    let answer = ask(&server, &Request::get("t", "header-many"));
    if answer.status == 200 {
        let many = answer.fields.iter().filter(|(name, _)| name.to_lowercase().starts_with("x-many-"));
        assert_eq!(many.count(), 200, "a part of the fields is gone");
    }
}

#[test]
fn every_fault_is_counted_and_names_the_upstream_in_the_log() {
    let upstream = Upstream::start();
    let server = server(&upstream);
    let address = upstream.address.to_string();
    for (fault, status, reason) in [
        ("garbage", 502, "upstream_invalid"),
        ("length-two", 502, "upstream_invalid"),
        ("stall-head", 504, "upstream_timeout"),
    ] {
        let before = server.rejections(reason);
        let answer = ask(&server, &Request::post(fault, fault, b"once"));
        answer.assert_refusal(status, &reason.to_uppercase());
        let counted = || server.rejections(reason) - before;
        assert_eventually(PATIENCE, fault, || counted() >= 1.0);
        assert_eq!(counted(), 1.0, "{fault}");
        let id = answer.field("x-request-id").expect("an id").to_owned();
        let line = server.wait_log(fault, |line| line["request_id"] == *id && line["reason"] == *reason);
        assert!(line.to_string().contains(&address), "the upstream is not named: {line}");
    }
    let requests = sum(&server, "nessen_upstream_requests_total", &[]);
    assert_eq!(requests, upstream.begun() as f64);
    assert!(sum(&server, "nessen_upstream_request_duration_seconds_count", &[]) >= 1.0);
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
    assert_eq!(sum(&server, "nessen_upstream_requests_total", &[]), requests + 1.0);
    assert!(sum(&server, "nessen_upstream_connections", &[]) >= 1.0);
}

#[test]
fn an_upstream_nobody_listens_at_is_told_at_once() {
    let dead = crate::support::upstream::DeadPort::new();
    let server = proxy_to(&dead.url(), &[]);
    for request in [Request::get("t", "ok"), Request::post("t", "ok", b"body")] {
        let times = [(); 3].map(|()| {
            let began = Instant::now();
            ask(&server, &request).assert_refusal(502, "UPSTREAM_UNREACHABLE");
            began.elapsed()
        });
        let within = |limit| times.iter().filter(|time| **time < Duration::from_secs(limit)).count();
        assert!(within(1) >= 2 && within(4) == 3, "{times:?}");
    }
    ask2(&server, &Request::get("t", "ok")).unwrap().assert_refusal(502, "UPSTREAM_UNREACHABLE");
    assert!(server.rejections("upstream_unreachable") >= 3.0);
}

#[test]
fn an_upstream_that_does_not_take_connections_is_given_up_in_time() {
    // A queue of one that nobody empties: further connections are never made.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let full: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    pause(50);
    let env = [("NESSEN_UPSTREAM_CONNECT_TIMEOUT", "300ms"), ("NESSEN_UPSTREAM_RETRIES", "0")];
    let server = proxy_to(&format!("http://{address}"), &env);
    let began = Instant::now();
    let answer = ask(&server, &Request::get("t", "ok"));
    let took = began.elapsed();
    let known = [(502, "UPSTREAM_UNREACHABLE"), (504, "UPSTREAM_TIMEOUT")];
    assert!(known.contains(&(answer.status, answer.code().as_str())), "{answer:?}");
    assert!(took > Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    drop(full);
}

#[test]
fn the_time_for_a_request_ends_at_the_head_of_its_answer() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("REQUEST_TIMEOUT", "2s")]);
    let began = Instant::now();
    let events = Request::get("t", "events");
    let mut client = Client::open(server.address);
    client.send(&events.bytes());
    client.head().expect("a head").assert_answers_to("t");
    let mut pushed = 0;
    while began.elapsed() < Duration::from_millis(3500) {
        upstream.push(b"data: x\n\n");
        pushed += 1;
        pause(100);
    }
    upstream.push_end();
    let mut body = Vec::new();
    let framing = crate::support::wire::Framing::Chunked;
    client.wire().body(framing, &mut |part| body.extend_from_slice(part)).expect("a whole body");
    assert_eq!(body.len(), 9 * pushed);
    // Whoever waits for the head for longer gets none.
    ask(&server, &Request::get("u", "stall-head")).assert_refusal(504, "UPSTREAM_TIMEOUT");
}

#[test]
fn a_client_of_http_1_0_can_tell_a_cut_from_an_end() {
    let upstream = Upstream::start();
    let server = server(&upstream);
    for fault in ["reset-until-close", "stall-chunk"] {
        let mut client = Client::open(server.address);
        let head = format!("GET / HTTP/1.0\r\nHost: a\r\nX-Token: t\r\nX-Fault: {fault}\r\n\r\n");
        client.send(head.as_bytes());
        let line = client.wire().line().expect("a status line");
        assert!(line.ends_with(b" 200 OK"), "{fault}: {line:?}");
        client.wire().fields().expect("a head");
        // An orderly end would be the end of the body.
        let end = client.wire().drain();
        assert_eq!(end, End::Reset, "{fault}");
    }
}

#[test]
fn the_clock_of_an_upstream_runs_however_a_stream_ends() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "300ms"), NO_EJECTION]);
    for (length, apart) in [("5", false), ("5", true), ("0", true)] {
        let mut h2 = H2::open(server.address);
        let fields = [("content-length", length), ("x-fault", "stall-head")];
        h2.send(&http2::request(1, "POST", "/", &fields, false));
        let body: &[u8] = if length == "5" { b"hello" } else { b"" };
        if apart {
            // Many clients know of the end only when there is no more.
            h2.send(&frame(DATA, 0, 1, body));
            h2.pump_for(Duration::from_millis(50));
            h2.send(&frame(DATA, END_STREAM, 1, b""));
        } else {
            h2.send(&frame(DATA, END_STREAM, 1, body));
        }
        let began = Instant::now();
        h2.pump_until("an answer", |h2| {
            h2.answers.get(&1).is_some_and(Answer2::done) || began.elapsed() > Duration::from_secs(3)
        });
        let answer = h2.answers.get(&1).cloned().unwrap_or_default();
        assert_eq!(answer.status, Some(504), "{length} bytes, the end apart: {apart}, {:?}", began.elapsed());
        crate::support::problem::assert_document(&answer.body, 504, "UPSTREAM_TIMEOUT");
    }
}
