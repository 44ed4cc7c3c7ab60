//! The tests on trial: a client that asks the upstream without anything in between.
//!
//! What a proxy is held to is only as good as the two ends it is looked at from.

use crate::support::client::{Answer, Body, Client, Request};
use crate::support::http1::End;
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::Broken;

fn ask(upstream: &Upstream, request: &Request) -> Result<Answer, Broken> {
    Client::open(upstream.address).try_ask(request)
}

#[test]
fn an_upstream_tells_what_it_parsed() {
    let upstream = Upstream::start();
    let trailers = vec![("X-Sum".to_owned(), "7".to_owned())];
    let body = Body::Parts(vec![b"hello ".to_vec(), b"world".to_vec()], trailers);
    let request = Request::new("PUT", "/a%20b?c=d&e")
        .field("X-Token", "t1")
        .field("X-Twice", "a")
        .field("X-Twice", "\u{e4}\u{ff}")
        .field("X-Empty", "")
        .body(body);
    let answer = ask(&upstream, &request).unwrap();
    answer.assert_answers(200, "t1");
    let seen = upstream.one("t1");
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/a%20b?c=d&e"));
    assert_eq!(seen.all("x-twice"), ["a", "\u{e4}\u{ff}"]);
    assert_eq!(seen.field("x-empty"), Some(""));
    assert_eq!(seen.body, Digest::of(b"hello world"));
    assert_eq!(seen.trailers, [("X-Sum".to_owned(), "7".to_owned())]);
    let json = answer.json();
    assert_eq!(json["target"], "/a%20b?c=d&e");
    assert_eq!(json["fields"][3][1], "\u{e4}\u{ff}");
}

#[test]
fn an_answer_that_breaks_is_told_from_one_that_is_whole() {
    let upstream = Upstream::start();
    let cut = |fault: &str| {
        let answer = ask(&upstream, &Request::get("t", fault)).unwrap();
        assert_eq!(answer.field("x-token"), Some("t"), "{fault}");
        answer.cut
    };
    for whole in ["ok", "chunked", "split", "until-close", "continue-first", "hints-first", "chunked-split"] {
        assert_eq!(cut(whole), None, "{whole}");
    }
    assert_eq!(cut("length-long"), Some(Broken::Ended(End::Fin)));
    assert_eq!(cut("close-in-chunk"), Some(Broken::Ended(End::Fin)));
    assert_eq!(cut("close-between-chunks"), Some(Broken::Ended(End::Fin)));
    assert_eq!(cut("reset-in-body"), Some(Broken::Ended(End::Reset)));
    for crooked in ["chunk-size-bad", "chunk-size-none", "chunk-no-crlf", "chunk-bare-lf", "chunk-size-over"]
    {
        assert!(matches!(cut(crooked), Some(Broken::Syntax(_))), "{crooked}");
    }
}

#[test]
fn a_client_takes_no_crooked_head() {
    let upstream = Upstream::start();
    for crooked in [
        "garbage",
        "http09",
        "http2-line",
        "status-99",
        "status-1000",
        "status-word",
        "status-none",
        "length-two",
        "length-list",
        "length-plus",
        "length-and-chunked",
        "te-gzip-chunked",
        "header-nul",
        "header-cr",
        "header-space-colon",
        "header-no-colon",
        "header-no-name",
        "bare-lf",
    ] {
        let answer = ask(&upstream, &Request::get("t", crooked));
        assert!(matches!(answer, Err(Broken::Syntax(_))), "{crooked}: {answer:?}");
    }
    for silent in ["close-silent", "close-in-head", "reset-before-head", "reset-in-head"] {
        let answer = ask(&upstream, &Request::get("t", silent));
        assert!(matches!(answer, Err(Broken::Ended(End::Fin | End::Reset))), "{silent}: {answer:?}");
    }
}

#[test]
fn an_answer_to_nothing_is_there_to_be_taken() {
    // The upstream must offer the poison, or a proxy that refuses it proves nothing.
    let upstream = Upstream::start();
    for poisonous in ["length-short", "unsolicited", "no-content-body", "not-modified-body", "chunk-rest"] {
        let mut client = Client::open(upstream.address);
        client.ask(&Request::get("t", poisonous)).assert_answers_to("t");
        assert_eq!(client.ask(&Request::get("u", "ok")).field("x-token"), Some("poison"), "{poisonous}");
    }
    let mut client = Client::open(upstream.address);
    let head = Request::get("t", "head-body").method("HEAD");
    client.ask(&head).assert_answers_to("t");
    assert_eq!(client.ask(&Request::get("u", "ok")).field("x-token"), Some("poison"));
}

#[test]
#[should_panic(expected = "sent to the upstream")]
fn an_upstream_that_was_sent_a_crooked_request_fails_the_test() {
    let upstream = Upstream::start();
    let mut client = Client::open(upstream.address);
    client.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    client.assert_ended();
    upstream.assert_clean();
}

#[test]
fn a_stopped_upstream_leaves_a_port_that_refuses() {
    let upstream = Upstream::start();
    let mut client = Client::open(upstream.address);
    client.ask(&Request::get("t", "ok")).assert_answers(200, "t");
    let dead = upstream.stop();
    client.assert_ended();
    let refused = std::net::TcpStream::connect(dead.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let upstream = dead.listen("again");
    ask(&upstream, &Request::get("t", "ok")).unwrap().assert_answers(200, "t");
}
