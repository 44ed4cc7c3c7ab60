//! Request ids and security headers: on every answer, good or bad.

use std::collections::HashSet;

use crate::support::http1::{Response, get, post, post_head};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

fn ask(server: &Server, id: &[u8]) -> Response {
    let mut conn = server.connect();
    conn.send(
        &[b"GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\nX-Request-Id: ", id, b"\r\n\r\n"].concat(),
    );
    conn.read_response()
}

#[track_caller]
fn id_of(answer: &Response) -> String {
    let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-request-id").collect();
    assert_eq!(ids.len(), 1, "{answer:?}");
    let id = ids[0].1.clone();
    assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    id
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let ids: HashSet<String> = (0..100)
        .map(|_| {
            conn.send(&get("/badge/a/b.svg"));
            id_of(&conn.read_response())
        })
        .collect();
    assert_eq!(ids.len(), 100);
    for path in ["/health", "/metrics", "/nowhere", "/echo"] {
        id_of(&server.get(path));
    }
    // The id in the answer is the id in the log.
    let id = id_of(&server.get("/badge/a/b.svg"));
    let line = server.wait_log("the request's line", |line| line["request_id"] == *id);
    let facts = [&line["method"], &line["path"], &line["status"], &line["client"], &line["protocol"]];
    assert_eq!(
        serde_json::json!(facts),
        serde_json::json!(["GET", "/badge/a/b.svg", 200, "127.0.0.1", "http/1.1"])
    );
}

#[test]
fn a_stranger_does_not_choose_the_request_id() {
    let server = Server::start(&[]);
    assert_ne!(id_of(&ask(&server, b"chosen-by-a-stranger")), "chosen-by-a-stranger");
}

#[test]
fn a_trusted_proxy_chooses_the_request_id_if_it_chooses_well() {
    let server = Server::start(&[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    for id in ["a", "7f3a-11", "0123456789abcdef0123456789abcdef", "req_1.2-3"] {
        assert_eq!(id_of(&ask(&server, id.as_bytes())), id);
    }
    let long = "a".repeat(1000);
    let bad: [&[u8]; 7] =
        [b"", b"two words", b"a\tb", b"caf\xc3\xa9", b"\"quoted\"", b"<script>", long.as_bytes()];
    for id in bad {
        let answer = id_of(&ask(&server, id));
        assert_ne!(answer.as_bytes(), id);
    }
    let mut conn = server.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Request-Id: one\r\nX-Request-Id: two\r\n\r\n");
    id_of(&conn.read_response());
}

#[test]
fn the_request_id_may_have_another_name() {
    let server = Server::start(&[
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("NESSEN_SERVER_REQUEST_ID_HEADER", "x-correlation-id"),
    ]);
    let mut conn = server.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Correlation-Id: abc\r\n\r\n");
    assert_eq!(conn.read_response().header("x-correlation-id"), Some("abc"));
}

#[test]
fn answers_carry_security_headers() {
    let server = Server::start(&[]);
    let answer_to = |request: &[u8]| {
        let mut conn = server.connect();
        conn.send(request);
        conn.read_response()
    };
    // Refused by the parser, before it, by a limit, by the router: none is to be sniffed.
    let refused: [&[u8]; 4] =
        [b"NOT HTTP AT ALL\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", &post_head(100 << 20), &get("/nowhere")];
    for refusal in refused.map(answer_to) {
        assert_eq!(refusal.header("x-content-type-options"), Some("nosniff"), "{refusal:?}");
    }
    for answer in [server.get("/"), server.get("/badge/a/b.svg"), answer_to(&post(b"hello"))] {
        let status = answer.status;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{status}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{status}");
        assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"), "{status}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src"), "{status}: {policy}");
        assert!(answer.header("permissions-policy").is_some(), "{status}");
    }
}

#[test]
fn security_headers_can_be_turned_off() {
    let server = Server::start(&[("NESSEN_SECURITY_HEADERS_ENABLED", "false")]);
    let answer = server.get("/badge/a/b.svg");
    assert_eq!(answer.header("x-frame-options"), None);
    assert_eq!(answer.header("content-security-policy"), None);
}

#[test]
fn secrets_do_not_reach_the_log() {
    let server = Server::start(&[("LOG_LEVEL", "trace")]);
    let mut conn = server.connect();
    conn.send(
        b"GET /badge/a/b.svg?token=hush1&api_key=hush2&X-Signature=hush3&plain=seen HTTP/1.1\r\n\
          Host: nessen.test\r\nAuthorization: Bearer hush4\r\nCookie: session=hush5\r\nX-Api-Key: hush6\r\n\r\n",
    );
    let id = id_of(&conn.read_response());
    server.wait_log("the request's line", |line| line["request_id"] == *id);
    assert_eventually(PATIENCE, "a second line", || {
        server.get("/badge/c/d.svg");
        server.log().iter().any(|line| line["path"] == "/badge/c/d.svg")
    });
    let log = server.stdout().join("\n");
    assert!(!log.contains("hush"), "{log}");
}
