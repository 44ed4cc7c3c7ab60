//! `limits.memory`: what bodies may hold all together.

use crate::support::http1::{Conn, Response, chunked, post, post_head};
use crate::support::http2::{H2, request};
use crate::support::problem::{assert_document, assert_problem};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const BODY: usize = 4 << 20;
/// What a held upload has sent.
const SENT: usize = 3840 << 10;
/// Three held uploads leave about 2 MiB for bodies, less what their connections and this one's take: no
/// room for this.
const SMALL: usize = 3 << 20;

/// 2.5 MiB for probes, and 21.3 MiB for the rest, of which bodies have 18.7; each takes half of its size besides.
fn server() -> Server {
    Server::start(&[
        ("MAX_CONNECTIONS", "32"),
        // All come from one address, and none is to be given up for another.
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "off"),
        ("NESSEN_LIMITS_MIN_SEND_RATE", "off"),
        ("MAX_BODY_SIZE", "4MiB"),
        ("MEMORY_BUDGET", "24405KiB"),
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

/// An account that is full.
struct Full {
    held: Vec<Conn>,
    /// The answer to what found no room.
    refusal: Response,
    /// How many were refused in all.
    refusals: usize,
}

/// Holds three uploads, and sees a small one refused.
#[track_caller]
fn fill(server: &Server) -> Full {
    let used = || server.metrics()["nessen_memory_used_bytes"];
    assert_eventually(PATIENCE, "an empty account", || used() < (1 << 20) as f64);
    let held: Vec<Conn> = (0..3).map(|_| hold(server)).collect();
    assert_eventually(PATIENCE, "three uploads in it", || used() >= (3 * (SENT + SENT / 2)) as f64);
    Full { held, refusal: small(server), refusals: 1 }
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
    let Full { mut held, refusal, refusals } = fill(&server);
    assert_problem(&refusal, 503, "OVERLOADED");
    assert_eq!(refusal.json()["limit"], "limits.memory");
    let after: u64 = refusal.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!(after >= 1, "{after}");
    server.assert_refused("overloaded", refusals);
    // Those who have no body are served, and those who were there first are finished.
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    for conn in &mut held {
        finish(conn);
    }
    assert_eq!(small(&server).status, 200);
    server.assert_refused("overloaded", refusals);
}

#[test]
fn the_memory_of_a_body_is_given_back_however_it_ends() {
    let server = server();
    let mut refusals = 0;
    for round in 1..=6 {
        let mut full = fill(&server);
        assert_eq!(full.refusal.json()["limit"], "limits.memory", "round {round}");
        refusals += full.refusals;
        if round % 2 == 1 {
            for conn in &mut full.held {
                finish(conn);
            }
        }
        drop(full);
        assert_eventually(PATIENCE, "all uploads over", || server.requests_active() <= 0.0);
    }
    // Those that were given up half are counted too, for another reason.
    assert_eq!(server.rejections("overloaded"), refusals as f64);
    let lines = || server.reason_lines("overloaded") == refusals;
    assert_eventually(PATIENCE, "a line in the log for each", lines);
}

#[test]
fn a_chunked_body_over_the_memory_for_all_is_refused_where_it_gets_there() {
    let server = server();
    let full = fill(&server);
    let mut conn = server.connect();
    conn.send(chunked("").as_bytes());
    // A megabyte has room, and the next two have not.
    for _ in 0..3 {
        let _ = conn.try_send(&[b"100000\r\n".as_slice(), &[b'a'; 1 << 20], b"\r\n"].concat());
    }
    let answer = conn.read_response();
    assert_problem(&answer, 503, "OVERLOADED");
    assert_eq!(answer.json()["limit"], "limits.memory");
    server.assert_refused("overloaded", full.refusals + 1);
}

#[test]
fn bodies_of_streams_are_in_the_same_account() {
    let server = server();
    let mut full = fill(&server);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.upload(1, SMALL);
    let answer = h2.answer(1);
    assert_eq!(answer.status, Some(503), "{}", h2.state());
    assert_document(&answer.body, 503, "OVERLOADED");
    server.assert_refused("overloaded", full.refusals + 1);
    for conn in &mut full.held {
        finish(conn);
    }
    h2.send(&request(3, "POST", "/echo", &[], false));
    h2.upload(3, SMALL);
    let answer = h2.answer(3);
    assert_eq!((answer.status, answer.body.len()), (Some(200), SMALL), "{}", h2.state());
}
