//! Clients that do not take their answer.

use std::time::{Duration, Instant};

use crate::support::http1::{Conn, End, post, post_head};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// More than the buffers of both kernels hold.
const LARGE: usize = 24 << 20;

fn start(env: &[(&'static str, &'static str)]) -> Server {
    let sizes = [("MAX_BODY_SIZE", "32MiB"), ("MAX_RESPONSE_SIZE", "32MiB")];
    Server::start(&[&sizes, env].concat())
}

/// Uploads a large body to `/echo` and leaves the answer where it is.
fn ask_for_much(server: &Server) -> Conn {
    let mut conn = Conn::open_narrow(server.address);
    conn.send(&post_head(LARGE));
    conn.send(&vec![b'a'; LARGE]);
    conn
}

#[test]
fn a_client_that_does_not_read_is_reset() {
    let server = start(&[("WRITE_TIMEOUT", "700")]);
    let mut conn = ask_for_much(&server);
    server.assert_refused_once("slow_reader");
    let (bytes, end) = conn.read_to_end(PATIENCE);
    assert_eq!(end, End::Reset, "after {} bytes", bytes.len());
    assert!(bytes.len() < LARGE, "the whole answer came");
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
}

#[test]
fn a_client_that_sips_is_reset() {
    // What the kernels buffer goes out at once; the rate has to be above what that looks like.
    let server = start(&[("NESSEN_LIMITS_MIN_SEND_RATE", "16MiB/s after 1s"), ("WRITE_TIMEOUT", "60s")]);
    let mut conn = ask_for_much(&server);
    let deadline = Instant::now() + PATIENCE;
    while conn.sip(2000).is_ok() {
        assert!(Instant::now() < deadline, "the sips were endured");
        pause(10);
    }
    server.assert_refused_once("slow_reader");
}

#[test]
fn a_client_that_reads_is_served_to_the_end() {
    let server = start(&[("WRITE_TIMEOUT", "3s"), ("NESSEN_LIMITS_MIN_SEND_RATE", "10000 B/s after 2s")]);
    let mut conn = ask_for_much(&server);
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, LARGE));
    conn.assert_serves();
}

#[test]
fn a_slow_answer_is_not_the_fault_of_its_reader() {
    // An idle connection, then a small answer: no clock of the send side may be running.
    let server = start(&[("WRITE_TIMEOUT", "300"), ("NESSEN_LIMITS_MIN_SEND_RATE", "1MiB/s after 200ms")]);
    let mut conn = server.connect();
    conn.assert_serves();
    conn.assert_quiet_for(Duration::from_millis(900));
    conn.send(&post_head(5));
    conn.assert_quiet_for(Duration::from_millis(900));
    conn.send(b"hello");
    assert_eq!(conn.read_response().text(), "hello");
    conn.assert_serves();
}

#[test]
fn an_answer_that_is_not_taken_holds_its_permit() {
    let server = start(&[("MAX_IN_FLIGHT", "1")]);
    let mut reader = ask_for_much(&server);
    // The answer has begun: the request is over, its answer is not.
    assert!(reader.peek(1, Instant::now() + PATIENCE).is_ok());
    let mut other = server.connect();
    other.send(&post(b"me too"));
    assert_problem(&other.read_response(), 503, "OVERLOADED");
    server.assert_refused_once("overloaded");
    assert_eq!(reader.read_response().body.len(), LARGE);
    assert_eventually(PATIENCE, "the permit back", || {
        other.send(&post(b"me too"));
        other.read_response().status == 200
    });
}
