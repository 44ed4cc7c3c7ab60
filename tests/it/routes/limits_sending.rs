//! Limits of one route on clients that do not take their answer: over HTTP/1 by connection, over
//! HTTP/2 by stream.

use std::time::{Duration, Instant};

use super::serve;
use crate::support::folder::Folder;
use crate::support::http1::{Conn, End, get};
use crate::support::http2::{self, H2};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// More than the buffers of both kernels hold.
const LARGE: usize = 24 << 20;

/// The same large file under a route with these lines, and one without.
fn start(folder: &Folder, lines: &str) -> Server {
    folder.write("public/large", vec![b'x'; LARGE]);
    let table = format!(
        "[[route]]\npath = '/'\nroot = '$/public'\n[[route]]\npath = '/quick'\nroot = '$/public'\n{lines}\n"
    );
    serve(folder, &table, &[])
}

/// Whether the connection still holds bytes of an answer that has not been broken off.
#[track_caller]
fn assert_goes_on(mut conn: Conn) {
    let answer = conn.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, LARGE));
}

#[test]
fn write_timeout_of_a_route() {
    let folder = Folder::new();
    let server = start(&folder, "write_timeout = '300ms'");
    let mut patient = Conn::open_narrow(server.address);
    patient.send(&get("/large"));
    let mut slow = Conn::open_narrow(server.address);
    slow.send(&get("/quick/large"));
    server.assert_refused_once("slow_reader");
    let (bytes, end) = slow.read_to_end(PATIENCE);
    assert!(end == End::Reset && bytes.len() < LARGE, "{end:?} after {}", bytes.len());
    assert_goes_on(patient);
}

#[test]
fn write_timeout_of_a_route_over_http2_resets_its_streams_alone() {
    let folder = Folder::new();
    let server = start(&folder, "write_timeout = '300ms'");
    let mut h2 = H2::open(server.address);
    // No window is opened for either of them.
    h2.polite = false;
    h2.send(&[http2::get(1, "/large"), http2::get(3, "/quick/large")].concat());
    h2.pump_until("a reset", |h2| h2.answers.get(&3).is_some_and(|answer| answer.reset.is_some()));
    assert!(h2.answers[&1].reset.is_none(), "{}", h2.state());
    server.assert_refused_once("slow_reader");
    h2.send(&[http2::window_update(0, 1 << 20), http2::window_update(1, 100_000)].concat());
    h2.pump_until("more of the other", |h2| h2.answers[&1].body.len() > 66_000);
}

#[test]
fn min_send_rate_of_a_route() {
    let folder = Folder::new();
    let server = start(&folder, "min_send_rate = '16MiB/s after 500ms'\nwrite_timeout = '60s'");
    let mut patient = Conn::open_narrow(server.address);
    patient.send(&get("/large"));
    let mut slow = Conn::open_narrow(server.address);
    slow.send(&get("/quick/large"));
    let deadline = Instant::now() + PATIENCE;
    while slow.sip(2000).is_ok() {
        assert!(Instant::now() < deadline, "the sips were endured");
        pause(10);
    }
    server.assert_refused_once("slow_reader");
    assert_goes_on(patient);
}

#[test]
fn min_send_rate_of_a_route_over_http2() {
    let folder = Folder::new();
    let server = start(&folder, "min_send_rate = '1MiB/s after 300ms'\nwrite_timeout = '60s'");
    let mut h2 = H2::open(server.address);
    h2.polite = false;
    h2.send(
        &[http2::get(1, "/large"), http2::get(3, "/quick/large"), http2::window_update(0, 1 << 30)].concat(),
    );
    let deadline = Instant::now() + PATIENCE;
    while h2.answers.get(&3).is_none_or(|answer| answer.reset.is_none()) {
        assert!(Instant::now() < deadline, "the drip was endured; {}", h2.state());
        h2.try_send(&[http2::window_update(1, 100), http2::window_update(3, 100)].concat());
        h2.pump_for(Duration::from_millis(20));
    }
    assert!(h2.answers[&1].reset.is_none(), "{}", h2.state());
    assert_eventually(PATIENCE, "one slow reader", || server.rejections("slow_reader") == 1.0);
}
