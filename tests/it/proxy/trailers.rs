//! Trailers: passed on where they can be, never as what they must not be (RFC 9110 section 6.5.1).

use super::{ask, ask2, proxy};
use crate::support::client::{Answer, Body, Request};
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::{Fields, values};

/// What no trailer may say: framing, routing, authentication, or where a request came from.
const FORBIDDEN: [&str; 12] = [
    "content-length",
    "transfer-encoding",
    "host",
    "authorization",
    "set-cookie",
    "cookie",
    "connection",
    "x-forwarded-for",
    "forwarded",
    "x-request-id",
    "te",
    "trailer",
];

#[track_caller]
fn assert_filtered(trailers: &Fields) {
    for name in FORBIDDEN {
        assert_eq!(values(trailers, name), [""; 0], "{trailers:?}");
    }
}

fn trailers() -> Fields {
    let fine = ("X-Sum".to_owned(), "7".to_owned());
    let forbidden = FORBIDDEN.iter().map(|name| ((*name).to_owned(), "6".to_owned()));
    std::iter::once(fine).chain(forbidden).collect()
}

#[test]
fn trailers_of_a_request_are_filtered() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let body = Body::Parts(vec![b"hello".to_vec()], trailers());
    let request = |token: &str| Request::post(token, "ok", b"").field("Trailer", "X-Sum").body(body.clone());
    ask(&server, &request("h1")).assert_answers(200, "h1");
    let seen = upstream.one("h1");
    assert_eq!(seen.body, Digest::of(b"hello"));
    assert_filtered(&seen.trailers);
    assert_eq!(seen.all("authorization"), [""; 0], "a trailer became a field: {seen:#?}");
}

#[test]
fn trailers_of_a_request_over_http_2_are_filtered() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    // Fields of one connection break HTTP/2 itself: those are tested with the limits.
    let allowed: Fields = trailers()
        .into_iter()
        .filter(|(name, _)| !["connection", "transfer-encoding", "te"].contains(&name.as_str()))
        .collect();
    let body = Body::Parts(vec![b"hello".to_vec()], allowed);
    let request = Request::post("h2", "ok", b"").field("Trailer", "X-Sum").body(body);
    if let Ok(answer) = ask2(&server, &request)
        && answer.status == 200
    {
        assert_filtered(&upstream.one("h2").trailers);
    }
}

#[test]
fn a_checksum_behind_a_request_is_passed_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let sum = vec![("X-Sum".to_owned(), "7".to_owned())];
    let body = Body::Parts(vec![b"hello".to_vec()], sum);
    let request = |token: &str| Request::post(token, "ok", b"").field("Trailer", "X-Sum").body(body.clone());
    ask(&server, &request("h1")).assert_answers(200, "h1");
    ask2(&server, &request("h2")).unwrap().assert_answers(200, "h2");
    for token in ["h1", "h2"] {
        assert_eq!(values(&upstream.one(token).trailers, "x-sum"), ["7"], "{token}");
    }
}

#[test]
fn trailers_of_an_answer_are_filtered() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let judge = |answer: &Answer, token: &str| {
        answer.assert_answers(200, token);
        assert_eq!(answer.body, b"ok");
        assert_filtered(&answer.trailers);
        assert!(!format!("{answer:?}").contains("poison"), "{answer:?}");
    };
    judge(&ask(&server, &Request::get("plain", "trailers")), "plain");
    // A client that says it takes them gets those that are harmless.
    let willing = |token: &str| Request::get(token, "trailers").field("TE", "trailers");
    let answer = ask(&server, &willing("h1").field("Connection", "TE"));
    judge(&answer, "h1");
    assert_eq!(values(&answer.trailers, "x-sum"), ["7"], "{answer:?}");
    let answer = ask2(&server, &willing("h2")).unwrap();
    judge(&answer, "h2");
    assert_eq!(values(&answer.trailers, "x-sum"), ["7"], "{answer:?}");
}

#[test]
fn an_answer_with_trailers_leaves_its_connection_for_the_next() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for number in 0..5 {
        let token = number.to_string();
        let answer = ask(&server, &Request::get(&token, "trailers").field("TE", "trailers"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    }
    assert_eq!(upstream.connections(), 1);
}
