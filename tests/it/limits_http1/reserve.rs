//! Probes are answered while a crowd holds every place and goes on coming.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::busy;
use crate::support::http1::{Conn, get};
use crate::support::server::Server;
use crate::support::{PATIENCE, pause};

const CHURN: Duration = Duration::from_secs(3);

/// Sixteen more connections every 100 ms, each left with `word` and held; meanwhile a probe every
/// 100 ms on a connection of its own. Returns the answers' statuses, and what kept one from coming.
fn probe_in_a_churn(server: &Server, word: &[u8]) -> Vec<Result<u16, String>> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut crowd: Vec<Conn> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for _ in 0..16 {
                    if let Ok(mut conn) = Conn::try_open(server.address) {
                        let _ = conn.try_send(word);
                        crowd.push(conn);
                    }
                }
                pause(100);
            }
        });
        // Until the crowd is there.
        pause(400);
        let began = Instant::now();
        let mut answers = Vec::new();
        while began.elapsed() < CHURN {
            let answer =
                Conn::try_open(server.address).map_err(|error| error.to_string()).and_then(|mut conn| {
                    conn.try_send(&get("/health")).map_err(|error| error.to_string())?;
                    let answer = conn.try_read_response(PATIENCE).map_err(|none| format!("{none:?}"))?;
                    Ok(answer.status)
                });
            answers.push(answer);
            pause(100);
        }
        over.store(true, Ordering::Relaxed);
        answers
    })
}

#[track_caller]
fn assert_all_answered(word: &[u8]) {
    let server = Server::start(&[
        ("MAX_CONNECTIONS", "10"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "off"),
    ]);
    let mut held = busy(&server, 10);
    let answers = probe_in_a_churn(&server, word);
    let lost: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| !matches!(answer, Ok(200))).collect();
    assert!(lost.is_empty(), "{} of {} probes lost: {lost:?}", lost.len(), answers.len());
    assert!(answers.len() >= 5, "only {} probes", answers.len());
    for conn in &mut held {
        conn.send(b"world");
        assert_eq!(conn.read_response().status, 200);
    }
}

#[test]
fn probes_are_answered_while_a_silent_crowd_keeps_coming() {
    assert_all_answered(b"");
}

#[test]
fn probes_are_answered_while_a_crowd_announces_bodies_and_sends_none() {
    assert_all_answered(b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: 1000000\r\n\r\n");
}

#[test]
fn probes_are_answered_while_a_crowd_announces_bodies_to_probes_and_sends_none() {
    assert_all_answered(b"POST /health HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: 1000000\r\n\r\n");
}

#[test]
fn probes_are_answered_while_a_crowd_begins_heads_and_ends_none() {
    assert_all_answered(b"GET /health HTTP/1.1\r\nHost: nes");
}
