//! Several upstreams in a route: who is asked, who is left alone for a while, and who comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{TempFile, ask, proxy_with, route, sum};
use crate::support::client::{Client, Request};
use crate::support::server::Server;
use crate::support::upstream::{DeadPort, Upstream};
use crate::support::{PATIENCE, assert_eventually};

fn two(name: &str, env: &[(&str, &str)]) -> (Upstream, Upstream, Server) {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let table = TempFile::new(name, &route("/", &[one.url(), two.url()]));
    let server = proxy_with(&table, env);
    (one, two, server)
}

#[test]
fn requests_are_spread() {
    let (one, two, server) = two("spread.toml", &[]);
    let mut client = Client::open(server.address);
    for number in 0..200 {
        let token = number.to_string();
        client.ask(&Request::get(&token, "ok")).assert_answers(200, &token);
    }
    let spread = (one.requests(), two.requests());
    assert_eq!(spread.0 + spread.1, 200);
    assert!(spread.0 >= 50 && spread.1 >= 50, "{spread:?}");
}

#[test]
fn who_has_less_to_do_is_asked() {
    let (one, two, server) = two("busy.toml", &[]);
    // Twelve that are not answered for a while; then one of the two is done with its share.
    let waiting: Vec<_> = (1..=12)
        .map(|number| {
            let mut client = Client::open(server.address);
            client.send(&Request::get("wait", "gate").bytes());
            assert_eventually(PATIENCE, "begun", || one.begun() + two.begun() == number);
            client
        })
        .collect();
    assert_eq!((one.begun(), two.begun()), (6, 6), "each has to go to whoever has less");
    two.open_gate();
    assert_eventually(PATIENCE, "the answers passed on", || server.requests_active() <= 6.0);
    let before = two.requests();
    let mut client = Client::open(server.address);
    for number in 0..50 {
        let token = number.to_string();
        client.ask(&Request::get(&token, "ok")).assert_answers(200, &token);
    }
    // Two are looked at, and there are but two.
    assert_eq!(two.requests() - before, 50, "asked although it is busy: {}", one.begun());
    one.open_gate();
    for mut client in waiting {
        client.answer().assert_answers(200, "wait");
    }
}

#[test]
fn who_fails_again_and_again_is_left_alone_and_comes_back() {
    let (one, two, server) = two("eject.toml", &[("NESSEN_UPSTREAM_EJECT_TIME", "300ms")]);
    let ask_some = |count: usize| {
        let mut client = Client::open(server.address);
        let mut who = BTreeMap::<String, usize>::new();
        for number in 0..count {
            let token = number.to_string();
            let answer = client.ask(&Request::get(&token, "ok"));
            answer.assert_answers(200, &token);
            *who.entry(answer.field("x-upstream").unwrap().to_owned()).or_default() += 1;
        }
        who
    };
    assert_eq!(ask_some(60).len(), 2);
    assert_eq!(sum(&server, "nessen_upstream_ejections_total", &[]), 0.0);
    let dead = one.stop();
    assert_eq!(ask_some(60).get("one"), None);
    let address = dead.address().to_string();
    assert!(sum(&server, "nessen_upstream_ejections_total", &[&address]) >= 1.0);
    assert_eq!(sum(&server, "nessen_upstream_healthy", &[&address]), 0.0);
    assert_eq!(sum(&server, "nessen_upstream_healthy", &[&two.address.to_string()]), 1.0);
    let one = dead.listen("one");
    assert_eventually(PATIENCE, "it is asked again", || ask_some(10).contains_key("one"));
    let healthy = || sum(&server, "nessen_upstream_healthy", &[&address]) >= 1.0;
    assert_eventually(PATIENCE, "it counts as healthy", healthy);
    assert!(one.requests() >= 1);
}

#[test]
fn all_left_alone_is_a_502_at_once_and_not_for_ever() {
    let dead = [DeadPort::new(), DeadPort::new()];
    let urls: Vec<_> = dead.iter().map(DeadPort::url).collect();
    let table = TempFile::new("all.toml", &route("/", &urls));
    let server = proxy_with(&table, &[("NESSEN_UPSTREAM_EJECT_TIME", "200ms")]);
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let began = Instant::now();
            ask(&server, &Request::get("t", "ok")).assert_refusal(502, "UPSTREAM_UNREACHABLE");
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[15] < Duration::from_millis(200) && times[29] < Duration::from_secs(3), "{times:?}");
    let [dead, _other] = dead;
    let _alive = dead.listen("alive");
    let served = || ask(&server, &Request::get("t", "ok")).status == 200;
    assert_eventually(PATIENCE, "the one that is there again is asked", served);
}

#[test]
fn who_fails_its_health_check_is_left_alone_until_it_is_well() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let table = TempFile::new("health.toml", &route("/", &[one.url(), two.url()]));
    let env = [
        ("NESSEN_UPSTREAM_HEALTH_PATH", "/well?deep=1"),
        ("NESSEN_UPSTREAM_HEALTH_INTERVAL", "50ms"),
        ("NESSEN_UPSTREAM_HEALTH_FALL", "2"),
        ("NESSEN_UPSTREAM_HEALTH_RISE", "2"),
    ];
    let server = proxy_with(&table, &env);
    let asked = |upstream: &Upstream| {
        upstream.seen().iter().filter(|seen| seen.method == "GET" && seen.target == "/well?deep=1").count()
    };
    assert_eventually(PATIENCE, "both are asked", || asked(&one) > 2 && asked(&two) > 2);
    // One of them says that it is not well, though it would answer.
    one.answer_unasked_with("status=503");
    let healthy = || sum(&server, "nessen_upstream_healthy", &[&one.address.to_string()]);
    assert_eventually(PATIENCE, "it is down", || healthy() <= 0.0);
    let who = |number: usize| {
        let token = number.to_string();
        let answer = ask(&server, &Request::get(&token, "ok"));
        answer.assert_answers(200, &token);
        answer.field("x-upstream").unwrap().to_owned()
    };
    for number in 0..30 {
        assert_eq!(who(number), "two");
    }
    one.answer_unasked_with("ok");
    assert_eventually(PATIENCE, "it is up again", || healthy() >= 1.0);
    assert_eventually(PATIENCE, "it is asked again", || who(31) == "one");
    // Checks are none of the requests that are counted.
    let counted = sum(&server, "nessen_upstream_requests_total", &[]);
    let real =
        |upstream: &Upstream| upstream.seen().iter().filter(|seen| seen.target != "/well?deep=1").count();
    let real = real(&one) + real(&two);
    assert_eq!(counted, real as f64);
}

#[test]
fn a_health_check_asks_for_the_upstream_by_its_name() {
    let upstream = Upstream::start();
    let url = format!("http://localhost:{}", upstream.address.port());
    let table = TempFile::new("name.toml", &route("/", std::slice::from_ref(&url)));
    let _server = proxy_with(&table, &[("NESSEN_UPSTREAM_HEALTH_PATH", "/well")]);
    let asked = || upstream.seen().iter().any(|seen| seen.target == "/well");
    assert_eventually(PATIENCE, "a health check", asked);
    let seen = upstream.seen().into_iter().find(|seen| seen.target == "/well").unwrap();
    assert_eq!(seen.all("host"), [url.trim_start_matches("http://")]);
}
