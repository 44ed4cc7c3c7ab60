//! How much: bodies, targets, fields, answers.

use crate::support::http1::{get, post, post_head};
use crate::support::problem::assert_problem;
use crate::support::server::Server;

#[test]
fn a_body_over_the_limit_is_refused_by_its_announced_length() {
    let server = Server::start(&[("MAX_BODY_SIZE", "1000")]);
    let mut conn = server.connect();
    conn.send(&post(&[b'a'; 1000]));
    assert_eq!(conn.read_response().status, 200);
    conn.send(&post_head(1001));
    let answer = conn.read_response();
    assert_problem(&answer, 413, "BODY_TOO_LARGE");
    assert_eq!(answer.json()["limit"], "limits.max_body_size");
    conn.assert_closed();
    server.assert_refused_once("body_too_large");
}

#[test]
fn a_chunked_body_over_the_limit_is_refused_when_it_gets_there() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_BODY_SIZE", "1000")]);
    let mut conn = server.connect();
    conn.send(b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        conn.send(&[b"64\r\n".as_slice(), &[b'a'; 100], b"\r\n"].concat());
    }
    assert_problem(&conn.read_response(), 413, "BODY_TOO_LARGE");
    conn.assert_closed();
    server.assert_refused_once("body_too_large");
}

#[test]
fn a_chunked_body_at_the_limit_is_taken() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_BODY_SIZE", "1000")]);
    let mut conn = server.connect();
    conn.send(b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..10 {
        conn.send(&[b"64\r\n".as_slice(), &[b'a'; 100], b"\r\n"].concat());
    }
    conn.send(b"0\r\n\r\n");
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
    conn.assert_serves();
}

/// A request whose body comes in chunks.
const CHUNKED: &[u8] = b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn framing_without_end_around_chunks_is_refused() {
    for (before, filler) in [("", b'0'), ("5", b' '), ("5\r\nhello\r\n", b'0')] {
        let server = Server::start(&[("MAX_HEADER_SIZE", "8KiB"), ("MAX_URL_LENGTH", "8KiB")]);
        let mut conn = server.connect();
        conn.send(&[CHUNKED, before.as_bytes()].concat());
        let (mut sent, most) = (0, 512 << 10);
        // Written behind a refusal, it may fail.
        while sent < most && conn.try_send(&[filler; 4096]).is_ok() {
            sent += 4096;
        }
        assert_problem(&conn.read_response(), 400, "MALFORMED_REQUEST");
        conn.assert_closed();
        server.assert_refused_once("malformed_request");
    }
}

#[test]
fn a_body_in_chunks_of_a_byte_is_taken() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(CHUNKED);
    for _ in 0..100 {
        conn.send("1\r\nx\r\n".repeat(500).as_bytes());
    }
    conn.send(b"0\r\n\r\n");
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, 50_000));
    conn.assert_serves();
}

#[test]
fn a_target_over_the_limit_is_refused() {
    let server = Server::start(&[("MAX_URL_LENGTH", "200")]);
    let mut conn = server.connect();
    let long = format!("/badge/a/b.svg?{}", "a".repeat(200 - 15));
    conn.send(&get(&long));
    assert_eq!(conn.read_response().status, 200);
    conn.send(&get(&format!("{long}a")));
    let answer = conn.read_response();
    assert_problem(&answer, 414, "URL_TOO_LONG");
    assert_eq!(answer.json()["limit"], "limits.max_url_length");
    server.assert_refused_once("url_too_long");
}

#[test]
fn fields_over_the_limit_together_are_refused() {
    let server = Server::start(&[("MAX_HEADER_SIZE", "2KiB")]);
    let request = |length: usize| {
        let value = "a".repeat(length);
        format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\nX-A: {value}\r\nX-B: {value}\r\n\r\n")
    };
    let mut conn = server.connect();
    conn.send(request(900).as_bytes());
    assert_eq!(conn.read_response().status, 200);
    conn.send(request(1100).as_bytes());
    let answer = conn.read_response();
    assert_problem(&answer, 431, "HEADER_TOO_LARGE");
    assert_eq!(answer.json()["limit"], "limits.max_header_size");
    server.assert_refused_once("header_too_large");
}

#[test]
fn fields_over_the_count_are_refused() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_HEADER_COUNT", "10")]);
    let request = |count: usize| {
        format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\n{}\r\n", "X-A: a\r\n".repeat(count - 1))
    };
    let mut conn = server.connect();
    conn.send(request(10).as_bytes());
    assert_eq!(conn.read_response().status, 200);
    conn.send(request(11).as_bytes());
    let answer = conn.read_response();
    assert_problem(&answer, 431, "TOO_MANY_HEADERS");
    assert_eq!(answer.json()["limit"], "limits.max_header_count");
    server.assert_refused_once("too_many_headers");
}

#[test]
fn an_answer_over_the_limit_is_withheld() {
    let server = Server::start(&[("MAX_RESPONSE_SIZE", "1000")]);
    let mut conn = server.connect();
    conn.send(&post(&[b'a'; 1000]));
    assert_eq!(conn.read_response().body.len(), 1000);
    conn.send(&post(&[b'a'; 1001]));
    let answer = conn.read_response();
    assert_problem(&answer, 502, "RESPONSE_TOO_LARGE");
    assert_eq!(answer.json()["limit"], "limits.max_response_size");
    server.assert_refused_once("response_too_large");
}

#[test]
fn a_response_size_of_zero_is_no_limit() {
    let server = Server::start(&[("MAX_RESPONSE_SIZE", "0"), ("MAX_BODY_SIZE", "16MiB")]);
    let mut conn = server.connect();
    let body = vec![b'a'; 11 << 20];
    conn.send(&post_head(body.len()));
    let mut writer = conn.writer();
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut writer, &body).unwrap());
        assert_eq!(conn.read_response().body.len(), body.len());
    });
}
