//! Startup, probes, and what keeps a process from starting.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::support::http1::{Conn, get};
use crate::support::server::{Process, Server};

#[test]
fn a_server_starts_and_says_so() {
    let server = Server::start(&[]);
    let log = server.log();
    let phases: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "phase")
        .map(|line| [&line["from"], &line["to"]])
        .collect();
    assert_eq!(phases, [["STARTING", "RUNNING"]]);
    assert_eq!(log.len(), server.stdout().len(), "a line is no JSON");
    for line in &log {
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    assert!(server.address.ip().is_loopback() && server.address.port() != 0);
    assert_eq!(server.stderr(), Vec::<String>::new());
}

#[test]
fn probes_answer_under_every_name() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let health = ["/health", "/healthz", "/livez", "/health/live"];
    let ready = ["/ready", "/readyz", "/health/ready"];
    for path in health.into_iter().chain(ready) {
        conn.send(&get(path));
        let answer = conn.read_response();
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.json().is_object(), "{path}");
        conn.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(conn.read_head_response().status, 200, "{path}");
        conn.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(conn.read_response().status, 405, "{path}");
    }
    for path in ["/version", "/api/health"] {
        conn.send(&get(path));
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
        assert!(answer.json().is_object(), "{path}");
    }
    let metrics = server.metrics();
    assert_eq!(metrics["nessen_ready"], 1.0);
    assert_eq!(metrics["nessen_phase{phase=\"RUNNING\"}"], 1.0);
}

#[test]
fn operators_may_have_a_port_of_their_own() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&[("ADMIN_PORT", &port.to_string()), ("NESSEN_ADMIN_HOST", "127.0.0.1")]);
    let admin = SocketAddr::new(server.address.ip(), port);
    let ask = |address: SocketAddr, path: &str| {
        let mut conn = Conn::open(address);
        conn.send(&get(path));
        conn.read_response().status
    };
    for path in ["/metrics", "/version", "/api/health"] {
        assert_eq!((ask(server.address, path), ask(admin, path)), (404, 200), "{path}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!((ask(server.address, path), ask(admin, path)), (200, 200), "{path}");
    }
    // The welcome app is not there; nor is anything else by a name that is not the port's.
    let mut conn = Conn::open(admin);
    conn.send(b"GET /badge/a/b.svg HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((conn.read_response().status, ask(admin, "/badge/a/b.svg")), (404, 421));
}

#[test]
fn probes_that_are_fine_are_not_logged() {
    let server = Server::start(&[]);
    for path in ["/health", "/ready", "/metrics", "/livez"] {
        assert_eq!(server.get(path).status, 200);
    }
    let id = server.get("/badge/a/b.svg").header("x-request-id").map(str::to_owned);
    server.wait_log("the badge's line", |line| line["request_id"].as_str() == id.as_deref());
    let paths: Vec<Value> = server.log().into_iter().map(|line| line["path"].clone()).collect();
    assert!(
        !paths.iter().any(|path| path == "/health" || path == "/ready" || path == "/metrics"),
        "{paths:?}"
    );
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let mut process = Process::start(&[("PORT", &port)], &[]);
    assert_eq!(process.exit_code(), 1);
    let errors: Vec<String> = process
        .stderr()
        .into_iter()
        .chain(process.log().iter().filter(|line| line["level"] == "ERROR").map(Value::to_string))
        .collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains(&address.to_string()) && errors[0].contains("in use"), "{errors:?}");
}

#[test]
fn a_bad_configuration_is_refused_with_every_error_at_once() {
    // A port that is free, so that binding it would be seen.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut process = Process::start(
        &[
            ("PORT", &free),
            ("MAX_BODY_SIZE", "plenty"),
            ("NESSEN_LIMITS_HEADERS_TIMEOUT", "-5s"),
            ("NESSEN_LIMTS_MAX_CONNECTIONS", "5"),
            ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ],
        &["--set", "limits.max_hedaer_size=1KiB"],
    );
    assert_eq!(process.exit_code(), 78);
    let errors = process.stderr().join("\n");
    for named in [
        "MAX_BODY_SIZE",
        "plenty",
        "HEADERS_TIMEOUT",
        "NESSEN_LIMTS_MAX_CONNECTIONS",
        "TRUSTED_PROXIES",
        "10.0.0.0/99",
    ] {
        assert!(errors.contains(named), "{named} is not named:\n{errors}");
    }
    for meant in ["NESSEN_LIMITS_MAX_CONNECTIONS", "max_header_size"] {
        assert!(errors.contains(meant), "{meant} is not suggested:\n{errors}");
    }
    assert!(!process.log().iter().any(|line| line["message"] == "listening"));
    let address: SocketAddr = format!("127.0.0.1:{free}").parse().unwrap();
    assert!(Conn::try_open(address).is_err(), "something was bound");
}

#[test]
fn a_flag_nobody_knows_is_a_matter_of_usage() {
    let mut process = Process::start(&[], &["--no-such-flag"]);
    assert_eq!(process.exit_code(), 2);
    assert!(process.stderr().join("\n").contains("no-such-flag"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut process = Process::start(&[], &["--config", "no/such/file.toml"]);
    assert_eq!(process.exit_code(), 78);
    assert!(process.stderr().join("\n").contains("no/such/file.toml"));
}
