//! How long: heads, bodies, requests, idleness.

use std::time::{Duration, Instant};

use crate::support::http1::{Conn, End, NoResponse, Response, chunked, get, post, post_head};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, pause};

/// Sends a byte each `gap` until the server has answered, and returns the answer.
#[track_caller]
fn drip(conn: &mut Conn, bytes: impl IntoIterator<Item = u8>, gap: u64) -> Response {
    for byte in bytes {
        // The server may have closed already: its answer still has to be there.
        let taken = conn.try_send(&[byte]).is_ok();
        match conn.try_read_response(Duration::from_millis(gap)) {
            Ok(answer) => return answer,
            Err(NoResponse::Ended(End::Open, _)) if taken => {}
            Err(none) => panic!("no answer: {none:?}"),
        }
    }
    panic!("everything was taken, as slow as it was");
}

fn endless_head() -> impl Iterator<Item = u8> {
    b"GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Slow: ".iter().copied().chain(std::iter::repeat_n(b'a', 400))
}

#[test]
fn a_head_that_drips_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "400")]);
    let mut conn = server.connect();
    let began = Instant::now();
    let answer = drip(&mut conn, endless_head(), 40);
    assert!(began.elapsed() > Duration::from_millis(300), "after {:?}", began.elapsed());
    assert_problem(&answer, 408, "HEADERS_TIMEOUT");
    assert!(answer.says_close());
    assert_eq!(answer.json()["limit"], "limits.headers_timeout");
    conn.assert_closed();
    server.assert_refused_once("headers_timeout");
}

#[test]
fn a_second_head_that_drips_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "400")]);
    let mut conn = server.connect();
    conn.assert_serves();
    let answer = drip(&mut conn, endless_head(), 40);
    assert_problem(&answer, 408, "HEADERS_TIMEOUT");
    conn.assert_closed();
    server.assert_refused_once("headers_timeout");
}

#[test]
fn a_head_that_stops_in_the_middle_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "400")]);
    for half in ["G", "GET / HTTP/1.1\r\nHost: nes", "GET / HTTP/1.1\r\nHost: nessen.test\r\n"] {
        let mut conn = server.connect();
        conn.send(half.as_bytes());
        assert_problem(&conn.read_response(), 408, "HEADERS_TIMEOUT");
        conn.assert_closed();
    }
    server.assert_refused("headers_timeout", 3);
}

#[test]
fn a_pipelined_head_that_stops_in_the_middle_is_cut_off() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "400")]);
    let mut conn = server.connect();
    conn.send(&[get("/badge/a/b.svg"), b"GET /badge/c".to_vec()].concat());
    assert_eq!(conn.read_response().status, 200);
    assert_problem(&conn.read_response(), 408, "HEADERS_TIMEOUT");
    conn.assert_closed();
    server.assert_refused_once("headers_timeout");
}

#[test]
fn the_clock_of_heads_does_not_run_between_requests() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "300")]);
    let mut conn = server.connect();
    conn.assert_serves();
    conn.assert_quiet_for(Duration::from_millis(900));
    conn.assert_serves();
}

#[test]
fn the_clock_of_heads_does_not_run_while_a_body_comes() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "300")]);
    let mut conn = server.connect();
    conn.send(&[post_head(10), b"hello".to_vec()].concat());
    conn.assert_quiet_for(Duration::from_millis(900));
    conn.send(b"world");
    assert_eq!(conn.read_response().text(), "helloworld");
    conn.assert_serves();
}

#[test]
fn a_connection_without_a_word_is_closed_without_a_word() {
    let server =
        Server::start(&[("HEADERS_TIMEOUT", "400"), ("IDLE_TIMEOUT", "600"), ("LOG_LEVEL", "debug")]);
    let began = Instant::now();
    let mut conn = server.connect();
    conn.assert_closed();
    assert!(began.elapsed() > Duration::from_millis(300), "after {:?}", began.elapsed());
    let counted = server.rejections("idle") + server.rejections("headers_timeout");
    assert_eq!(counted, 1.0, "{:?}", server.metrics());
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Server::start(&[("IDLE_TIMEOUT", "500"), ("LOG_LEVEL", "debug")]);
    let mut conn = server.connect();
    let began = Instant::now();
    conn.assert_serves();
    conn.assert_closed();
    assert!(began.elapsed() > Duration::from_millis(350), "after {:?}", began.elapsed());
    server.assert_refused_once("idle");
}

