//! No descriptors left, with a proxy and with files, which hold descriptors of their own.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Held, assert_probes};
use crate::proxy::{ask, sum};
use crate::support::client::{Client, Request};
use crate::support::folder::Folder;
use crate::support::http1::{Conn, get};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually};

/// The whole process may hold so many.
const LIMIT: &str = "ulimit -n 64";

const ENV: [(&str, &str); 3] =
    [("MAX_CONNECTIONS_PER_IP", "0"), ("DRAIN_DELAY", "0"), ("NESSEN_LIMITS_HEADERS_TIMEOUT", "20s")];

/// What the server says at its start about `setting`.
#[track_caller]
fn note(server: &Server, setting: &str) -> String {
    let about = |line: &serde_json::Value| line["message"].as_str().is_some_and(|it| it.starts_with(setting));
    server.wait_log(setting, about)["message"].as_str().unwrap().to_owned()
}

/// Connections that say nothing, as many as are taken.
fn crowd(server: &Server, size: usize) -> Vec<TcpStream> {
    (0..size).filter_map(|_| TcpStream::connect_timeout(&server.address, PATIENCE).ok()).collect()
}

/// Whether a connection of its own is served this now.
fn serves(server: &Server, path: &str) -> bool {
    let Ok(mut conn) = Conn::try_open(server.address) else { return false };
    conn.try_send(&get(path)).is_ok()
        && conn.try_read_response(Duration::from_secs(2)).is_ok_and(|answer| answer.status == 200)
}

/// The same through and after a crowd that takes all that it can get.
#[track_caller]
fn serves_through_a_crowd(server: &mut Server, path: &str) {
    let said = note(server, "limits.max_connections");
    assert!(said.contains("= 16:") && said.contains("RLIMIT_NOFILE 64"), "{said}");
    assert_eventually(PATIENCE, "a start", || serves(server, path));
    let mut kept = server.connect();
    kept.send(&get(path));
    assert_eq!(kept.read_response().status, 200);
    let held = Held::by(server);
    for _ in 0..2 {
        let crowd = crowd(server, 150);
        // Whatever is left for others, somebody who is in is served, and probes are answered.
        assert_eventually(PATIENCE, "probes", || serves(server, "/health") && serves(server, "/ready"));
        assert!(server.descriptors() <= 64);
        let metrics = server.metrics();
        let turned_away = metrics["nessen_connections_evicted_total"]
            + metrics["nessen_accept_errors_total"]
            + metrics["nessen_rejections_total{reason=\"too_many_connections\"}"];
        assert!(turned_away > 0.0, "150 connections were taken within 64 descriptors");
        drop(crowd);
        let began = Instant::now();
        assert_eventually(PATIENCE, "served again", || serves(server, path));
        assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
        assert_probes(server);
    }
    held.assert_no_more(server);
    assert!(server.wait_exit(Duration::ZERO).is_none());
}

#[test]
fn a_proxy_with_few_descriptors_serves_through_a_crowd() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let mut server = Server::start_in_shell(LIMIT, &[&ENV[..], &[("UPSTREAM", &url)]].concat(), &[]);
    serves_through_a_crowd(&mut server, "/");
    // Nobody called the upstream ill for what was our own lack.
    assert_eq!(sum(&server, "nessen_upstream_ejections_total", &[]), 0.0);
    assert_eq!(server.rejections("upstream_unreachable"), 0.0);
}

#[test]
fn files_with_few_descriptors_are_served_through_a_crowd() {
    let folder = Folder::new();
    folder.write("public/a.txt", "a");
    let root = folder.path("public");
    let mut server = Server::start_in_shell(LIMIT, &[&ENV[..], &[("ROOT", &root)]].concat(), &[]);
    serves_through_a_crowd(&mut server, "/a.txt");
}

/// Clients that all ask at once, as many as are admitted, hold no more than there is.
#[test]
fn clients_and_their_upstream_connections_fit_into_few_descriptors() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let server = Server::start_in_shell(LIMIT, &[&ENV[..], &[("UPSTREAM", &url)]].concat(), &[]);
    let mut clients: Vec<_> = (0..16).map(|_| Client::open(server.address)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(&Request::post(&at.to_string(), "gate", b"body").bytes());
    }
    upstream.wait_begun(16);
    let crowd = crowd(&server, 100);
    assert_eventually(PATIENCE, "probes", || serves(&server, "/health"));
    upstream.open_gate();
    for (at, client) in clients.iter_mut().enumerate() {
        client.answer().assert_answers(200, &at.to_string());
    }
    drop(crowd);
    assert_eq!(server.rejections("overloaded") + server.rejections("upstream_unreachable"), 0.0);
}

/// More connections than fit were asked for by the operator, so that upstreams get none.
#[test]
fn a_lack_of_descriptors_is_not_the_upstreams_fault() {
    let (first, second) = (Upstream::named("first"), Upstream::named("second"));
    let urls = format!("{},{}", first.url(), second.url());
    let more =
        [("UPSTREAM", urls.as_str()), ("MAX_CONNECTIONS", "500"), ("NESSEN_UPSTREAM_EJECT_AFTER", "1")];
    let server = Server::start_in_shell("ulimit -n 40", &[&ENV[..], &more].concat(), &[]);
    let mut inside: Vec<_> = (0..12).map(|_| Client::open(server.address)).collect();
    for client in &mut inside {
        client.ask(&Request::get("in", "ok")).assert_answers(200, "in");
    }
    let mut scraper = server.connect();
    server.metrics_on(&mut scraper);
    let crowd = crowd(&server, 100);
    assert_eventually(PATIENCE, "no descriptors", || {
        server.metrics_on(&mut scraper)["nessen_accept_errors_total"] > 0.0
    });
    // All of them at once: there are not as many connections to the upstreams.
    for client in &mut inside {
        client.send(&Request::post("now", "pause=200", b"body").bytes());
    }
    let answers: Vec<_> = inside.iter_mut().map(Client::answer).collect();
    let refused = answers.iter().filter(|answer| answer.status != 200).collect::<Vec<_>>();
    for answer in &refused {
        answer.assert_refusal(503, "OVERLOADED");
        assert_eq!(answer.field("retry-after"), Some("1"));
    }
    assert!(!refused.is_empty(), "there was no lack of descriptors");
    let said =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|it| it.contains("no descriptors"));
    server.wait_log("no descriptors", said);
    assert_eq!(server.log().iter().filter(|line| said(line)).count(), 1, "once, not for each request");
    drop(crowd);
    assert_eventually(PATIENCE, "served again", || serves(&server, "/"));
    for _ in 0..4 {
        ask(&server, &Request::post("then", "ok", b"body")).assert_answers(200, "then");
    }
    assert_eq!(server.rejections("overloaded"), refused.len() as f64);
    assert_eq!(sum(&server, "nessen_upstream_ejections_total", &[]), 0.0);
}
