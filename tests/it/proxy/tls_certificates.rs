//! Whom a proxy believes, and who it is to its upstreams.

use std::sync::atomic::Ordering;

use super::{NO_EJECTION, TempFile, ask, proxy_to, proxy_with, sum};
use crate::support::client::Request;
use crate::support::front::{Ca, Front, Issued, Manners};
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;

/// Asks an upstream with this certificate, and says what was logged of it where it was not believed.
fn ask_one(issued: &Issued, ca: &Ca, env: &[(&str, &str)]) -> Result<(), String> {
    let upstream = Upstream::start();
    let front = Front::start(upstream.address, issued);
    let file = TempFile::new("ca.pem", &ca.pem());
    let server = proxy_to(&front.url(), &[&[("NESSEN_UPSTREAM_CA", file.path()), NO_EJECTION], env].concat());
    let answer = ask(&server, &Request::post("t", "ok", b"a body"));
    if answer.status == 200 {
        assert_eq!(upstream.requests(), 1);
        return Ok(());
    }
    answer.assert_refusal(502, "UPSTREAM_INVALID");
    // The client learns nothing of why.
    let told = format!("{answer:?}");
    assert!(!["certificate", "CA", "127.0.0.1", "expired"].iter().any(|word| told.contains(word)), "{told}");
    assert_eq!(upstream.requests(), 0, "the request was sent all the same");
    assert!(sum(&server, "nessen_upstream_requests_total", &["status=\"invalid\""]) >= 1.0);
    let line = server.wait_log("why", |line| line["message"] == "TLS with the upstream failed");
    assert_eq!(line["upstream"], front.url(), "{line}");
    Err(line["problem"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn only_the_right_name_of_the_right_ca_at_the_right_time_is_believed() {
    let ca = Ca::new("one");
    assert_eq!(ask_one(&ca.issue(&["127.0.0.1"]), &ca, &[]), Ok(()));
    let problem = ask_one(&ca.issue(&["app.test"]), &ca, &[]).unwrap_err();
    assert!(problem.starts_with("its certificate is for another name"), "{problem}");
    let problem = ask_one(&Ca::new("one").issue(&["127.0.0.1"]), &ca, &[]).unwrap_err();
    assert!(problem.starts_with("its certificate is of no CA"), "{problem}");
    let problem = ask_one(&ca.issue_expired(&["127.0.0.1"]), &ca, &[]).unwrap_err();
    assert!(problem.starts_with("its certificate has expired"), "{problem}");
}

#[test]
fn the_name_can_be_another_than_that_of_the_url() {
    let ca = Ca::new("one");
    let issued = ca.issue(&["app.test", "10.9.8.7"]);
    for name in ["app.test", "APP.test.", "10.9.8.7"] {
        assert_eq!(ask_one(&issued, &ca, &[("NESSEN_UPSTREAM_SERVER_NAME", name)]), Ok(()), "{name}");
    }
    assert!(ask_one(&issued, &ca, &[("NESSEN_UPSTREAM_SERVER_NAME", "other.test")]).is_err());
    // It is also what is asked for, where it is a name.
    let upstream = Upstream::start();
    let front = Front::start(upstream.address, &issued);
    let file = TempFile::new("ca.pem", &ca.pem());
    for (name, asked) in [("app.test", Some("app.test")), ("10.9.8.7", None)] {
        let table = TempFile::new(
            "route.toml",
            &format!(
                "[[route]]\npath = '/'\nupstream = '{}'\nca = '{}'\nserver_name = '{name}'\n",
                front.url(),
                file.path()
            ),
        );
        ask(&proxy_with(&table, &[]), &Request::get("t", "ok")).assert_answers(200, "t");
        assert_eq!(front.counts.names.lock().unwrap().pop().unwrap().as_deref(), asked);
    }
}

#[test]
fn without_a_ca_of_its_own_the_public_ones_are_believed() {
    let (ca, upstream) = (Ca::new("one"), Upstream::start());
    let front = Front::start(upstream.address, &ca.issue(&["127.0.0.1"]));
    let server = proxy_to(&front.url(), &[NO_EJECTION]);
    ask(&server, &Request::get("t", "ok")).assert_refusal(502, "UPSTREAM_INVALID");
}

#[test]
fn an_upstream_that_demands_a_certificate_is_shown_ours() {
    let (ca, upstream) = (Ca::new("one"), Upstream::start());
    let clients = Ca::new("clients");
    for old in [false, true] {
        let manners =
            Manners { alpn: vec!["http/1.1"], clients: Some(clients.pem()), old, ..Manners::default() };
        let front = Front::with(upstream.address, &ca.issue(&["127.0.0.1"]), manners);
        let file = TempFile::new("ca.pem", &ca.pem());
        let identity = |issued: &Issued| {
            (TempFile::new("cert.pem", &issued.cert), TempFile::new("key.pem", &issued.key))
        };
        let start = |identity: Option<&(TempFile, TempFile)>| -> Server {
            let mut env = vec![("NESSEN_UPSTREAM_CA", file.path()), NO_EJECTION];
            if let Some((cert, key)) = identity {
                env.extend([("NESSEN_UPSTREAM_CERT", cert.path()), ("NESSEN_UPSTREAM_KEY", key.path())]);
            }
            proxy_to(&front.url(), &env)
        };
        let ours = identity(&clients.issue(&["nessen.test"]));
        ask(&start(Some(&ours)), &Request::post("t", "ok", b"a body")).assert_answers(200, "t");
        assert_eq!(front.counts.certified.load(Ordering::Relaxed), 1);
        // None, and one of somebody else.
        let other = identity(&Ca::new("others").issue(&["nessen.test"]));
        for identity in [None, Some(&other)] {
            let server = start(identity);
            ask(&server, &Request::get("t", "ok")).assert_refusal(502, "UPSTREAM_UNREACHABLE");
            let line = server.wait_log("why", |line| line["message"] == "TLS with the upstream failed");
            assert!(line["problem"].as_str().unwrap().starts_with("it refused: "), "{line}");
        }
        assert_eq!(front.counts.certified.load(Ordering::Relaxed), 1);
    }
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn files_that_are_no_certificates_are_named_at_the_start() {
    let ca = Ca::new("one");
    let (ours, other) = (ca.issue(&["a.test"]), ca.issue(&["b.test"]));
    let (pem, nothing) = (TempFile::new("ca.pem", &ca.pem()), TempFile::new("nothing.pem", "nothing"));
    let (cert, key) = (TempFile::new("cert.pem", &ours.cert), TempFile::new("key.pem", &ours.key));
    let stranger = TempFile::new("stranger.pem", &other.key);
    let https = ("UPSTREAM", "https://127.0.0.1:9");
    for (env, parts) in [
        (
            vec![https, ("NESSEN_UPSTREAM_CA", "/nowhere/ca.pem")],
            vec!["upstream.ca = /nowhere/ca.pem", "cannot be read"],
        ),
        (
            vec![https, ("NESSEN_UPSTREAM_CA", nothing.path())],
            vec!["upstream.ca = ", "nothing.pem", "holds no certificate"],
        ),
        (
            vec![https, ("NESSEN_UPSTREAM_CERT", cert.path())],
            vec!["upstream.cert = ", "upstream.key = off", "go together"],
        ),
        (
            vec![https, ("NESSEN_UPSTREAM_CERT", cert.path()), ("NESSEN_UPSTREAM_KEY", nothing.path())],
            vec!["upstream.key = ", "nothing.pem", "holds no private key"],
        ),
        (
            vec![https, ("NESSEN_UPSTREAM_CERT", cert.path()), ("NESSEN_UPSTREAM_KEY", stranger.path())],
            vec!["upstream.key = ", "stranger.pem", "does not fit"],
        ),
        (
            vec![https, ("NESSEN_UPSTREAM_SERVER_NAME", "a:1")],
            vec!["upstream.server_name = \"a:1\"", "has a port"],
        ),
    ] {
        for command in ["serve", "check"] {
            let mut process = Process::start(&env, &[command]);
            assert_eq!(process.exit_code(), 78);
            let said = process.stderr().join("\n");
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
            assert!(said.starts_with("nessen: 1 error "), "{said}");
        }
    }
    // Without TLS they are not looked at.
    let mut plain =
        Process::start(&[("UPSTREAM", "http://127.0.0.1:9"), ("NESSEN_UPSTREAM_CA", "/nowhere")], &["check"]);
    assert_eq!(plain.exit_code(), 0);
    // In a route, by its own names.
    let route = |lines: &str| format!("[[route]]\npath = '/'\nupstream = 'https://127.0.0.1:9'\n{lines}");
    for (lines, problem) in [
        ("ca = '/nowhere'\n".to_owned(), ":4): ca = \"/nowhere\": cannot be read: No such file"),
        (format!("cert = '{}'\n", cert.path()), "cert and key go together"),
        (format!("key = '{}'\n", key.path()), "cert and key go together"),
        (format!("cert = '{}'\nkey = '{}'\n", cert.path(), stranger.path()), "does not fit"),
        (
            format!("upstream = 'http://a'\nca = '{}'\n", pem.path()),
            "means nothing without an upstream of https",
        ),
        ("upstream = 'https://-'\n".to_owned(), "no certificate can be for"),
    ] {
        let text = match lines.starts_with("upstream") {
            true => route(&lines).replace("upstream = 'https://127.0.0.1:9'\n", ""),
            false => route(&lines),
        };
        let table = TempFile::new("bad.toml", &text);
        let mut process = Process::start(&[], &["check", "--config", table.path()]);
        assert_eq!(process.exit_code(), 78, "{lines}");
        let said = process.stderr().join("\n");
        assert!(said.contains(problem), "{problem} in {said}");
    }
}
