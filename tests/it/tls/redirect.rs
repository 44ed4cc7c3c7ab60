//! The second port, which sends plain HTTP to https; and plain HTTP where it does not belong.

use std::net::{SocketAddr, TcpListener};

use super::Secure;
use crate::support::PATIENCE;
use crate::support::http1::{Conn, End, get};

/// A port that nobody has at the moment.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn redirecting(env: &[(&str, &str)]) -> (Secure, SocketAddr) {
    let port = free_port();
    let own = [("NESSEN_TLS_REDIRECT_PORT", port.as_str())];
    let secure = Secure::start(&[&own, env].concat());
    let line = secure.wait_log("listening", |line| line["message"] == "listening");
    (secure, line["redirect_address"].as_str().unwrap().parse().unwrap())
}

#[test]
fn everything_is_sent_to_https_and_probes_are_answered() {
    let (_secure, address) =
        redirecting(&[("NESSEN_TLS_PUBLIC_PORT", "8443"), ("NESSEN_SECURITY_HEADERS_HSTS", "max-age=1")]);
    let mut conn = Conn::open(address);
    for (method, target, location) in [
        ("GET", "/", "https://nessen.test:8443/"),
        ("GET", "/a/../b?c=d&e", "https://nessen.test:8443/a/../b?c=d&e"),
        ("DELETE", "/metrics", "https://nessen.test:8443/metrics"),
        ("OPTIONS", "*", "https://nessen.test:8443/"),
    ] {
        conn.send(format!("{method} {target} HTTP/1.1\r\nHost: nessen.test\r\n\r\n").as_bytes());
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.header("location")), (308, Some(location)), "{method} {target}");
        assert!(
            answer.header("strict-transport-security").is_none() && answer.header("x-request-id").is_some()
        );
    }
    for path in ["/health", "/ready"] {
        conn.send(&get(path));
        assert_eq!(conn.read_response().status, 200);
    }
    let mut conn = Conn::open(address);
    conn.send(b"POST /form HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(conn.read_response().status, 308);
}

#[test]
fn it_leads_to_no_host_that_is_none_of_ours() {
    let (_secure, address) = redirecting(&[("ALLOWED_HOSTS", "nessen.test")]);
    for (host, status) in
        [("nessen.test", 308), ("evil.example", 421), ("a b", 400), ("nessen.test@evil.example", 400)]
    {
        let mut conn = Conn::open(address);
        conn.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(conn.read_response().status, status, "{host}");
    }
    let mut conn = Conn::open(address);
    conn.send(b"GET / HTTP/1.0\r\n\r\n");
    assert!([400, 421].contains(&conn.read_response().status));
}

#[test]
fn it_has_the_clocks_and_places_of_the_main_port() {
    let (secure, address) = redirecting(&[("HEADERS_TIMEOUT", "3s"), ("MAX_CONNECTIONS_PER_IP", "3")]);
    let mut slow = Conn::open(address);
    slow.send(b"GET / HTT");
    assert_eq!(slow.read_response().status, 408);
    let _held: Vec<_> = (0..3).map(|_| Conn::open(address)).collect();
    let mut refused = Conn::open(address);
    assert_eq!(refused.read_response().status, 429);
    // One count for both ports, since they are one client's.
    let mut refused = Conn::open(secure.address);
    assert_eq!(
        refused.read_to_end(PATIENCE).0,
        [21, 3, 3, 0, 2, 2, 80],
        "an alert, which TLS clients understand"
    );
}

#[test]
fn plain_http_is_told_where_it_is() {
    let secure = Secure::start(&[("NESSEN_SECURITY_HEADERS_HSTS", "max-age=1")]);
    let mut conn = secure.connect();
    conn.send(&get("/"));
    let answer = conn.read_response();
    assert!(
        answer.status == 400 && answer.json()["code"] == "PLAIN_HTTP" && answer.says_close(),
        "{answer:?}"
    );
    assert!(answer.header("strict-transport-security").is_none());
    assert_eq!(conn.read_to_end(PATIENCE).1, End::Fin);
    assert_eq!(secure.handshakes("plain_http"), 1.0);
    let answer = secure.get_secure("/");
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=1"));
}
