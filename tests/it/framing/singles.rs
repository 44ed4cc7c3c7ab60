//! What does not fit into a table: bodies that end too early, and the word before a body.

use crate::support::PATIENCE;
use crate::support::http1::{Conn, End, get, post, post_head};
use crate::support::problem::{assert_problem, check_problem};
use crate::support::server::Server;

#[test]
fn half_a_body_is_never_answered_with_200() {
    let server = Server::start(&[]);
    let chunked = |body: &str| super::echo("Transfer-Encoding: chunked\r\n", body).into_bytes();
    let halves = [
        ("a length of 10 and 5 bytes", [post_head(10), b"hello".to_vec()].concat()),
        ("a length of 10 and no byte", post_head(10)),
        ("a chunk cut short", chunked("a\r\nhello")),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        ("half a last chunk", chunked("5\r\nhello\r\n0\r\n")),
        ("half a size", chunked("5\r\nhello\r\n1")),
        ("half a trailer", chunked("5\r\nhello\r\n0\r\nX-Half: ")),
        ("half a head", b"POST /echo HTTP/1.1\r\nHost: nes".to_vec()),
    ];
    for (name, half) in halves {
        let mut conn = server.connect();
        conn.send(&half);
        conn.half_close();
        if let Ok(answer) = conn.try_read_response(PATIENCE)
            && let Err(fault) = check_problem(&answer, 400, "MALFORMED_REQUEST")
        {
            panic!("{name}: {fault}: {answer:?}");
        }
        let (rest, end) = conn.read_to_end(PATIENCE);
        assert!(rest.is_empty() && end != End::Open, "{name}: {end:?} {rest:?}");
        // The process lives on, and serves.
        assert_eq!(server.get("/health").status, 200);
    }
}

#[test]
fn a_client_that_half_closes_after_its_request_is_answered() {
    let server = Server::start(&[("MAX_BODY_SIZE", "2MiB")]);
    // Now and again the end arrives with the request, and now and again after it.
    for size in [1, 10, 1000, 100_000, 1 << 20].repeat(20) {
        let mut conn = server.connect();
        conn.send(&post(&vec![b'a'; size]));
        conn.half_close();
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.body.len()), (200, size));
        conn.assert_closed();
    }
}

fn post_expecting(length: usize, expectation: &str) -> Vec<u8> {
    let fields = format!("Expect: {expectation}\r\nContent-Length: {length}\r\n");
    super::echo(&fields, "").into_bytes()
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(&post_expecting(5, "100-continue"));
    assert_eq!(conn.read_response().status, 100);
    conn.send(b"hello");
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    conn.assert_serves();
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(&post_expecting(2 << 20, "100-continue"));
    assert_problem(&conn.read_response(), 413, "BODY_TOO_LARGE");
    server.assert_refused_once("body_too_large");
}

#[test]
fn an_unknown_expectation_on_a_body_is_refused_and_its_body_is_not_a_request() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let body = get("/badge/smuggled/in.svg");
    conn.send(&[post_expecting(body.len(), "200-ok"), body].concat());
    assert_problem(&conn.read_response(), 417, "EXPECTATION_FAILED");
    // Kept or closed: whichever, the body was not answered.
    if conn.try_send(&get("/badge/next/one.svg")).is_ok()
        && let Ok(next) = conn.try_read_response(PATIENCE)
    {
        assert!(next.status == 200 && next.text().contains("next"), "{next:?}");
    }
    server.assert_refused_once("expectation_failed");
}

#[test]
fn a_refused_method_names_those_that_are_allowed() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(b"TRACE / HTTP/1.1\r\nHost: nessen.test\r\n\r\n");
    let answer = conn.read_response();
    assert_problem(&answer, 405, "METHOD_NOT_ALLOWED");
    let mut allowed: Vec<_> = answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
    conn.assert_serves();
    server.assert_refused_once("method_not_allowed");
}

#[test]
fn a_head_request_is_answered_like_a_get_without_its_body() {
    let server = Server::start(&[]);
    let mut conn: Conn = server.connect();
    for path in
        ["/", "/badge/a/b.svg", "/health", "/ready", "/metrics", "/version", "/api/health", "/nowhere"]
    {
        conn.send(&get(path));
        let full = conn.read_response();
        conn.send(format!("HEAD {path} HTTP/1.1\r\nHost: nessen.test\r\n\r\n").as_bytes());
        let head = conn.read_head_response();
        assert_eq!(
            (head.status, head.header("content-type")),
            (full.status, full.header("content-type")),
            "{path}"
        );
        // Nothing of a body came: the next answer begins where it should.
        conn.assert_serves();
    }
}
