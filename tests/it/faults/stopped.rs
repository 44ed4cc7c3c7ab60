//! A process that is stopped (SIGSTOP, a debugger, a frozen container, a machine that sleeps) and
//! goes on after every time-out has passed. What came in time is served, what did not is refused.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Held, assert_probes, go_on, stop};
use crate::proxy::{NO_EJECTION, ask, proxy, sum};
use crate::support::client::{Client, Request};
use crate::support::http1::{Conn, End, get, post, post_head};
use crate::support::http2::{self, DATA, END_STREAM, H2, PREFACE, frame};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually, pause};

/// The time-outs of these tests, and how long the process is stopped.
const TIMEOUT: &str = "1500";
const STOPPED: u64 = 2100;

fn hasty(more: &[(&str, &str)]) -> Server {
    let env = [
        ("HEADERS_TIMEOUT", TIMEOUT),
        ("IDLE_TIMEOUT", TIMEOUT),
        ("BODY_TIMEOUT", TIMEOUT),
        ("WRITE_TIMEOUT", TIMEOUT),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "500 B/s after 1500ms"),
        ("LOG_LEVEL", "debug"),
    ];
    Server::start(&[&env, more].concat())
}

#[test]
fn what_came_while_it_was_stopped_is_served() {
    let server = hasty(&[]);
    let held = Held::by(&server);
    served_after_a_stop(&server, 10);
    assert_probes(&server);
    held.assert_no_more(&server);
    let counted = || server.metrics()["nessen_process_stalls_total"] >= 1.0;
    assert_eventually(PATIENCE, "a stall that is counted", counted);
    server.wait_log("the stall", |line| line["message"] == "the process stood still");
}

