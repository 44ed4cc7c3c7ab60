//! Rate limits that several processes share in a real Redis, and what becomes of them without it.

mod failure;
mod hostile;
mod settings;
mod sharing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::http1::{Conn, get};
use crate::support::redis::Redis;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// So long that a busy machine does not make a test of something else.
const PATIENT: (&str, &str) = ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "5s");

/// A server that shares its limits there. `more` comes on top.
#[track_caller]
fn sharing(redis: &Redis, more: &[(&str, &str)]) -> Server {
    sharing_at(&redis.url(), more)
}

#[track_caller]
fn sharing_at(url: &str, more: &[(&str, &str)]) -> Server {
    Server::start(&[&[("RATE_LIMIT_BACKEND", "redis"), ("REDIS_URL", url)], more].concat())
}

/// A metric's value.
#[track_caller]
fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.metrics();
    metrics.get(name).copied().unwrap_or_else(|| panic!("no {name}"))
}

/// Errors of this kind.
#[track_caller]
fn errors(server: &Server, kind: &str) -> f64 {
    metric(server, &format!("nessen_rate_limit_backend_errors_total{{kind=\"{kind}\"}}"))
}

#[track_caller]
fn fallbacks(server: &Server) -> f64 {
    metric(server, "nessen_rate_limit_fallback_total")
}

#[track_caller]
fn questions(server: &Server) -> f64 {
    metric(server, "nessen_rate_limit_backend_questions_total")
}

/// Waits until Redis is asked, or is not.
#[track_caller]
fn await_up(server: &Server, up: bool) {
    let (what, value) = if up { ("Redis is asked", 1.0) } else { ("Redis is not asked", 0.0) };
    assert_eventually(PATIENCE, what, || metric(server, "nessen_rate_limit_backend_up") == value);
}

fn status(conn: &mut Conn) -> u16 {
    conn.send(&get("/badge/a/b.svg"));
    conn.read_response().status
}

/// What a client has seen that went on for a while.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, usize>,
    slowest: Duration,
}

/// Asks on one connection until `over`, with a pause in between.
fn go_on(server: &Server, over: &AtomicBool, pause: Duration) -> Seen {
    let mut conn = server.connect();
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        *seen.statuses.entry(status(&mut conn)).or_default() += 1;
        seen.slowest = seen.slowest.max(begun.elapsed());
        std::thread::sleep(pause);
    }
    seen
}
