//! A full house makes room: what is idle goes first, what is under way never does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::busy;
use crate::support::http1::{Conn, End, get};
use crate::support::http2::{H2, NO_ERROR};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// Longer than a connection has to be idle before it can be spared.
const IDLE: u64 = 700;

fn full(connections: &str, more: &[(&str, &str)]) -> Server {
    let ours = [("MAX_CONNECTIONS", connections), ("MAX_CONNECTIONS_PER_IP", "0")];
    let overridden = |name: &str| more.iter().any(|(other, _)| *other == name);
    let ours = ours.into_iter().filter(|(name, _)| !overridden(name));
    Server::start(&ours.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// A connection that was served a moment ago.
fn idle(source: IpAddr, address: SocketAddr) -> Conn {
    let mut conn = Conn::open_from(source, address);
    conn.assert_serves();
    conn
}

fn neighbour(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

fn is_closed(conn: &mut Conn) -> bool {
    conn.read_to_end(Duration::from_millis(1)).1 != End::Open
}

/// Asked on a connection that has its place: another one would need a place as well.
fn evicted_by(server: &Server, conn: &mut Conn) -> f64 {
    server.metrics_on(conn)["nessen_connections_evicted_total"]
}

#[test]
fn the_longest_idle_connection_makes_room() {
    let server = full("3", &[]);
    let mut first = idle(neighbour(1), server.address);
    pause(50);
    let (mut second, mut third) = (idle(neighbour(1), server.address), idle(neighbour(1), server.address));
    pause(IDLE);
    let mut newcomer = server.connect();
    newcomer.assert_serves();
    first.assert_closed();
    for conn in [&mut second, &mut third, &mut newcomer] {
        conn.assert_serves();
    }
    assert_eq!(evicted_by(&server, &mut newcomer), 1.0);
}

#[test]
fn a_connection_that_never_said_a_word_makes_room() {
    let server = full("3", &[]);
    let mut silent: Vec<Conn> = (0..3).map(|_| server.connect()).collect();
    pause(2 * IDLE);
    let mut newcomer = server.connect();
    newcomer.assert_serves();
    assert_eventually(PATIENCE, "one of them is closed", || silent.iter_mut().any(is_closed));
    assert_eq!(silent.iter_mut().map(is_closed).filter(|closed| *closed).count(), 1);
    assert_eq!(evicted_by(&server, &mut newcomer), 1.0);
}

/// Of which protocol it will be cannot be told from this.
#[test]
fn a_connection_that_stopped_within_the_preface_makes_room() {
    for sent in ["P", "PRI * HTTP/2.0\r\n\r\nS"] {
        let server = full("3", &[]);
        let mut stopped: Vec<Conn> = (0..3).map(|_| server.connect()).collect();
        for conn in &mut stopped {
            conn.send(sent.as_bytes());
        }
        pause(2 * IDLE);
        let mut newcomer = server.connect();
        newcomer.assert_serves();
        assert_eventually(PATIENCE, "one of them is closed", || stopped.iter_mut().any(is_closed));
        assert_eq!(evicted_by(&server, &mut newcomer), 1.0, "{sent:?}");
    }
}

#[test]
fn requests_under_way_make_room_for_nobody() {
    let server = full("3", &[]);
    let mut held = busy(&server, 3);
    pause(IDLE);
    assert_problem(&server.get("/badge/a/b.svg"), 503, "TOO_MANY_CONNECTIONS");
    for conn in &mut held {
        conn.send(b"world");
        assert_eq!(conn.read_response().status, 200);
    }
    assert_eq!(evicted_by(&server, &mut held[0]), 0.0);
}

#[test]
fn a_head_that_is_slow_to_come_makes_room() {
    let server = full("3", &[("HEADERS_TIMEOUT", "60s")]);
    let began = Instant::now();
    let mut slow: Vec<Conn> = (0..3)
        .map(|_| {
            let mut conn = server.connect();
            conn.send(b"GET / HTTP/1.1\r\nHost: nes");
            conn
        })
        .collect();
    // Honest clients are slow at times, so at first there is no room.
    let first = server.get("/badge/a/b.svg");
    if began.elapsed() < Duration::from_millis(300) {
        assert_problem(&first, 503, "TOO_MANY_CONNECTIONS");
    }
    assert_eventually(PATIENCE, "room", || server.get("/badge/a/b.svg").status == 200);
    assert_eventually(PATIENCE, "one of them is closed", || slow.iter_mut().any(is_closed));
}

#[test]
fn the_client_with_most_connections_gives_one_up() {
    let server = full("4", &[("MAX_CONNECTIONS_PER_IP", "3")]);
    let mut alone = idle(neighbour(2), server.address);
    pause(50);
    let mut many: Vec<Conn> = (0..3).map(|_| idle(neighbour(1), server.address)).collect();
    pause(IDLE);
    idle(neighbour(3), server.address);
    many[0].assert_closed();
    // It has been idle for longer, and stays.
    alone.assert_serves();
}

#[test]
fn an_idle_http2_connection_makes_room_with_a_goodbye() {
    let server = full("2", &[]);
    let mut held = [H2::open(server.address), H2::open(server.address)];
    for h2 in &mut held {
        h2.assert_serves(1);
        pause(50);
    }
    pause(IDLE);
    server.connect().assert_serves();
    held[0].pump_to_end();
    assert!(held[0].goaways.iter().all(|(_, code)| *code == NO_ERROR), "{}", held[0].state());
    held[1].assert_serves(3);
}

#[test]
fn honest_clients_are_served_beside_a_crowd_that_takes_every_place() {
    let server = full("64", &[]);
    let began = Instant::now();
    let over = AtomicBool::new(false);
    let words: [&[u8]; 2] = [b"", b"GET / HTTP/1.1\r\nHost: nes"];
    let answers: Vec<u16> = std::thread::scope(|scope| {
        for (number, word) in words.into_iter().enumerate() {
            let over = &over;
            let address = server.address;
            scope.spawn(move || {
                let mut crowd = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let source = neighbour(2 + u8::try_from(number).unwrap());
                    crowd.extend((0..4).map(|_| {
                        let mut conn = Conn::open_from(source, address);
                        let _ = conn.try_send(word);
                        conn
                    }));
                    pause(100);
                }
            });
        }
        // Until the crowd has been there for longer than it is spared.
        pause(3000);
        let mut answers = Vec::new();
        while answers.len() < 40 {
            pause(50);
            let asked = Instant::now();
            let mut conn = server.connect();
            let _ = conn.try_send(&get("/badge/a/b.svg"));
            let status = conn.try_read_response(PATIENCE).map_or(0, |answer| answer.status);
            // Where the machine stood still, the crowd that has come meanwhile is spared for as long again.
            if asked.elapsed() > Duration::from_millis(250) {
                assert!(began.elapsed() < 2 * PATIENCE, "it stands still all the time");
                pause(IDLE);
                continue;
            }
            answers.push(status);
        }
        over.store(true, Ordering::Relaxed);
        answers
    });
    let served = answers.iter().filter(|status| **status == 200).count();
    assert!(served >= 38, "{served} of {}: {answers:?}", answers.len());
}
