//! Memory and places run short: who waits makes room, no client has everything, and probes are answered.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::support::http1::{Conn, End, get, post_head};
use crate::support::http2::{self, H2};
use crate::support::problem::assert_problem;
use crate::support::server::{Server, rejections};
use crate::support::{PATIENCE, assert_eventually, pause};

/// 2.5 MiB for probes, and 5.5 MiB for the rest: 70 connections at work.
const SMALL: (&str, &str) = ("MEMORY_BUDGET", "8MiB");
const AT_WORK: usize = 70;
/// At work, they leave nothing to who comes next: what waits may fill 15/16.
const FULL: usize = 66;
/// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2).
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Longer than a connection has to be idle before it can be spared.
const IDLE: u64 = 700;
/// Longer than it is before it gives its buffers back.
const PARKED: u64 = 300;

/// A request whose body is to be asked for (RFC 9110 section 10.1.1), and never comes.
const ASKS_FIRST: &[u8] =
    b"POST /echo HTTP/1.1\r\nHost: nessen.test\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";

fn neighbour(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

/// A POST whose body does not get on.
fn stalled(server: &Server, from: IpAddr) -> Conn {
    let mut conn = Conn::open_from(from, server.address);
    let _ = conn.try_send(&[post_head(10), b"hello".to_vec()].concat());
    conn
}

/// Those of `connections` that nobody has closed or answered yet.
fn count_open(connections: &mut [Conn]) -> usize {
    let open = |conn: &mut Conn| conn.read_to_end(Duration::from_millis(1));
    connections.iter_mut().map(open).filter(|(read, end)| read.is_empty() && *end == End::Open).count()
}

fn metric(server: &Server, name: &str) -> f64 {
    server.metrics()[name]
}

#[test]
fn a_slow_head_holds_what_it_has_sent() {
    let server = Server::start(&[("MAX_CONNECTIONS_PER_IP", "off")]);
    let mut slow: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
    for conn in &mut slow {
        conn.send(b"GET / HTTP/1.1\r\nHost: a");
    }
    // 8 KiB for each of those, and 80 for the one that asks.
    assert_eventually(PATIENCE, "a hundred connections in the account", || {
        metric(&server, "nessen_memory_used_bytes") >= f64::from(100 * 8 * 1024)
    });
    let used = metric(&server, "nessen_memory_used_bytes");
    assert!(used <= f64::from(100 * 8 * 1024 + 4 * 80 * 1024), "{used}");
    for conn in &mut slow {
        conn.send(b"\r\n\r\n");
        assert_eq!(conn.read_response().status, 200);
    }
}

#[test]
fn idle_connections_make_room_for_work_before_anybody_is_refused() {
    let server = Server::start(&[
        SMALL,
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("MAX_CONNECTIONS", "300"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "off"),
    ]);
    // More than can be at work at a time, so not all at once: those that were served wait after a moment, and
    // those that are silent would have to make room.
    let mut idle: Vec<Conn> = Vec::new();
    for _ in 0..5 {
        let mut served: Vec<Conn> = (0..40).map(|_| server.connect()).collect();
        served.iter_mut().for_each(Conn::assert_serves);
        idle.append(&mut served);
        pause(PARKED);
    }
    pause(IDLE - PARKED);
    // What waits takes 1.6 MiB, and these all but what is left of three quarters.
    let mut busy: Vec<Conn> = (0..40).map(|_| stalled(&server, neighbour(1))).collect();
    assert_eventually(PATIENCE, "the idle to make room", || count_open(&mut idle) <= 140);
    assert!(metric(&server, "nessen_connections_evicted_total") >= 60.0);
    // They were spared one by one, longest idle first, and not all of them.
    let mut open = |conn: &mut Conn| count_open(std::slice::from_mut(conn)) == 1;
    let open: Vec<bool> = idle.iter_mut().rev().map(&mut open).collect();
    let left = open.iter().take_while(|open| **open).count();
    assert!(left > 0 && !open[left..].contains(&true), "{left} of {open:?}");
    assert_eq!(count_open(&mut busy), 40);
    assert_eq!(server.rejections("overloaded"), 0.0);
}

#[test]
fn clients_that_are_waited_for_make_room() {
    let server = Server::start(&[
        SMALL,
        ("MAX_CONNECTIONS", "300"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "500 B/s after 15s"),
        ("BODY_TIMEOUT", "30s"),
    ]);
    let began = Instant::now();
    let mut stalled: Vec<Conn> = (0..62).map(|_| stalled(&server, neighbour(2))).collect();
    assert_eventually(PATIENCE, "the stalled to be given up", || count_open(&mut stalled) <= AT_WORK * 3 / 4);
    // Calm, they have 15 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eventually(PATIENCE, "a line for each", || server.reason_lines("body_too_slow") >= 10);
    let mut newcomer = Conn::open_from(neighbour(9), server.address);
    newcomer.assert_serves();
    assert!(metric(&server, "nessen_connections_evicted_total") >= 10.0);
}

#[test]
fn those_who_have_their_answer_make_room_before_others() {
    let server = Server::start(&[
        SMALL,
        ("MAX_CONNECTIONS", "300"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("MAX_BODY_SIZE", "1KiB"),
    ]);
    // Refused at once, they may go on sending for a while.
    let mut refused: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
    for conn in &mut refused {
        conn.send(&post_head(2 << 10));
        assert_eq!(conn.read_head_response().status, 413);
    }
    // Less than they may linger, and longer than they are spared.
    pause(PARKED + 100);
    let mut busy: Vec<Conn> = (0..45).map(|_| stalled(&server, neighbour(2))).collect();
    assert_eventually(PATIENCE, "room", || metric(&server, "nessen_connections_evicted_total") >= 1.0);
    assert_eq!(count_open(&mut busy), 45);
}

#[test]
fn an_upload_that_gets_on_is_not_given_up() {
    let server = Server::start(&[SMALL, ("MAX_CONNECTIONS", "300"), ("MAX_CONNECTIONS_PER_IP", "off")]);
    // More than three quarters of the memory, and less than what leaves no room for a body.
    let mut stalled: Vec<Conn> = (0..54).map(|_| stalled(&server, neighbour(2))).collect();
    let mut upload = server.connect();
    upload.send(&post_head(300 << 10));
    // 20 KiB a second, until others are given up and for two seconds more.
    let (mut sent, mut steps, mut given_up) = (0, 0, 0);
    while steps < given_up + 20 {
        upload.send(&[b'a'; 2 << 10]);
        sent += 2 << 10;
        steps += 1;
        assert!(steps < 140, "nobody was given up");
        if given_up == 0 && count_open(&mut stalled) == 54 {
            continue;
        }
        given_up = if given_up == 0 { steps } else { given_up };
        pause(100);
    }
    upload.send(&vec![b'a'; (300 << 10) - sent]);
    assert_eq!(upload.read_response().status, 200);
}

#[test]
fn where_the_rate_is_off_nobody_is_given_up_for_it() {
    let server = Server::start(&[
        SMALL,
        ("MAX_CONNECTIONS", "300"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "off"),
    ]);
    let mut stalled: Vec<Conn> = (0..60).map(|_| stalled(&server, neighbour(2))).collect();
    // Three looks at least, each a second after the last.
    pause(3500);
    assert_eq!(count_open(&mut stalled), 60);
}

#[test]
fn one_client_leaves_memory_for_the_next() {
    let server = Server::start(&[SMALL, ("MAX_CONNECTIONS", "300"), ("NESSEN_LIMITS_MIN_BODY_RATE", "off")]);
    let mut greedy: Vec<Conn> = (0..60).map(|_| stalled(&server, neighbour(2))).collect();
    assert_eventually(PATIENCE, "all of them judged", || {
        let metrics = server.metrics();
        metrics["http_requests_active"] - 1.0 + rejections(&metrics, "overloaded") >= 60.0
    });
    let mut refused = 0;
    for conn in &mut greedy {
        if let Ok(answer) = conn.try_read_response(Duration::from_millis(20)) {
            assert_problem(&answer, 503, "OVERLOADED");
            assert_eq!(answer.json()["limit"], "limits.memory");
            assert!(answer.json()["detail"].as_str().unwrap().contains("this client"), "{}", answer.text());
            refused += 1;
        }
    }
    // Half is its part; and what waits counts too.
    assert!((60 - AT_WORK / 2..60 - AT_WORK / 4).contains(&refused), "{refused}");
    let mut other: Vec<Conn> = (0..10).map(|_| Conn::open_from(neighbour(3), server.address)).collect();
    for conn in &mut other {
        conn.assert_serves();
    }
    // It may have again what it gives back.
    greedy.truncate(10);
    assert_eventually(PATIENCE, "the greedy to be served again", || {
        let mut conn = Conn::open_from(neighbour(2), server.address);
        conn.send(&get("/health"));
        conn.try_read_response(PATIENCE).is_ok_and(|answer| answer.status == 200)
    });
}

/// A server whose memory is in use, by connections that get nowhere.
fn full() -> (Server, Vec<Conn>) {
    let server = Server::start(&[
        SMALL,
        ("MAX_CONNECTIONS", "300"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "off"),
    ]);
    // One by one: who waits for long would be let go, and who is asked for its body is at work.
    let began = Instant::now();
    let mut held = Vec::new();
    while held.len() < FULL {
        assert!(began.elapsed() < PATIENCE, "{} at work", held.len());
        let mut conn = Conn::open_from(neighbour(2), server.address);
        let _ = conn.try_send(ASKS_FIRST);
        // Refused where one that has ended is still in the account, and let go where this one waited for long.
        if conn.try_read_response(PATIENCE).is_ok_and(|answer| answer.status == 100) {
            held.push(conn);
        }
    }
    (server, held)
}

#[test]
fn without_memory_probes_are_answered_and_others_told_why() {
    let (server, mut held) = full();
    for _ in 0..3 {
        assert_eq!(server.get("/health").status, 200);
        assert_eq!(server.get("/ready").status, 200);
        let refused = server.get("/");
        assert_problem(&refused, 503, "OVERLOADED");
        assert_eq!(refused.json()["limit"], "limits.memory");
        assert!(refused.says_close());
    }
    let mut h2 = H2::open(server.address);
    h2.send(&[http2::get(1, "/health"), http2::get(3, "/")].concat());
    h2.pump_until("the server's settings", |h2| !h2.settings.is_empty());
    // Streams of such a connection are paid for with it, and few.
    assert_eq!(h2.settings.get(&MAX_CONCURRENT_STREAMS), Some(&4));
    assert_eq!(h2.answer(1).status, Some(200), "{}", h2.state());
    assert_eq!(h2.answer(3).status, Some(503), "{}", h2.state());
    // Nobody had to go for that. Room again, and all are served.
    assert_eq!(count_open(&mut held), FULL);
    drop(held);
    assert_eventually(PATIENCE, "everybody to be served", || server.get("/").status == 200);
}

#[test]
fn the_places_of_probes_are_not_for_those_who_wait() {
    let (server, _held) = full();
    // One that asks nothing over HTTP/2 is gone in a moment, not in `limits.headers_timeout`.
    let began = Instant::now();
    let mut h2 = H2::open(server.address);
    h2.pump_to_end();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    // And the oldest makes room for the newest, and is told what there is too little of.
    let mut waiting: Vec<Conn> = (0..40).map(|_| server.connect()).collect();
    let first = waiting[0].read_response();
    assert_problem(&first, 503, "OVERLOADED");
    assert_eq!(first.json()["limit"], "limits.memory");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn one_client_leaves_places_for_the_next() {
    let server = Server::start(&[("MAX_IN_FLIGHT", "16"), ("NESSEN_LIMITS_MIN_BODY_RATE", "off")]);
    let mut greedy: Vec<Conn> = (0..20).map(|_| stalled(&server, neighbour(2))).collect();
    // Half of them, and half of the rest.
    assert_eventually(PATIENCE, "the rest to be refused", || count_open(&mut greedy) == 12);
    let mut other: Vec<Conn> = (0..2).map(|_| stalled(&server, neighbour(3))).collect();
    let mut third = Conn::open_from(neighbour(4), server.address);
    third.assert_serves();
    assert_eq!(count_open(&mut other), 2);
    for conn in &mut other {
        conn.send(b"world");
        assert_eq!(conn.read_response().status, 200);
    }
}

#[test]
fn who_was_let_go_for_being_slow_comes_after_others() {
    let server = Server::start(&[SMALL, ("MAX_CONNECTIONS", "300")]);
    // Of these only, one from each, some have to go.
    let crowd = 10..10 + u8::try_from(AT_WORK).unwrap() - 10;
    let mut slow: Vec<(u8, Conn)> =
        crowd.map(|number| (number, stalled(&server, neighbour(number)))).collect();
    let mut gone = None;
    assert_eventually(PATIENCE, "one to be let go", || {
        gone = slow
            .iter_mut()
            .find_map(|(number, conn)| (count_open(std::slice::from_mut(conn)) == 0).then_some(*number));
        gone.is_some()
    });
    let ask = |number| {
        let mut conn = Conn::open_from(neighbour(number), server.address);
        conn.send(&get("/"));
        conn.read_response()
    };
    let refused = ask(gone.unwrap());
    assert_problem(&refused, 503, "OVERLOADED");
    assert_eq!(ask(9).status, 200);
    // With room for everybody, nothing is held against it.
    drop(slow);
    assert_eventually(PATIENCE, "it to be served", || ask(gone.unwrap()).status == 200);
}