#[track_caller]
fn served_after_a_stop(server: &Server, tries: usize) {
    let began = Instant::now();
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.assert_serves();
    let mut half_head = server.connect();
    half_head.send(b"GET /badge/a/b.svg HTTP/1.1\r\nHo");
    let mut half_body = server.connect();
    half_body.send(&[post_head(10), b"hello".to_vec()].concat());
    let mut half_preface = H2::raw(server.connect());
    half_preface.send(&PREFACE[..10]);
    let mut idle2 = H2::open(server.address);
    idle2.assert_serves(1);
    let mut half_body2 = H2::open(server.address);
    half_body2.assert_serves(1);
    half_body2.send(&http2::request(3, "POST", "/echo", &[("content-length", "10")], false));
    half_body2.send(&frame(DATA, 0, 3, b"hello"));
    // Long enough for idle connections to be parked, and for what was sent to be read.
    pause(350);
    stop(server);
    if began.elapsed() > Duration::from_millis(1300) {
        // The machine is so busy that time-outs may have passed before the stop.
        go_on(server);
        drop((silent, idle, half_head, half_body, half_preface, idle2, half_body2));
        assert!(tries > 1, "never fast enough to begin with");
        return served_after_a_stop(server, tries - 1);
    }

    let mut new = server.connect();
    for conn in [&mut silent, &mut idle, &mut new] {
        conn.send(&get("/badge/a/b.svg"));
    }
    half_head.send(b"st: nessen.test\r\n\r\n");
    half_body.send(b"world");
    half_preface.send(&PREFACE[10..]);
    half_preface.send(&[http2::settings(&[]), http2::get(1, "/badge/a/b.svg")].concat());
    idle2.send(&http2::get(3, "/badge/a/b.svg"));
    half_body2.send(&frame(DATA, END_STREAM, 3, b"world"));
    new.assert_quiet_for(Duration::from_millis(STOPPED));
    go_on(server);

    let mut wrong = Vec::new();
    let one = [("silent", silent), ("idle", idle), ("half a head", half_head), ("half a body", half_body)];
    for (name, mut conn) in one.into_iter().chain([("new", new)]) {
        match conn.try_read_response(PATIENCE) {
            Ok(answer) if answer.status == 200 => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    let two =
        [("half a preface", half_preface, 1), ("idle stream", idle2, 3), ("half a DATA", half_body2, 3)];
    for (name, mut h2, stream) in two {
        let answered = |h2: &H2| h2.answers.get(&stream).is_some_and(http2::Answer::done);
        h2.pump_until(name, |h2| answered(h2) || h2.end.is_some());
        if h2.answers.get(&stream).and_then(|answer| answer.status) != Some(200) {
            wrong.push(format!("{name}: {:?} {:?}", h2.answers.get(&stream), h2.end));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_did_not_come_in_time_is_still_refused() {
    let server = hasty(&[]);
    let mut half_head = server.connect();
    half_head.send(b"GET /badge/a/b.svg HTTP/1.1\r\nHo");
    let mut half_body = server.connect();
    half_body.send(&[post_head(10), b"hello".to_vec()].concat());
    let mut idle = server.connect();
    idle.assert_serves();
    pause(100);
    stop(&server);
    half_head.send(b"s");
    pause(STOPPED);
    go_on(&server);
    assert_eq!(half_head.read_response().status, 408);
    assert_eq!(half_body.read_response().status, 408);
    idle.assert_closed();
    for reason in ["headers_timeout", "idle"] {
        assert_eventually(PATIENCE, reason, || server.rejections(reason) == 1.0);
    }
}

#[test]
fn a_client_that_read_while_it_was_stopped_is_not_slow() {
    let server = hasty(&[("MAX_BODY_SIZE", "8MiB"), ("NESSEN_LIMITS_MIN_SEND_RATE", "1 B/s after 60s")]);
    let body = vec![b'a'; 8 << 20];
    let mut conn = Conn::open_narrow(server.address);
    let mut writer = conn.writer();
    let request = post(&body);
    std::thread::scope(|scope| {
        scope.spawn(move || _ = std::io::Write::write_all(&mut writer, &request));
        // The head says that the answer has begun: from now on the server cannot send the rest.
        conn.peek(100, Instant::now() + PATIENCE).expect("an answer begins");
        pause(100);
        stop(&server);
        // Everything that the kernel holds, and no more of it comes.
        let held = conn.peek(body.len(), Instant::now() + Duration::from_millis(STOPPED));
        assert_eq!(held, Err(End::Open), "the server was not blocked");
        go_on(&server);
        let came = conn.try_read_response(PATIENCE).map_err(|none| format!("{none:?}")[..40].to_owned());
        assert_eq!(came.map(|answer| answer.body.len()), Ok(body.len()));
    });
    assert_eq!(server.rejections("slow_reader"), 0.0);
}

#[test]
fn an_upstream_that_answered_while_it_was_stopped_was_in_time() {
    let upstream = Upstream::start();
    let env = [
        ("REQUEST_TIMEOUT", TIMEOUT),
        ("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", TIMEOUT),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", TIMEOUT),
        ("NESSEN_UPSTREAM_RETRIES", "0"),
        NO_EJECTION,
    ];
    let server = proxy(&upstream, &env);
    let held = Held::by(&server);
    let mut head = Client::open(server.address);
    head.send(&Request::post("head", "gate", b"body").bytes());
    let mut body = Client::open(server.address);
    body.send(&Request::get("body", "events").bytes());
    let begun = body.head().expect("a head");
    begun.assert_answers_to("body");
    upstream.wait_begun(2);

    stop(&server);
    upstream.open_gate();
    upstream.push(b"data: x\n\n");
    upstream.push_end();
    pause(STOPPED);
    go_on(&server);

    head.answer().assert_answers(200, "head");
    let mut events = Vec::new();
    let whole = body.wire().body(crate::support::wire::Framing::Chunked, &mut |part| events.extend(part));
    assert_eq!((whole.map(drop), events), (Ok(()), b"data: x\n\n".to_vec()));
    assert_eq!(server.rejections("upstream_timeout") + server.rejections("request_timeout"), 0.0);
    assert_eq!(sum(&server, "nessen_upstream_requests_total", &["timeout"]), 0.0);
    drop((head, body));
    assert_probes(&server);
    // The connections to the upstream are kept.
    Held { descriptors: held.descriptors + 2.0, ..held }.assert_no_more(&server);
}

#[test]
fn a_connection_that_went_while_it_was_stopped_carries_no_post() {
    let first = Upstream::named("first");
    let server = proxy(&first, &[]);
    for token in ["a", "b"] {
        ask(&server, &Request::post(token, "ok", b"body")).assert_answers(200, token);
    }
    assert_eventually(PATIENCE, "a connection that is kept", || {
        sum(&server, "nessen_upstream_connections", &["idle"]) >= 1.0
    });
    stop(&server);
    let second = first.stop().listen("second");
    let mut client = Client::open(server.address);
    let post = Request::post("c", "ok", b"body");
    client.send(&post.bytes());
    pause(200);
    go_on(&server);
    client.answer().assert_answers(200, "c");
    assert_eq!(second.seen_of("c").len(), 1);
    assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), 0.0, "it was sent into what had ended");
}

#[test]
fn an_allowance_is_filled_and_no_more_than_that() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "3"), ("RATE_LIMIT_WINDOW_MS", "1800")]);
    let allowed = || (0..6).filter(|_| server.get("/badge/a/b.svg").status == 200).count();
    let before = allowed();
    assert!((3..6).contains(&before), "{before}");
    stop(&server);
    pause(STOPPED);
    go_on(&server);
    let after = allowed();
    assert!((3..6).contains(&after), "{after} after a stop of more than one window");
}

#[test]
fn a_drain_that_was_stopped_still_ends_and_loses_nothing() {
    let upstream = Upstream::start();
    let env = [("SHUTDOWN_TIMEOUT", TIMEOUT), ("LOG_LEVEL", "debug")];
    let mut server = proxy(&upstream, &env);
    let mut client = Client::open(server.address);
    client.send(&Request::get("t", "gate").bytes());
    upstream.wait_begun(1);
    let mut idle = Conn::open(server.address);
    server.signal(Signal::TERM);
    server.wait_log("the drain", |line| line["to"] == "DRAINING");
    stop(&server);
    upstream.open_gate();
    pause(STOPPED);
    go_on(&server);
    client.answer().assert_answers(200, "t");
    assert!(matches!(idle.read_to_end(PATIENCE).1, End::Fin | End::Reset));
    assert_eq!(server.exit_code(), 0);
}
