//! The PROXY protocol: a balancer that passes bytes on says for whom, and the server takes its word.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::http1::{Conn, Response, get, post};
use crate::support::http2::{self, H2};
use crate::support::problem::assert_problem;
use crate::support::server::{Process, Server};

/// The balancer. The tests themselves ask from 127.0.0.1, which is nobody to the server.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn start(setting: &str, more: &[(&str, &str)]) -> Server {
    let env = [("NESSEN_SERVER_PROXY_PROTOCOL", setting), ("TRUSTED_PROXIES", "127.0.0.2/32")];
    Server::start(&[&env, more].concat())
}

/// `PROXY` for this client, as text.
fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 40000 443\r\n").into_bytes()
}

/// The same in bytes, with an extension.
fn v2(client: &str) -> Vec<u8> {
    let client: Ipv4Addr = client.parse().unwrap();
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13".to_vec();
    bytes.extend_from_slice(&client.octets());
    bytes.extend_from_slice(&[10, 0, 0, 1, 0x9c, 0x40, 1, 187, 4, 0, 4, 0, 0, 0, 0]);
    bytes
}

fn connect(server: &Server) -> Conn {
    Conn::open_from(PROXY, server.address)
}

/// What the balancer is answered when it passes these bytes on.
#[track_caller]
fn ask(server: &Server, bytes: &[u8]) -> Response {
    let mut conn = connect(server);
    conn.send(bytes);
    conn.read_response()
}

#[track_caller]
fn wait_client(server: &Server, path: &str, client: &str) {
    let line = server.wait_log(path, |line| line["path"] == path);
    assert_eq!(line["client"], client, "{line}");
}

#[test]
fn the_log_names_the_announced_client() {
    for setting in ["required", "optional"] {
        let server = start(setting, &[]);
        let mut conn = connect(&server);
        conn.send(&[v1("192.0.2.1"), get("/badge/a/one.svg"), post(b"hello")].concat());
        assert_eq!(conn.read_response().status, 200);
        assert_eq!(conn.read_response().text(), "hello");
        conn.assert_serves();
        wait_client(&server, "/badge/a/one.svg", "192.0.2.1");
        wait_client(&server, "/echo", "192.0.2.1");
        assert_eq!(ask(&server, &[v2("192.0.2.2"), get("/badge/a/two.svg")].concat()).status, 200);
        wait_client(&server, "/badge/a/two.svg", "192.0.2.2");
        let health = [b"PROXY UNKNOWN\r\n".to_vec(), get("/badge/a/own.svg")].concat();
        assert_eq!(ask(&server, &health).status, 200);
        wait_client(&server, "/badge/a/own.svg", "127.0.0.2");
        let six = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec();
        assert_eq!(ask(&server, &[six, get("/badge/a/six.svg")].concat()).status, 200);
        wait_client(&server, "/badge/a/six.svg", "2001:db8::1");
    }
}

#[test]
fn a_header_may_come_in_pieces() {
    let server = start("required", &[]);
    for header in [v1("192.0.2.1"), v2("192.0.2.1")] {
        let mut conn = connect(&server);
        for byte in [header, get("/badge/a/b.svg")].concat() {
            conn.send(&[byte]);
        }
        assert_eq!(conn.read_response().status, 200);
    }
}

#[test]
fn a_balancer_without_a_header_is_refused_where_one_is_required() {
    let server = start("required", &[]);
    let mut conn = connect(&server);
    conn.send(&get("/badge/a/b.svg"));
    let answer = conn.read_response();
    assert_problem(&answer, 400, "MALFORMED_REQUEST");
    assert!(answer.says_close());
    conn.half_close();
    conn.assert_closed();
    server.assert_refused_once("malformed_request");
    assert_eq!(server.get("/badge/a/b.svg").status, 200, "nobody else is asked for one");
    let server = start("optional", &[]);
    assert_eq!(ask(&server, &get("/badge/a/b.svg")).status, 200);
}

#[test]
fn a_client_cannot_announce_itself() {
    for setting in ["off", "required", "optional"] {
        let server = start(setting, &[]);
        for header in [v1("192.0.2.1"), v2("192.0.2.1")] {
            let mut conn = server.connect();
            conn.send(&[header, get("/badge/a/b.svg")].concat());
            assert_problem(&conn.read_response(), 400, "MALFORMED_REQUEST");
        }
        server.assert_refused("malformed_request", 2);
        let lines = server.log();
        assert!(lines.iter().all(|line| line["client"] != "192.0.2.1"), "{lines:?}");
    }
}

