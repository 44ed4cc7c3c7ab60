//! `limits.memory`: what bodies may hold all together.

use crate::support::http1::{Conn, Response, chunked, post, post_head};
use crate::support::http2::{DATA, END_STREAM, H2, frame, request};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const BODY: usize = 64 << 10;
/// What a held upload has sent.
const SENT: usize = 60 << 10;
/// Three held uploads leave 12 KiB of the account: room for none of these.
const SMALL: usize = 13 << 10;

/// 32 connections of 80 KiB, 32 requests of 152 KiB, and three bodies of 64 KiB.
fn server() -> Server {
    Server::start(&[
        ("MAX_CONNECTIONS", "32"),
        ("MAX_IN_FLIGHT", "32"),
        ("MAX_BODY_SIZE", "64KiB"),
        ("MEMORY_BUDGET", "7616KiB"),
        ("NESSEN_HTTP2_STREAM_WINDOW", "64KiB"),
        ("NESSEN_HTTP2_SEND_BUFFER", "64KiB"),
        ("MAX_HEADER_SIZE", "16KiB"),
        ("MAX_URL_LENGTH", "8KiB"),
    ])
}

/// An upload of which a little is missing.
fn hold(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&[post_head(BODY), vec![b'a'; SENT]].concat());
    conn
}

fn small(server: &Server) -> Response {
    let mut conn = server.connect();
    conn.send(&post(&[b'a'; SMALL]));
    conn.read_response()
}

/// Tries until the account is full, and returns the refusal that said so.
#[track_caller]
fn refused(server: &Server) -> Response {
    let mut refusal = None;
    // What was sent may still be on its way.
    assert_eventually(PATIENCE, "a refusal", || {
        let answer = small(server);
        let full = answer.status != 200;
        refusal = full.then_some(answer);
        full
    });
    refusal.unwrap()
}

#[track_caller]
fn finish(conn: &mut Conn) {
    conn.send(&[b'a'; BODY - SENT]);
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, BODY), "{answer:?}");
}

#[test]
fn bodies_over_the_memory_for_all_of_them_are_refused() {
    let server = server();
    let mut held = [hold(&server), hold(&server), hold(&server)];
    let refusal = refused(&server);
    assert_problem(&refusal, 503, "OVERLOADED");
    assert_eq!(refusal.json()["limit"], "limits.memory");
    let after: u64 = refusal.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!(after >= 1, "{after}");
    server.assert_refused_once("overloaded");
    // Those who have no body are served, and those who were there first are finished.
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    for conn in &mut held {
        finish(conn);
    }
    assert_eq!(small(&server).status, 200);
    server.assert_refused_once("overloaded");
}

#[test]
fn the_memory_of_a_body_is_given_back_however_it_ends() {
    let server = server();
    for round in 1..=6 {
        let mut held = [hold(&server), hold(&server), hold(&server)];
        let refusal = refused(&server);
        assert_eq!(refusal.json()["limit"], "limits.memory", "round {round}");
        server.assert_refused("overloaded", round);
        if round % 2 == 1 {
            for conn in &mut held {
                finish(conn);
            }
        }
        drop(held);
        assert_eventually(PATIENCE, "all uploads over", || server.requests_active() <= 0.0);
    }
}

#[test]
fn a_chunked_body_over_the_memory_for_all_is_refused_where_it_gets_there() {
    let server = server();
    let _held = [hold(&server), hold(&server), hold(&server)];
    refused(&server);
    let mut conn = server.connect();
    conn.send(chunked("").as_bytes());
    // Eight kilobytes have room, and the next eight have not.
    for _ in 0..2 {
        let _ = conn.try_send(&[b"2000\r\n".as_slice(), &[b'a'; 8 << 10], b"\r\n"].concat());
    }
    let answer = conn.read_response();
    assert_problem(&answer, 503, "OVERLOADED");
    assert_eq!(answer.json()["limit"], "limits.memory");
    server.assert_refused("overloaded", 2);
}

#[test]
fn bodies_of_streams_are_in_the_same_account() {
    let server = server();
    let mut h2 = H2::open(server.address);
    let part = |stream: u32, bytes: usize| -> Vec<u8> {
        (0..bytes / 4096).flat_map(|_| frame(DATA, 0, stream, &[b'a'; 4096])).collect()
    };
    // Windows are 64 KiB at first, that of the connection too: one upload here, two on sockets.
    h2.send(&[request(1, "POST", "/echo", &[], false), part(1, SENT)].concat());
    let mut held = [hold(&server), hold(&server)];
    refused(&server);
    server.assert_refused_once("overloaded");
    h2.send(&frame(DATA, END_STREAM, 1, b"end"));
    let answer = h2.answer(1);
    assert_eq!((answer.status, answer.body.len()), (Some(200), SENT + 3));
    for conn in &mut held {
        finish(conn);
    }
}