#[test]
fn a_connection_in_use_is_not_idle() {
    let server = Server::start(&[("IDLE_TIMEOUT", "3s"), ("NESSEN_LIMITS_MIN_BODY_RATE", "off")]);
    let mut conn = server.connect();
    for _ in 0..14 {
        conn.assert_serves();
        pause(250);
    }
    // Longer than the time-out in all, and an upload longer than it.
    conn.send(&post_head(3));
    for byte in b"abc" {
        pause(1100);
        conn.send(&[*byte]);
    }
    assert_eq!(conn.read_response().text(), "abc");
}

#[test]
fn a_body_that_stops_in_the_middle_is_cut_off() {
    let server = Server::start(&[("BODY_TIMEOUT", "400")]);
    let mut conn = server.connect();
    let began = Instant::now();
    conn.send(&[post_head(10), b"hello".to_vec()].concat());
    let answer = conn.read_response();
    assert!(began.elapsed() > Duration::from_millis(300), "after {:?}", began.elapsed());
    assert_problem(&answer, 408, "BODY_TIMEOUT");
    assert!(answer.says_close());
    assert_eq!(answer.json()["limit"], "limits.body_timeout");
    conn.assert_closed();
    server.assert_refused_once("body_timeout");
}

#[test]
fn a_chunked_body_that_stops_in_the_middle_is_cut_off() {
    let server = Server::start(&[("BODY_TIMEOUT", "400")]);
    for half in ["", "5\r\nhe", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n"] {
        let mut conn = server.connect();
        conn.send(chunked(half).as_bytes());
        assert_problem(&conn.read_response(), 408, "BODY_TIMEOUT");
        conn.assert_closed();
    }
    server.assert_refused("body_timeout", 4);
}

#[test]
fn a_body_that_drips_is_cut_off() {
    let server = Server::start(&[("NESSEN_LIMITS_MIN_BODY_RATE", "1000 B/s after 500ms")]);
    let mut conn = server.connect();
    let began = Instant::now();
    conn.send(&post_head(1000));
    let answer = drip(&mut conn, std::iter::repeat_n(b'a', 999), 40);
    assert!(began.elapsed() > Duration::from_millis(400), "after {:?}", began.elapsed());
    assert_problem(&answer, 408, "BODY_TOO_SLOW");
    assert!(answer.says_close());
    assert_eq!(answer.json()["limit"], "limits.min_body_rate");
    conn.assert_closed();
    server.assert_refused_once("body_too_slow");
}

#[test]
fn a_chunked_body_of_small_chunks_that_drips_is_cut_off() {
    let server = Server::start(&[("NESSEN_LIMITS_MIN_BODY_RATE", "1000 B/s after 500ms")]);
    let mut conn = server.connect();
    conn.send(chunked("").as_bytes());
    // Six bytes on the wire for one of the body: the framing must not count.
    let answer = drip(&mut conn, b"1\r\na\r\n".iter().copied().cycle().take(2000), 20);
    assert_problem(&answer, 408, "BODY_TOO_SLOW");
    conn.assert_closed();
    server.assert_refused_once("body_too_slow");
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    let server = Server::start(&[
        ("REQUEST_TIMEOUT", "600"),
        ("BODY_TIMEOUT", "60s"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "1 B/s after 60s"),
    ]);
    let mut conn = server.connect();
    let began = Instant::now();
    conn.send(&post_head(1000));
    let answer = drip(&mut conn, std::iter::repeat_n(b'a', 999), 40);
    assert!(began.elapsed() > Duration::from_millis(450), "after {:?}", began.elapsed());
    assert_problem(&answer, 504, "REQUEST_TIMEOUT");
    assert_eq!(answer.json()["limit"], "limits.request_timeout");
    // With half a body unread, nothing more can be asked on this connection.
    let (rest, end) = conn.read_to_end(PATIENCE);
    assert!(rest.is_empty() && end != End::Open, "{end:?} {rest:?}");
    server.assert_refused_once("request_timeout");
}

#[test]
fn honest_uploads_are_not_hurried() {
    let server =
        Server::start(&[("NESSEN_LIMITS_MIN_BODY_RATE", "1000 B/s after 1500ms"), ("BODY_TIMEOUT", "3s")]);
    let mut conn = server.connect();
    conn.send(&post_head(12_000));
    for _ in 0..12 {
        conn.send(&[b'a'; 1000]);
        pause(200);
    }
    assert_eq!(conn.read_response().body.len(), 12_000);
    conn.send(&post(b"again"));
    assert_eq!(conn.read_response().text(), "again");
}
