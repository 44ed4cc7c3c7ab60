//! Refusals that come while the client is still sending must reach it.

use std::io::Write;

use crate::support::PATIENCE;
use crate::support::http1::{Conn, End, post_head};
use crate::support::problem::assert_problem;
use crate::support::server::Server;

/// Sends `count` bytes in a thread, while the answer is read; then how the connection ended.
fn refuse_upload(conn: &mut Conn, count: usize, code: &str, status: u16) -> End {
    let mut writer = conn.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let block = vec![b'a'; 64 << 10];
            // Goes on until the server takes no more: that is allowed, once it has answered.
            let _ = (0..count / block.len()).try_for_each(|_| writer.write_all(&block));
        });
        assert_problem(&conn.read_response(), status, code);
        conn.read_to_end(PATIENCE).1
    })
}

#[test]
fn a_refused_upload_reads_its_refusal() {
    let server = Server::start(&[]);
    for _ in 0..10 {
        let mut conn = server.connect();
        conn.send(&post_head(10 << 20));
        refuse_upload(&mut conn, 10 << 20, "BODY_TOO_LARGE", 413);
    }
    server.assert_refused("body_too_large", 10);
}

#[test]
fn a_refused_chunked_upload_reads_its_refusal() {
    let server = Server::start(&[]);
    for _ in 0..5 {
        let mut conn = server.connect();
        conn.send(
            b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nTransfer-Encoding: chunked\r\n\r\nA00000\r\n",
        );
        refuse_upload(&mut conn, 10 << 20, "BODY_TOO_LARGE", 413);
    }
    server.assert_refused("body_too_large", 5);
}

#[test]
fn a_refused_upload_is_not_reset_for_a_little_more() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(&post_head(2 << 20));
    // What is left comes after the refusal, as from a client far away.
    assert_problem(&conn.read_response(), 413, "BODY_TOO_LARGE");
    for _ in 0..4 {
        conn.send(&[b'a'; 16 << 10]);
    }
    conn.half_close();
    assert_eq!(conn.read_to_end(PATIENCE), (vec![], End::Fin));
}

#[test]
fn an_upload_to_nowhere_reads_its_refusal() {
    let server = Server::start(&[]);
    for head in [
        "POST /nowhere HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: 1000000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
    ] {
        let mut conn = server.connect();
        conn.send(head.as_bytes());
        let (status, code) =
            if head.contains("nowhere") { (404, "NOT_FOUND") } else { (400, "INVALID_HOST") };
        refuse_upload(&mut conn, 983_040, code, status);
    }
}

#[test]
fn a_client_that_never_stops_sending_is_cut_off_in_the_end() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(&post_head(1 << 30));
    assert_problem(&conn.read_response(), 413, "BODY_TOO_LARGE");
    // A drain without a bound would take all of it.
    let block = vec![b'a'; 1 << 20];
    let taken = (0..1024).take_while(|_| conn.try_send(&block).is_ok()).count();
    assert!(taken < 1024, "the whole gigabyte was taken");
    server.assert_refused_once("body_too_large");
}
