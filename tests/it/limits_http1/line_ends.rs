//! Line ends between requests are no request, and no use of the connection either.

use std::time::{Duration, Instant};

use crate::support::http1::{End, NoResponse, get};
use crate::support::server::Server;

fn server() -> Server {
    Server::start(&[("HEADERS_TIMEOUT", "300"), ("IDLE_TIMEOUT", "2s"), ("LOG_LEVEL", "debug")])
}

/// A GET with this many line ends too many.
fn with_extra(count: usize) -> Vec<u8> {
    [get("/badge/a/b.svg"), b"\r\n".repeat(count)].concat()
}

#[test]
fn a_line_end_too_many_is_no_head_that_is_late() {
    let server = server();
    for count in [1, 2, 10] {
        let mut conn = server.connect();
        let began = Instant::now();
        conn.send(&with_extra(count));
        assert_eq!(conn.read_response().status, 200);
        conn.assert_closed();
        let after = began.elapsed();
        assert!(after > Duration::from_millis(1500), "{count} line ends, closed after {after:?}");
        assert!(after < Duration::from_secs(6), "{count} line ends, closed after {after:?}");
    }
    server.assert_refused("idle", 3);
}

#[test]
fn line_ends_that_drip_are_no_head_that_is_late() {
    let server = server();
    let mut conn = server.connect();
    let began = Instant::now();
    conn.assert_serves();
    // Bytes that come after the close are answered by a reset.
    let end = loop {
        let _ = conn.try_send(b"\r\n");
        match conn.try_read_response(Duration::from_millis(100)) {
            Err(NoResponse::Ended(End::Open, rest)) if rest.is_empty() => {}
            Err(NoResponse::Ended(end, rest)) if rest.is_empty() => break end,
            other => panic!("after {:?}: {other:?}", began.elapsed()),
        }
        assert!(began.elapsed() < Duration::from_secs(8), "line ends keep an idle connection open");
    };
    let after = began.elapsed();
    assert!(after > Duration::from_millis(1500), "{end:?} after {after:?}");
    server.assert_refused_once("idle");
}

#[test]
fn a_request_behind_line_ends_is_answered() {
    let server = Server::start(&[("HEADERS_TIMEOUT", "300")]);
    let mut conn = server.connect();
    for (count, cut) in [(1, false), (3, false), (1, true), (2, true)] {
        // In one write with the request before, or by themselves a little later.
        conn.send(&with_extra(if cut { 0 } else { count }));
        assert_eq!(conn.read_response().status, 200);
        if cut {
            conn.send(&b"\r\n".repeat(count));
        }
        // Longer than a head may take.
        conn.assert_quiet_for(Duration::from_millis(600));
        conn.assert_serves();
    }
}

#[test]
fn half_a_head_behind_line_ends_is_still_cut_off() {
    let server = server();
    let mut conn = server.connect();
    conn.send(&with_extra(1));
    assert_eq!(conn.read_response().status, 200);
    conn.send(b"\r\nGET /zqx HTTP/1.1\r\n");
    let began = Instant::now();
    let answer = conn.read_response();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    conn.assert_closed();
    server.assert_refused_once("headers_timeout");
}
