//! Requests per client (draft-ietf-httpapi-ratelimit-headers-10 for the fields).

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::support::http1::{Conn, Response, get};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

fn ask(conn: &mut Conn) -> Response {
    conn.send(&get("/badge/a/b.svg"));
    conn.read_response()
}

fn ask_for(conn: &mut Conn, client: &str) -> u16 {
    let request =
        format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\nX-Forwarded-For: {client}\r\n\r\n");
    conn.send(request.as_bytes());
    conn.read_response().status
}

/// The parameters of the one item in a `RateLimit` or `RateLimit-Policy` field.
#[track_caller]
fn item(answer: &Response, field: &str) -> (String, Vec<(String, u64)>) {
    let value = answer.header(field).unwrap_or_else(|| panic!("no {field}"));
    let (name, parameters) = value.split_once(';').expect("parameters");
    let parameters = parameters.split(';').map(|parameter| {
        let (key, value) = parameter.split_once('=').expect("a parameter is key=value");
        (key.to_owned(), value.parse().expect("a parameter is an integer"))
    });
    (name.to_owned(), parameters.collect())
}

#[test]
fn what_a_handler_refuses_has_been_counted_and_says_so() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "5")]);
    let mut conn = server.connect();
    conn.send(&get("/nothing"));
    let refused = conn.read_response();
    assert_problem(&refused, 404, "NOT_FOUND");
    assert_eq!(item(&refused, "ratelimit").1[0], ("r".to_owned(), 4));
    assert_eq!(item(&refused, "ratelimit-policy").1[0], ("q".to_owned(), 5));
}

#[test]
fn a_client_that_spent_its_allowance_is_told_so() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "5"), ("RATE_LIMIT_WINDOW_MS", "60000")]);
    let mut conn = server.connect();
    for left in (0..5).rev() {
        let served = ask(&mut conn);
        let (_, state) = item(&served, "ratelimit");
        assert_eq!((served.status, &state[0]), (200, &("r".to_owned(), left)));
        assert_eq!(item(&served, "ratelimit-policy").1[0], ("q".to_owned(), 5));
    }
    let refused = ask(&mut conn);
    assert_problem(&refused, 429, "RATE_LIMITED");
    assert_eq!(refused.json()["limit"], "rate_limit.max_requests");
    let wait: u64 = refused.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let (policy, mut quota) = item(&refused, "ratelimit-policy");
    quota.sort();
    assert_eq!(policy, "\"default\"");
    assert_eq!(quota, [("q".to_owned(), 5), ("w".to_owned(), 60)]);
    let (name, state) = item(&refused, "ratelimit");
    assert_eq!(name, "\"default\"");
    let parameter = |key: &str| state.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
    assert_eq!(parameter("r"), Some(0));
    assert!(parameter("t").is_some_and(|left| (1..=60).contains(&left)), "{state:?}");
    // Not the connection is refused but the request, and probes never are.
    for probe in ["/health", "/ready", "/metrics"] {
        conn.send(&get(probe));
        assert_eq!(conn.read_response().status, 200, "{probe}");
    }
    server.assert_refused_once("rate_limited");
    // Another client has an allowance of its own.
    let mut other = Conn::open_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), server.address);
    assert_eq!(ask(&mut other).status, 200);
}

#[test]
fn an_allowance_is_shared_by_all_connections_of_a_client() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "5")]);
    let statuses: Vec<u16> = (0..8).map(|_| ask(&mut server.connect()).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    server.assert_refused("rate_limited", 3);
}

#[test]
fn an_allowance_grows_back() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "2"), ("RATE_LIMIT_WINDOW_MS", "2000")]);
    let mut conn = server.connect();
    let began = Instant::now();
    while ask(&mut conn).status == 200 {}
    assert_eventually(PATIENCE, "a token", || {
        pause(50);
        ask(&mut conn).status == 200
    });
    // Two came at once; the third had to wait for half a window.
    assert!(began.elapsed() > Duration::from_millis(700), "after {:?}", began.elapsed());
}

