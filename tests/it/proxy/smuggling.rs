//! Requests that are two to whoever reads them otherwise: the upstream sees one, or none.

use super::{proxy, proxy_to};
use crate::support::client::{Client, Request};
use crate::support::http1::Conn;
use crate::support::http2::{DATA, END_HEADERS, END_STREAM, H2, HEADERS, field, frame};
use crate::support::upstream::Upstream;

const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: nessen.test\r\nX-Token: inner\r\n\r\n";

/// Fails where the upstream was made to see what is inside a body.
#[track_caller]
fn assert_not_smuggled(upstream: &Upstream, case: &str) {
    upstream.assert_clean();
    let inner = upstream.seen().into_iter().find(|seen| seen.target.contains("smuggled"));
    assert!(inner.is_none(), "{case}: {inner:?}");
}

/// Heads whose body can be read in two ways; the body is a request.
fn heads() -> Vec<String> {
    let length = INNER.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        format!("Content-Length: {length}\r\n{chunked}"),
        format!("{chunked}Content-Length: {length}\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked, identity\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: identity, chunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding:\x0bchunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
        format!("Content-Length: {length}\r\nTransfer_Encoding: chunked\r\n"),
        format!("Content-Length: {length}\r\nX: a\r\n Transfer-Encoding: chunked\r\n"),
        format!("Content_Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length}\r\nConnection: content-length\r\n"),
        format!("Content-Length: {length}\r\nConnection: close, content-length, host\r\n"),
        format!("Content-Length: {length}\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\n"),
        format!("Content-Length: {length}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"),
        format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"),
        format!("Content-Length: {length}\r\nExpect: 100-continue\r\nConnection: expect\r\n"),
    ]
}

/// Whole requests with another in what may be their body, by what they are.
pub(crate) fn requests() -> Vec<(String, Vec<u8>)> {
    let mut requests = Vec::new();
    for method in ["GET", "POST", "HEAD", "OPTIONS", "DELETE"] {
        for head in heads() {
            for body in [INNER.to_owned(), format!("0\r\n\r\n{INNER}")] {
                let outer = format!("{method} /outer HTTP/1.1\r\nHost: nessen.test\r\n{head}\r\n{body}");
                requests.push((format!("{method} {head:?} {body:?}"), outer.into_bytes()));
            }
        }
    }
    requests
}

#[test]
fn a_request_inside_a_body_stays_there() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for (case, outer) in requests() {
        let mut conn = Conn::open(server.address);
        let _ = conn.try_send(&outer);
        let _ = conn.try_read_response(std::time::Duration::from_millis(50));
        // One more, which the upstream must see as what it is.
        let mut next = Client::open(server.address);
        next.ask(&Request::get("next", "ok")).assert_answers(200, "next");
        assert_not_smuggled(&upstream, &case);
    }
}

/// Whole requests over HTTP/2 that are, or would become, something else in HTTP/1.1.
fn streams() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let pseudo = |method: &str, path: &str, authority: &str| {
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
            .iter()
            .flat_map(|(name, value)| field(name, value))
            .collect::<Vec<u8>>()
    };
    let post =
        |name: &str, value: &str| [pseudo("POST", "/outer", "nessen.test"), field(name, value)].concat();
    let split = "/outer HTTP/1.1\r\nHost: nessen.test\r\n\r\nGET /smuggled";
    vec![
        ("a length under the body's", post("content-length", "0"), INNER),
        ("a length over the body's", post("content-length", "500"), INNER),
        (
            "chunks",
            post("transfer-encoding", "chunked"),
            "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("a connection field", post("connection", "content-length"), INNER),
        ("an upgrade", post("upgrade", "websocket"), INNER),
        (
            "a line end in a value",
            post("x-a", "b\r\nTransfer-Encoding: chunked"),
            "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("a line feed in a value", post("x-a", "b\nContent-Length: 0"), INNER),
        ("a line end in a name", post("x-a: b\r\ncontent-length: 0\r\nx-b", "c"), INNER),
        ("a colon in a name", post("content-length:", "0"), INNER),
        ("a name in capitals", post("Content-Length", "0"), INNER),
        ("a line end in the method", pseudo("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET", "/", "a"), ""),
        ("a space in the method", pseudo("GET /smuggled", "/", "a"), ""),
        ("a line end in the path", pseudo("GET", split, "nessen.test"), ""),
        ("a space in the path", pseudo("GET", "/outer HTTP/1.1 /smuggled", "nessen.test"), ""),
        ("a path without a slash", pseudo("GET", "smuggled", "nessen.test"), ""),
        ("an absolute path", pseudo("GET", "http://smuggled.test/", "nessen.test"), ""),
        (
            "a line end in the host",
            pseudo("GET", "/", "a\r\nX: b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a"),
            "",
        ),
        ("a user in the host", pseudo("GET", "/", "smuggled@nessen.test"), ""),
        ("another host", [pseudo("GET", "/", "nessen.test"), field("host", "smuggled.test")].concat(), ""),
        ("two lengths", [post("content-length", "0"), field("content-length", "66")].concat(), INNER),
    ]
}

#[test]
fn a_stream_becomes_one_request_or_none() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for (case, fields, body) in streams() {
        let before = upstream.begun();
        let mut h2 = H2::open(server.address);
        let flags = END_HEADERS | if body.is_empty() { END_STREAM } else { 0 };
        let mut bytes = frame(HEADERS, flags, 1, &fields);
        if !body.is_empty() {
            bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        h2.try_send(&bytes);
        h2.pump_until("an answer, or none", |h2| {
            h2.end.is_some() || !h2.goaways.is_empty() || h2.answers.get(&1).is_some_and(|one| one.done())
        });
        // Whatever lies in wait on a connection to the upstream meets this one.
        for _ in 0..3 {
            let mut next = Client::open(server.address);
            next.ask(&Request::get("next", "ok")).assert_answers(200, "next");
        }
        assert_not_smuggled(&upstream, case);
        let became = upstream.begun() - before - 3;
        assert!(became <= 1, "{case}: became {became} requests");
        for seen in upstream.seen() {
            assert!(!seen.all("host").join("").contains("smuggled"), "{case}: {seen:?}");
        }
    }
}

#[test]
fn connect_is_no_way_to_anybody() {
    let upstream = Upstream::start();
    let server = proxy_to(&upstream.url(), &[]);
    let mut client = Client::open(server.address);
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n\r\n", upstream.address).as_bytes());
    let answer = client.answer();
    assert!((400..600).contains(&answer.status), "{answer:?}");
    // Nor is the name of somebody else in the target or the host.
    for target in ["http://other.test:1/", "/"] {
        let mut client = Client::open(server.address);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: other.test:1\r\nX-Token: t\r\n\r\n").as_bytes());
        client.answer().assert_answers(200, "t");
    }
    assert_eq!(upstream.requests(), 2);
}
