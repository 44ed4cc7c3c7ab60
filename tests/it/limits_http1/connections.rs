//! How many connections, how many requests on each, and for how long.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::busy;
use crate::support::http1::{Conn, get};
use crate::support::problem::assert_problem;
use crate::support::server::{Server, rejections};
use crate::support::{PATIENCE, assert_eventually, pause};

const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn hold(server: &Server, count: usize) -> Vec<Conn> {
    let held = (0..count).map(|_| {
        let mut conn = server.connect();
        conn.assert_serves();
        conn
    });
    held.collect()
}

#[test]
fn a_full_house_answers_probes_and_nothing_else() {
    let server = Server::start(&[("MAX_CONNECTIONS", "4"), ("MAX_CONNECTIONS_PER_IP", "0")]);
    let mut held = busy(&server, 4);
    let refused = server.get("/badge/a/b.svg");
    assert_problem(&refused, 503, "TOO_MANY_CONNECTIONS");
    assert!(refused.says_close());
    for probe in ["/health", "/ready", "/healthz", "/livez", "/readyz"] {
        assert_eq!(server.get(probe).status, 200, "{probe}");
    }
    // Those who are in are served to their end, and a place that is given up is taken.
    for conn in &mut held {
        conn.send(b"world");
        assert_eq!(conn.read_response().status, 200);
    }
    let metrics = server.metrics_on(&mut held[0]);
    assert_eq!(rejections(&metrics, "too_many_connections"), 1.0);
    drop(held.pop());
    assert_eventually(PATIENCE, "a place for the next", || server.get("/badge/a/b.svg").status == 200);
}

#[test]
fn a_refused_connection_is_logged_once() {
    let server = Server::start(&[("MAX_CONNECTIONS", "2"), ("MAX_CONNECTIONS_PER_IP", "0")]);
    let mut held = busy(&server, 2);
    let mut conn = server.connect();
    conn.send(&get("/badge/a/b.svg"));
    assert_problem(&conn.read_response(), 503, "TOO_MANY_CONNECTIONS");
    conn.assert_closed();
    for conn in &mut held {
        conn.send(b"world");
        assert_eq!(conn.read_response().status, 200);
    }
    server.assert_refused_once("too_many_connections");
}

#[test]
fn a_crowd_at_a_full_house_does_not_keep_probes_out() {
    let server = Server::start(&[
        ("MAX_CONNECTIONS", "4"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("HEADERS_TIMEOUT", "1s"),
    ]);
    let mut held = busy(&server, 4);
    // Three hundred that connect and say nothing: they may not hold the reserve for ever.
    let crowd: Vec<Conn> = (0..300).filter_map(|_| Conn::try_open(server.address).ok()).collect();
    assert_eventually(PATIENCE, "a probe is answered", || {
        let Ok(mut conn) = Conn::try_open(server.address) else { return false };
        let asked = conn.try_send(&get("/health")).is_ok();
        asked && conn.try_read_response(Duration::from_secs(2)).is_ok_and(|answer| answer.status == 200)
    });
    drop(crowd);
    held[0].send(b"world");
    assert_eq!(held[0].read_response().status, 200);
}

#[test]
fn one_client_may_hold_only_so_many_connections() {
    let server = Server::start(&[("MAX_CONNECTIONS_PER_IP", "3")]);
    let mut held = hold(&server, 3);
    let mut fourth = server.connect();
    let _ = fourth.try_send(&get("/badge/a/b.svg"));
    let answer = fourth.read_response();
    assert_problem(&answer, 429, "TOO_MANY_CONNECTIONS_FROM_CLIENT");
    assert!(answer.says_close());
    assert_eq!(answer.json()["limit"], "limits.max_connections_per_ip");
    // Another client is not concerned.
    Conn::open_from(NEIGHBOUR, server.address).assert_serves();
    let metrics = server.metrics_on(&mut held[0]);
    assert_eq!(rejections(&metrics, "too_many_connections_from_client"), 1.0);
    assert_eventually(PATIENCE, "a log line", || {
        server.reason_lines("too_many_connections_from_client") == 1
    });
    drop((fourth, held));
    assert_eventually(PATIENCE, "a place for the next", || server.get("/badge/a/b.svg").status == 200);
}

#[test]
fn a_trusted_proxy_may_hold_as_many_connections_as_it_likes() {
    let server = Server::start(&[("MAX_CONNECTIONS_PER_IP", "3"), ("TRUSTED_PROXIES", "127.0.0.1/32")]);
    let held = hold(&server, 12);
    assert_eq!(held.len(), 12);
    let neighbours: Vec<_> = (0..3)
        .map(|_| {
            let mut conn = Conn::open_from(NEIGHBOUR, server.address);
            conn.assert_serves();
            conn
        })
        .collect();
    let mut fourth = Conn::open_from(NEIGHBOUR, server.address);
    let _ = fourth.try_send(&get("/badge/a/b.svg"));
    assert_problem(&fourth.read_response(), 429, "TOO_MANY_CONNECTIONS_FROM_CLIENT");
    drop(neighbours);
}

#[test]
fn a_connection_closes_after_so_many_requests() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION", "3")]);
    let mut conn = server.connect();
    for last in [false, false, true] {
        conn.send(&get("/badge/a/b.svg"));
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.says_close()), (200, last));
    }
    conn.assert_closed();
}

#[test]
fn requests_pipelined_beyond_the_last_are_not_answered() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION", "3")]);
    let mut conn = server.connect();
    conn.send(&get("/badge/a/b.svg").repeat(5));
    for last in [false, false, true] {
        assert_eq!(conn.read_response().says_close(), last);
    }
    conn.assert_closed();
}

#[test]
fn a_connection_in_use_closes_at_its_age() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_CONNECTION_AGE", "1s")]);
    let began = Instant::now();
    let mut conn = server.connect();
    loop {
        conn.send(&get("/badge/a/b.svg"));
        let answer = conn.read_response();
        assert_eq!(answer.status, 200);
        if answer.says_close() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "still open after {:?}", began.elapsed());
        pause(20);
    }
    // A tenth is the spread; the rest is for clocks that tick apart.
    assert!(began.elapsed() > Duration::from_millis(800), "after {:?}", began.elapsed());
    conn.assert_closed();
}

/// hyper takes every request that wishes for another protocol for one that may yet get it, whatever it
/// was answered.
#[test]
fn a_wish_for_another_protocol_that_is_not_granted_holds_no_place() {
    let server = Server::start(&[("MAX_CONNECTIONS", "4"), ("MAX_CONNECTIONS_PER_IP", "0")]);
    const WISHES: [&str; 3] = [
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /badge/a/b.svg HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /badge/a/b.svg HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: x\r\n\r\n",
    ];
    for wish in WISHES.iter().cycle().take(9) {
        let mut conn = server.connect();
        conn.send(wish.as_bytes());
        assert!(conn.read_response().status < 500, "{wish:?}");
        drop(conn);
    }
    assert_eventually(PATIENCE, "all places are free again", || {
        let mut conn = server.connect();
        let metrics = server.metrics_on(&mut conn);
        metrics["http_connections_active{protocol=\"http/1.1\"}"] == 1.0
    });
}