#[test]
fn a_burst_may_be_smaller_than_the_allowance() {
    let server = Server::start(&[
        ("RATE_LIMIT_MAX_REQUESTS", "1000"),
        ("NESSEN_RATE_LIMIT_BURST", "2"),
        ("RATE_LIMIT_WINDOW_MS", "1000000"),
    ]);
    let mut conn = server.connect();
    let statuses: Vec<u16> = (0..3).map(|_| ask(&mut conn).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_client_that_went_too_far_is_blocked_for_a_while() {
    let server = Server::start(&[
        ("RATE_LIMIT_MAX_REQUESTS", "2"),
        ("RATE_LIMIT_WINDOW_MS", "200"),
        ("RATE_LIMIT_BLOCK_MS", "3000"),
    ]);
    let mut conn = server.connect();
    let (refused, began) = loop {
        let asked = Instant::now();
        let answer = ask(&mut conn);
        if answer.status == 429 {
            break (answer, asked);
        }
    };
    assert_eq!(refused.header("retry-after"), Some("3"));
    // Gauges are refreshed now and then, not with every request.
    let sources = |count: f64| server.metrics()["nessen_rate_limit_blocked_sources"] == count;
    assert_eventually(PATIENCE, "a blocked source", || sources(1.0));
    // Tokens are there again long before, and do not help; asking does not make it longer.
    assert_eventually(PATIENCE, "the end of the block", || {
        pause(100);
        ask(&mut conn).status == 200
    });
    let blocked = began.elapsed();
    assert!(blocked > Duration::from_millis(2800), "blocked for {blocked:?} only");
    assert!(blocked < Duration::from_secs(10), "blocked for {blocked:?}");
    assert_eventually(PATIENCE, "no source blocked", || sources(0.0));
}

#[test]
fn the_clients_tracked_are_bounded() {
    let server = Server::start(&[
        ("RATE_LIMIT_MAX_REQUESTS", "2"),
        ("RATE_LIMIT_MAX_KEYS", "100"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
    ]);
    let mut conn = server.connect();
    let spend = |conn: &mut Conn, client: &str| [(); 3].map(|()| ask_for(conn, client));
    assert_eq!(spend(&mut conn, "192.0.2.1"), [200, 200, 429]);
    for number in 0..1000 {
        assert_eq!(ask_for(&mut conn, &format!("198.18.{}.{}", number / 250, number % 250)), 200);
    }
    let keys = || server.metrics()["nessen_rate_limit_keys"];
    assert_eventually(PATIENCE, "clients in the metrics", || keys() > 0.0);
    assert!(keys() <= 100.0, "{} clients are tracked", keys());
    // The longest unseen was forgotten: the price of the bound.
    assert_eq!(ask_for(&mut conn, "192.0.2.1"), 200);
}

#[test]
fn a_client_seen_again_is_not_the_one_forgotten() {
    let server = Server::start(&[
        ("RATE_LIMIT_MAX_REQUESTS", "2"),
        ("RATE_LIMIT_MAX_KEYS", "100"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
    ]);
    let mut conn = server.connect();
    for _ in 0..2 {
        ask_for(&mut conn, "192.0.2.1");
    }
    for number in 0..500 {
        ask_for(&mut conn, &format!("198.18.{}.{}", number / 250, number % 250));
        if number % 10 == 0 {
            assert_eq!(ask_for(&mut conn, "192.0.2.1"), 429, "forgotten after {number} others");
        }
    }
}

#[test]
fn an_ipv6_network_is_one_client() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "2"), ("TRUSTED_PROXIES", "127.0.0.1/32")]);
    let mut conn = server.connect();
    assert_eq!(ask_for(&mut conn, "2001:db8:1:2::1"), 200);
    assert_eq!(ask_for(&mut conn, "2001:db8:1:2:ffff::2"), 200);
    assert_eq!(ask_for(&mut conn, "[2001:db8:1:2::3]:443"), 429);
    assert_eq!(ask_for(&mut conn, "2001:db8:1:3::1"), 200);
    assert_eq!(ask_for(&mut conn, "::ffff:192.0.2.9"), 200);
    assert_eq!(ask_for(&mut conn, "192.0.2.9"), 200);
    assert_eq!(ask_for(&mut conn, "192.0.2.9"), 429);
}

#[test]
fn a_client_cannot_name_itself() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "2")]);
    let mut conn = server.connect();
    assert_eq!(ask_for(&mut conn, "192.0.2.1"), 200);
    assert_eq!(ask_for(&mut conn, "192.0.2.2"), 200);
    assert_eq!(ask_for(&mut conn, "192.0.2.3"), 429);
}

#[test]
fn without_a_limit_no_request_is_counted_against_a_client() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for _ in 0..300 {
        assert_eq!(ask(&mut conn).status, 200);
    }
}
