//! Which requests, and how many at a time.

use rustix::process::Signal;

use crate::support::http1::{Conn, get, post, post_head};
use crate::support::problem::assert_problem;
use crate::support::server::{Server, rejections};
use crate::support::{PATIENCE, assert_eventually};

/// An upload that is being served, and will be until it is finished.
fn upload(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&[post_head(10), b"hello".to_vec()].concat());
    conn
}

#[test]
fn requests_over_the_limit_in_flight_are_shed() {
    let server = Server::start(&[("MAX_IN_FLIGHT", "2")]);
    let mut uploads = [upload(&server), upload(&server)];
    assert_eventually(PATIENCE, "two in flight", || server.requests_active() >= 2.0);
    let mut conn = server.connect();
    conn.send(&get("/badge/a/b.svg"));
    let shed = conn.read_response();
    assert_problem(&shed, 503, "OVERLOADED");
    assert_eq!(shed.json()["limit"], "limits.max_in_flight");
    let after: u64 = shed.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!(after >= 1, "{after}");
    for probe in ["/health", "/ready", "/metrics", "/version", "/api/health"] {
        conn.send(&get(probe));
        assert_eq!(conn.read_response().status, 200, "{probe}");
    }
    server.assert_refused_once("overloaded");
    // A permit comes back when its request is answered.
    uploads[0].send(b"world");
    assert_eq!(uploads[0].read_response().text(), "helloworld");
    assert_eventually(PATIENCE, "a permit", || {
        conn.send(&get("/badge/a/b.svg"));
        conn.read_response().status == 200
    });
}

#[test]
fn a_permit_comes_back_when_a_client_hangs_up() {
    let server = Server::start(&[("MAX_IN_FLIGHT", "1")]);
    let abandoned = upload(&server);
    assert_eventually(PATIENCE, "one in flight", || server.requests_active() >= 1.0);
    drop(abandoned);
    assert_eventually(PATIENCE, "a permit", || server.get("/badge/a/b.svg").status == 200);
}

#[test]
fn only_allowed_methods_are_served() {
    let server = Server::start(&[("NESSEN_LIMITS_ALLOWED_METHODS", "GET,HEAD")]);
    let mut conn = server.connect();
    conn.assert_serves();
    conn.send(&post(b"hello"));
    let answer = conn.read_response();
    assert_problem(&answer, 405, "METHOD_NOT_ALLOWED");
    let mut allowed: Vec<_> = answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD"]);
    server.assert_refused_once("method_not_allowed");
}

#[test]
fn only_allowed_hosts_are_served() {
    let server = Server::start(&[("ALLOWED_HOSTS", "example.com,*.example.org")]);
    let mut conn = server.connect();
    let mut status = |host: &str, path: &str| {
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        conn.read_response()
    };
    for host in ["example.com", "EXAMPLE.COM", "example.com:8080", "a.example.org", "a.b.example.org:80"] {
        assert_eq!(status(host, "/badge/a/b.svg").status, 200, "{host}");
    }
    let strangers =
        ["example.net", "example.org", "www.example.com", "notexample.org", "127.0.0.1", "xexample.com"];
    for host in strangers {
        assert_problem(&status(host, "/badge/a/b.svg"), 421, "HOST_NOT_ALLOWED");
    }
    // A probe names the pod, not the site.
    assert_eq!(status("10.0.0.1:3000", "/ready").status, 200);
    server.assert_refused("host_not_allowed", strangers.len());
}

#[test]
fn an_unknown_path_is_a_problem_and_the_connection_lives_on() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send(&get("/zqx/nowhere"));
    assert_problem(&conn.read_response(), 404, "NOT_FOUND");
    conn.assert_serves();
    server.assert_refused_once("not_found");
}

#[test]
fn a_refusal_with_a_whole_body_keeps_the_connection_in_step() {
    let server = Server::start(&[("MAX_IN_FLIGHT", "1")]);
    let _held = upload(&server);
    assert_eventually(PATIENCE, "one in flight", || server.requests_active() >= 1.0);
    let mut conn = server.connect();
    // The body looks like a request: if it is read as one, two answers come.
    let body = get("/badge/smuggled/in.svg");
    conn.send(&post(&body));
    let shed = conn.read_response();
    assert_problem(&shed, 503, "OVERLOADED");
    if shed.says_close() {
        conn.assert_closed();
    } else {
        conn.send(&get("/health"));
        let next = conn.read_response();
        assert_eq!(
            (next.status, next.header("content-type").map(|t| t.starts_with("application/json"))),
            (200, Some(true))
        );
    }
    assert_eq!(rejections(&server.metrics(), "overloaded"), 1.0);
}

#[test]
fn requests_sent_at_once_are_served_in_turn_with_those_of_others() {
    const EACH: usize = 300;
    let server = Server::start(&[("NESSEN_SERVER_WORKERS", "1")]);
    let paths: Vec<String> = (0..4).map(|number| format!("/badge/client/{number}.svg")).collect();
    let mut greedy: Vec<Conn> = paths.iter().map(|_| server.connect()).collect();
    // All of it is there before the first of it is read.
    server.signal(Signal::STOP);
    assert_eventually(PATIENCE, "it stands still", || server.states().iter().all(|state| *state == 'T'));
    for (conn, path) in greedy.iter_mut().zip(&paths) {
        conn.send(&get(path).repeat(EACH));
    }
    server.signal(Signal::CONT);
    for conn in &mut greedy {
        for number in 0..EACH {
            assert_eq!(conn.read_response().status, 200, "{number}");
        }
    }
    let all = || server.log().iter().filter(|line| line["method"] == "GET").count() == EACH * paths.len();
    assert_eventually(PATIENCE, "a line for each", all);
    // While all four had something to ask, they were served by turns. (Not throughout: a socket in which
    // something has come is looked at now and then.)
    let log = server.log();
    let served: Vec<&str> = log.iter().filter_map(|line| line["path"].as_str()).collect();
    let first = |path: &String| served.iter().position(|other| other == path);
    let last = |path: &String| served.iter().rposition(|other| other == path);
    let begun = paths.iter().filter_map(first).max().unwrap();
    let ended = paths.iter().filter_map(last).min().unwrap();
    assert!(begun + EACH / 2 < ended, "they did not ask at the same time: {begun} to {ended}");
    let between = &served[begun..ended];
    let runs = between.chunk_by(|one, next| one == next).map(<[_]>::len);
    let by_turns: usize = runs.clone().filter(|run| *run <= 2).sum();
    assert!(by_turns > between.len() / 2, "{by_turns} of {}: {:?}", between.len(), runs.collect::<Vec<_>>());
}
