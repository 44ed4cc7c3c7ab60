//! What is asked again, and what never is: a request that may have been served is not sent twice
//! unless that does no harm (RFC 9110 section 9.2.2).

use std::time::{Duration, Instant};

use super::{NO_EJECTION, TempFile, ask, proxy, proxy_with, route, sum};
use crate::support::client::{Client, Request};
use crate::support::upstream::{DeadPort, Upstream};
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn a_request_on_a_connection_that_died_is_asked_again() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION]);
    for (number, method) in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].iter().enumerate() {
        // A connection that will take one more request, and die of it.
        let first = ask(&server, &Request::get("first", "die-on-next"));
        first.assert_answers(200, "first");
        let token = format!("again-{method}");
        ask(&server, &Request::get(&token, "ok").method(method)).assert_answers(200, &token);
        let seen = upstream.seen_of(&token);
        assert_eq!(seen.len(), 2, "{method}: once on the connection that died, once on another");
        assert_ne!(seen[0].connection, seen[1].connection);
        assert_eq!(seen[0].all("x-request-id"), seen[1].all("x-request-id"), "it is one request");
        assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), (number + 1) as f64);
    }
}

#[test]
fn a_request_that_was_sent_and_may_do_harm_is_not_asked_again() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION]);
    for (number, request) in [
        Request::post("post", "ok", b"a body that is gone"),
        Request::post("patch", "ok", b"").method("PATCH"),
        Request::post("bare", "ok", b""),
        Request::post("put", "ok", &vec![b'p'; 100_000]).method("PUT"),
    ]
    .iter()
    .enumerate()
    {
        ask(&server, &Request::get("first", "die-on-next")).assert_answers(200, "first");
        let answer = ask(&server, request);
        assert_eq!(
            (answer.status, upstream.seen_of(request.token()).len()),
            (502, 1),
            "{number}: {answer:?}"
        );
    }
    assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), 0.0);
}

#[test]
fn a_connection_that_was_closed_in_time_costs_nothing() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION]);
    for number in 0..5 {
        ask(&server, &Request::get("first", "close-after")).assert_answers(200, "first");
        // The proxy has seen the end, and closed its own side.
        upstream.wait_closed();
        let token = format!("post-{number}");
        ask(&server, &Request::post(&token, "ok", b"body")).assert_answers(200, &token);
        assert_eq!(upstream.seen_of(&token).len(), 1);
    }
    assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), 0.0);
}

#[test]
fn a_failed_get_is_asked_as_often_as_the_setting_says() {
    let upstream = Upstream::start();
    for (retries, times) in [("0", 1), ("1", 2), ("2", 3)] {
        let server = proxy(&upstream, &[NO_EJECTION, ("NESSEN_UPSTREAM_RETRIES", retries)]);
        let token = format!("get-{retries}");
        let answer = ask(&server, &Request::get(&token, "close-silent"));
        assert_eq!(answer.status, 502, "{answer:?}");
        assert_eq!(upstream.seen_of(&token).len(), times, "upstream.retries={retries}");
    }
    let server = proxy(&upstream, &[NO_EJECTION]);
    let answer = ask(&server, &Request::post("post", "close-silent", b"body"));
    assert_eq!((answer.status, upstream.seen_of("post").len()), (502, 1));
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION]);
    for fault in ["length-long", "close-in-chunk", "reset-in-body", "status=503"] {
        // What it becomes is looked at elsewhere.
        let _ = Client::open(server.address).try_ask(&Request::get(fault, fault));
        assert_eq!(upstream.seen_of(fault).len(), 1, "{fault}");
    }
}

#[test]
fn retries_are_bounded_by_a_budget() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION]);
    let mut client = Client::open(server.address);
    for number in 0..200 {
        let answer = client.ask(&Request::get(&number.to_string(), "close-silent"));
        assert_eq!(answer.status, 502, "{answer:?}");
    }
    // Without a budget an upstream in trouble is asked three times as much.
    let asked = upstream.requests();
    assert!((200..=320).contains(&asked), "{asked} requests for 200");
    assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), (asked - 200) as f64);
    assert_eq!(sum(&server, "nessen_upstream_requests_total", &[]), asked as f64);
}

