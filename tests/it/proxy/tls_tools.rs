//! Questions that are asked within TLS beside the requests: of readiness, and by the health check.

use std::sync::atomic::Ordering;

use super::{TempFile, proxy_with};
use crate::support::front::{Ca, Front};
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn a_readiness_check_is_asked_within_tls() {
    let (ca, upstream) = (Ca::new("one"), Upstream::start());
    upstream.answer_unasked_with("ok");
    let issued = ca.issue(&["127.0.0.1"]);
    let front = Front::start(upstream.address, &issued);
    let file = TempFile::new("ca.pem", &ca.pem());
    let text = format!(
        "[[check]]\nname = 'app'\nhttp = '{}/well?a=b'\nca = '{}'\ninterval = '20ms'\nfall = 1\nrise = 1\n",
        front.url(),
        file.path()
    );
    let table = TempFile::new("checks.toml", &text);
    let server = proxy_with(&table, &[]);
    let status = |server: &Server| server.get("/ready").status;
    assert_eventually(PATIENCE, "ready", || status(&server) == 200);
    assert_eq!(upstream.seen().first().unwrap().target, "/well?a=b");
    front.replace(&Ca::new("other").issue(&["127.0.0.1"]));
    assert_eventually(PATIENCE, "not ready", || status(&server) == 503);
    assert!(server.get("/ready").text().contains("no TLS: its certificate is of no CA that is believed"));
    front.replace(&issued);
    assert_eventually(PATIENCE, "ready again", || status(&server) == 200);
}

#[test]
fn a_check_without_its_ca_is_named_at_the_start() {
    for (lines, problem) in [
        ("http = 'https://app'\nca = '/nowhere'\n", "ca = \"/nowhere\": cannot be read"),
        ("http = 'http://app'\nca = '/nowhere'\n", "means nothing without an https:// URL"),
        ("http = 'h2://app'\n", "is asked over HTTP/1.1 alone; write http:// or https://"),
    ] {
        let table = TempFile::new("checks.toml", &format!("[[check]]\nname = 'app'\n{lines}"));
        let mut process = Process::start(&[], &["check", "--config", table.path()]);
        assert_eq!(process.exit_code(), 78);
        let said = process.stderr().join("\n");
        assert!(said.contains(problem), "{problem} in {said}");
    }
}

#[test]
fn the_health_check_asks_within_tls_and_takes_any_certificate() {
    let server = Server::start(&[]);
    let ca = Ca::new("one");
    for issued in [ca.issue(&["127.0.0.1"]), ca.issue_expired(&["app.test"])] {
        let front = Front::start(server.address, &issued);
        let check = |path: &str, timeout: &str| {
            let url = format!("{}{path}", front.url());
            let mut process = Process::start(&[], &["healthcheck", "--url", &url, "--timeout", timeout]);
            (process.exit_code(), process.stderr().join("\n"))
        };
        assert_eq!(check("/health", "10s"), (0, String::new()));
        let (code, said) = check("/nowhere", "10s");
        assert!(code == 1 && said.contains("https://127.0.0.1:") && said.contains("404"), "{said}");
        front.counts.silent.store(true, Ordering::Relaxed);
        let (code, said) = check("/health", "200ms");
        assert!(code == 1 && said.ends_with("no answer in time"), "{said}");
    }
    // What does not speak TLS is not healthy.
    let plain = format!("https://{}", server.address);
    assert_eq!(Process::start(&[], &["healthcheck", "--url", &plain]).exit_code(), 1);
}
