//! The fields of answers over HTTP/2, read by a client that knows all of HPACK.

use std::net::SocketAddr;

use http::{HeaderMap, Request};

use crate::support::server::Server;

/// The status and fields of one answer, and of the next on the same connection.
fn ask_twice(address: SocketAddr, request: &Request<()>) -> [(u16, HeaderMap); 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..2 {
            send = send.ready().await.unwrap();
            let answer = send.send_request(request.clone(), true).unwrap().0.await.unwrap();
            answers.push((answer.status().as_u16(), answer.headers().clone()));
        }
        answers.try_into().unwrap()
    })
}

#[track_caller]
fn text<'a>(fields: &'a HeaderMap, name: &str) -> &'a str {
    fields.get(name).unwrap_or_else(|| panic!("no {name} in {fields:?}")).to_str().unwrap()
}

#[test]
fn a_refusal_carries_the_fields_of_a_refusal() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "1"), ("RATE_LIMIT_WINDOW_MS", "60000")]);
    let request = Request::get("http://nessen.test/badge/a/b.svg").body(()).unwrap();
    let [(first, served), (second, refused)] = ask_twice(server.address, &request);
    assert_eq!((first, second), (200, 429));
    assert_eq!(text(&refused, "content-type"), "application/problem+json");
    assert!((1..=60).contains(&text(&refused, "retry-after").parse::<u64>().unwrap()));
    assert!(text(&refused, "ratelimit-policy").starts_with("\"default\";"));
    assert!(text(&refused, "ratelimit").starts_with("\"default\";r=0;t="));
    assert_eq!(text(&served, "ratelimit-policy"), "\"default\";q=1;w=60");
    assert!(text(&served, "ratelimit").starts_with("\"default\";r="));
    assert_ne!(text(&served, "x-request-id"), text(&refused, "x-request-id"));
    for fields in [&served, &refused] {
        assert_eq!(text(fields, "x-content-type-options"), "nosniff");
        // Fields of a connection make an answer malformed here (RFC 9113 section 8.2.2).
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            assert!(!fields.contains_key(name), "{fields:?}");
        }
    }
}

#[test]
fn a_request_id_is_taken_from_trusted_peers_alone() {
    let request =
        Request::get("http://nessen.test/badge/a/b.svg").header("x-request-id", "abc-123").body(()).unwrap();
    for (trusted, taken) in [("none", false), ("127.0.0.1", true)] {
        let server = Server::start(&[("TRUSTED_PROXIES", trusted)]);
        let [(_, first), (_, second)] = ask_twice(server.address, &request);
        for fields in [first, second] {
            assert_eq!(text(&fields, "x-request-id") == "abc-123", taken, "trusted: {trusted}");
        }
    }
}