#[test]
fn without_a_budget_nothing_that_was_sent_is_asked_again() {
    let upstream = Upstream::start();
    for (budget, asked) in [("0", 1), ("20", 3)] {
        let server = proxy(&upstream, &[NO_EJECTION, ("NESSEN_UPSTREAM_RETRY_BUDGET", budget)]);
        let token = format!("budget-{budget}");
        ask(&server, &Request::get(&token, "close-silent")).assert_refusal(502, "UPSTREAM_UNREACHABLE");
        assert_eq!(upstream.seen_of(&token).len(), asked, "{budget}");
    }
}

#[test]
fn one_of_two_upstreams_down_is_nobodys_trouble() {
    let (dead, alive) = (DeadPort::new(), Upstream::named("alive"));
    let table = TempFile::new("dead.toml", &route("/", &[dead.url(), alive.url()]));
    for eject_after in ["5", "off"] {
        let server = proxy_with(&table, &[("NESSEN_UPSTREAM_EJECT_AFTER", eject_after)]);
        let mut client = Client::open(server.address);
        for number in 0..200 {
            let token = format!("{eject_after}-{number}");
            let request = match number % 3 {
                0 => Request::get(&token, "ok"),
                // Never sent, so nothing was lost: a POST too may go to the other.
                1 => Request::post(&token, "ok", b"a body"),
                _ => Request::get(&token, "close-after"),
            };
            client.ask(&request).assert_answers(200, &token);
            assert_eq!(alive.seen_of(&token).len(), 1);
        }
    }
}

#[test]
fn all_upstreams_down_is_said_at_once() {
    let dead = [DeadPort::new(), DeadPort::new(), DeadPort::new()];
    let urls: Vec<_> = dead.iter().map(DeadPort::url).collect();
    let table = TempFile::new("down.toml", &route("/", &urls));
    let server = proxy_with(&table, &[]);
    let mut times = Vec::new();
    for number in 0..40 {
        let mut client = Client::open(server.address);
        let request = match number % 2 {
            0 => Request::get("t", "ok"),
            _ => Request::post("t", "ok", b"body"),
        };
        let began = Instant::now();
        client.ask(&request).assert_refusal(502, "UPSTREAM_UNREACHABLE");
        times.push(began.elapsed());
    }
    times.sort();
    // One of them may meet a machine that stands still; a connection that is waited for takes 5 s.
    assert!(times[20] < Duration::from_millis(200) && times[39] < Duration::from_secs(3), "{times:?}");
    // The connection to the client is none the worse.
    let mut client = Client::open(server.address);
    for _ in 0..5 {
        client.ask(&Request::get("t", "ok")).assert_refusal(502, "UPSTREAM_UNREACHABLE");
    }
}

#[test]
fn a_request_whose_time_is_over_is_not_asked_again() {
    let (silent, well) = (Upstream::start(), Upstream::start());
    let table = TempFile::new("over.toml", &route("/", &[silent.url(), well.url()]));
    let server = proxy_with(&table, &[("REQUEST_TIMEOUT", "300ms")]);
    for number in 0..3 {
        let token = format!("late-{number}");
        let answer = ask(&server, &Request::get(&token, "stall-head"));
        answer.assert_refusal(504, "UPSTREAM_TIMEOUT");
        let asked = || silent.seen_of(&token).len() + well.seen_of(&token).len();
        assert_eventually(PATIENCE, "one request, one attempt", || asked() == 1);
    }
    // Nobody is blamed for what was never asked of him.
    assert_eq!(sum(&server, "nessen_upstream_requests_total", &["timeout"]), 3.0);
    assert_eq!(sum(&server, "nessen_upstream_retries_total", &[]), 0.0);
    assert_eq!(sum(&server, "nessen_upstream_ejections_total", &[]), 0.0);
}