#[test]
fn a_header_without_a_request_is_closed_in_time_and_in_silence() {
    let server = start("required", &[("HEADERS_TIMEOUT", "300ms")]);
    let mut conn = connect(&server);
    conn.send(&v1("192.0.2.1"));
    conn.assert_closed();
    server.assert_refused_once("headers_timeout");
    let mut conn = connect(&server);
    conn.send(&v1("192.0.2.1")[..20]);
    assert_problem(&conn.read_response(), 408, "HEADERS_TIMEOUT");
}

#[test]
fn limits_are_those_of_the_announced_client() {
    let server = start("required", &[("MAX_CONNECTIONS_PER_IP", "2")]);
    let asks = |client: &str| [v1(client), get("/badge/a/b.svg")].concat();
    let held = [(); 2].map(|()| {
        let mut conn = connect(&server);
        conn.send(&asks("192.0.2.1"));
        assert_eq!(conn.read_response().status, 200);
        conn
    });
    let answer = ask(&server, &asks("192.0.2.1"));
    assert_problem(&answer, 429, "TOO_MANY_CONNECTIONS_FROM_CLIENT");
    assert!(answer.says_close());
    assert_eq!(ask(&server, &asks("192.0.2.2")).status, 200);
    server.assert_refused_once("too_many_connections_from_client");
    drop(held);
    let server = start("required", &[("RATE_LIMIT_MAX_REQUESTS", "2"), ("RATE_LIMIT_WINDOW_MS", "60000")]);
    let statuses = [(); 3].map(|()| ask(&server, &asks("192.0.2.1")).status);
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(ask(&server, &asks("192.0.2.2")).status, 200);
}

#[test]
fn http2_works_behind_a_header() {
    let server = start("required", &[]);
    let mut conn = connect(&server);
    conn.send(&v2("192.0.2.1"));
    let mut h2 = H2::on(conn, &[]);
    h2.send(&http2::get(1, "/badge/a/b.svg"));
    h2.pump_until("an answer", |h2| h2.answers.get(&1).is_some_and(http2::Answer::done));
    assert_eq!(h2.answers[&1].status, Some(200));
    wait_client(&server, "/badge/a/b.svg", "192.0.2.1");
}

#[test]
fn a_header_alone_does_not_hold_up_a_drain() {
    let mut server = start("required", &[("DRAIN_DELAY", "0"), ("HEADERS_TIMEOUT", "60s")]);
    let mut conn = connect(&server);
    conn.send(&v1("192.0.2.1"));
    // Answered on another connection: the header has been taken in by then.
    server.get("/badge/a/b.svg");
    server.signal(Signal::TERM);
    conn.assert_closed();
    assert_eq!(server.wait_exit(PATIENCE.min(Duration::from_secs(10))), Some(Ok(0)));
}

#[test]
fn the_health_check_speaks_as_a_proxy_where_it_must() {
    for setting in ["required", "optional", "off"] {
        let env = [("NESSEN_SERVER_PROXY_PROTOCOL", setting), ("TRUSTED_PROXIES", "127.0.0.0/8")];
        let server = Server::start(&env);
        let port = SocketAddr::port(&server.address).to_string();
        let env = [&env[..], &[("PORT", &port)]].concat();
        assert_eq!(Process::start(&env, &["healthcheck"]).exit_code(), 0, "{setting}");
    }
}

/// A header of version 2 with this command, family and length of zeros behind it.
fn v2_of(command: u8, family: u8, length: u16) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend(std::iter::repeat_n(0, usize::from(length)));
    bytes
}

#[test]
fn a_header_that_is_wrong_is_refused_and_one_that_says_nothing_is_not() {
    let server = start("required", &[]);
    let wrong = [
        v2_of(0x21, 0x21, 12),
        v2_of(0x21, 0x11, 8),
        v2_of(0x11, 0x11, 12),
        v2_of(0x2f, 0x11, 12),
        v2_of(0x21, 0xf1, 12),
        v2_of(0x21, 0x11, u16::MAX),
        [v2("192.0.2.1"), v2("192.0.2.1")].concat(),
        b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
    ];
    for header in &wrong {
        let mut conn = connect(&server);
        conn.send(&[header.as_slice(), &get("/badge/a/b.svg")].concat());
        let answer = conn.read_response();
        assert_problem(&answer, 400, "MALFORMED_REQUEST");
        assert!(answer.says_close(), "{}", header.escape_ascii());
    }
    server.assert_refused("malformed_request", wrong.len());
    // A health check of the balancer's own, a socket of another kind, and extensions to the limit.
    for header in [v2_of(0x20, 0, 0), v2_of(0x21, 0x31, 216), v2_of(0x20, 0x11, 12), v2_of(0x21, 0x00, 4080)]
    {
        let answer = ask(&server, &[header.as_slice(), &get("/badge/a/own.svg")].concat());
        assert_eq!(answer.status, 200, "{}", header[..16].escape_ascii());
        wait_client(&server, "/badge/a/own.svg", "127.0.0.2");
    }
}
