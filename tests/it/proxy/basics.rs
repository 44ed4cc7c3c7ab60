//! What goes in comes out: methods, targets, bodies both ways, answers without a body.

use std::io::Write;

use super::{ask, ask2, proxy, proxy_to};
use crate::support::client::{Answer, Body, Client, Request};
use crate::support::server::Server;
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::Framing;

/// Asks over both protocols, and hands both answers to the judge.
fn both(server: &Server, request: impl Fn(&str) -> Request, judge: impl Fn(&str, &Answer)) {
    judge("h1", &ask(server, &request("h1")));
    judge("h2", &ask2(server, &request("h2")).expect("an answer over HTTP/2"));
}

#[test]
fn every_method_goes_through() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let request = |way: &str| Request::get(&format!("{method}-{way}"), "ok").method(method);
        both(&server, request, |way, answer| {
            let token = format!("{method}-{way}");
            answer.assert_answers(200, &token);
            let seen = upstream.one(&token);
            assert_eq!(seen.method, method);
            assert_eq!(seen.body, Digest::default());
            assert_eq!(answer.body.is_empty(), method == "HEAD", "{answer:?}");
        });
    }
}

#[test]
fn the_target_is_passed_on_as_it_came() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for target in [
        "/",
        "/?",
        "/?a=b&a=c",
        "/a//b///",
        "/%2F%2f/%C3%A4%01?%00",
        "/a;b=c/d:e@f",
        "/~!$&'()*+,-._=",
        "/?q=/../%2e%2e/?x",
    ] {
        let request = |way: &str| {
            let token = format!("{target}-{way}");
            Request::new("GET", target).field("X-Token", &token)
        };
        both(&server, request, |way, answer| {
            let token = format!("{target}-{way}");
            answer.assert_answers(200, &token);
            assert_eq!(upstream.one(&token).target, target);
        });
    }
}

#[test]
fn an_absolute_target_becomes_one_in_origin_form() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    for (target, expected) in [("/a?b", "/a?b"), ("?b", "/?b"), ("?", "/?"), ("", "/")] {
        let token = format!("t{target}");
        let request = format!("GET http://nessen.test{target} HTTP/1.1\r\nHost: nessen.test\r\n");
        client.send(format!("{request}X-Token: {token}\r\n\r\n").as_bytes());
        client.answer().assert_answers(200, &token);
        let seen = upstream.one(&token);
        assert_eq!((seen.target.as_str(), seen.field("host")), (expected, Some("nessen.test")));
    }
}

#[test]
fn an_upstream_may_be_given_by_its_name() {
    let upstream = Upstream::start();
    let server = proxy_to(&format!("http://localhost:{}", upstream.address.port()), &[]);
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
    let nobody = proxy_to("http://no-such-name.invalid:80", &[]);
    let answer = ask(&nobody, &Request::get("t", "ok"));
    answer.assert_refusal(502, "UPSTREAM_UNREACHABLE");
}

#[test]
fn a_body_with_its_length_keeps_it() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for length in [0usize, 1, 10, 70_000, 1 << 20] {
        let body: Vec<u8> = (0..length).map(|at| (at * 7 % 256) as u8).collect();
        let request = |way: &str| Request::post(&format!("{length}-{way}"), "ok", &body);
        both(&server, request, |way, answer| {
            let token = format!("{length}-{way}");
            answer.assert_answers(200, &token);
            let seen = upstream.one(&token);
            assert_eq!(seen.body, Digest::of(&body), "{length} {way}");
            assert_eq!(seen.framing, Framing::Length(length as u64), "{length} {way}");
        });
    }
}

/// Around the sizes in which they are read and written: a body that comes with its head, one of which a part does,
/// one that is read with its head since the one before was large, and the next head behind a body.
#[test]
fn bodies_of_one_connection_do_not_run_into_each_other() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let sizes = [16_384, 16_384, 1, 8_192, 4_097, 16_384, 32_768, 32_700, 7_900, 0, 100_000, 16_384, 33_000];
    let requests: Vec<(Request, Vec<u8>)> = (sizes.iter().enumerate())
        .map(|(number, size)| {
            let body: Vec<u8> = (0..*size).map(|at| (at * 7 + number) as u8).collect();
            (Request::post(&format!("t{number}"), "ok", &body), body)
        })
        .collect();
    // One by one, then all behind each other.
    for behind in [false, true] {
        let mut client = Client::open(server.address);
        let writing = behind.then(|| {
            let all: Vec<u8> = requests.iter().flat_map(|(ask, _)| ask.bytes()).collect();
            let socket = client.socket();
            std::thread::spawn(move || (&*socket).write_all(&all))
        });
        for (request, body) in &requests {
            let answer = if behind { client.answer() } else { client.ask(request) };
            answer.assert_answers(200, request.token());
            let seen = upstream.seen_of(request.token());
            assert_eq!(seen.len(), 1 + usize::from(behind), "{}", request.token());
            assert_eq!(seen.last().map(|seen| seen.body), Some(Digest::of(body)), "{}", body.len());
        }
        if let Some(writing) = writing {
            writing.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_body_without_a_length_goes_in_chunks() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for parts in [vec![], vec![1], vec![10, 1, 5000], vec![40_000, 40_000, 3]] {
        let parts: Vec<Vec<u8>> = parts.iter().map(|length| vec![b'p'; *length]).collect();
        let whole = parts.concat();
        let count = whole.len();
        let request = |way: &str| {
            Request::post(&format!("{count}-{way}"), "ok", b"").body(Body::Parts(parts.clone(), Vec::new()))
        };
        both(&server, request, |way, answer| {
            let token = format!("{count}-{way}");
            answer.assert_answers(200, &token);
            assert_eq!(upstream.one(&token).body, Digest::of(&whole), "{count} {way}");
        });
    }
}

#[test]
fn a_get_has_no_body_where_it_had_none() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    both(
        &server,
        |way| Request::get(way, "ok"),
        |way, _| assert_eq!(upstream.one(way).framing, Framing::None),
    );
    // And one of length 0 is told to a server that waits for a length.
    both(
        &server,
        |way| Request::post(&format!("p{way}"), "ok", b""),
        |way, _| {
            assert_eq!(upstream.one(&format!("p{way}")).framing, Framing::Length(0));
        },
    );
}

#[test]
fn an_answer_comes_whole_however_it_is_framed() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for way in ["ok", "chunked", "until-close", "http10", "split", "chunked-split", "dribble=1"] {
        let request = |protocol: &str| Request::get(&format!("{way}-{protocol}"), way);
        both(&server, request, |protocol, answer| {
            let token = format!("{way}-{protocol}");
            answer.assert_answers(200, &token);
            assert_eq!(answer.json()["token"], token.as_str(), "{answer:?}");
            assert!(answer.all("content-length").len() < 2, "{answer:?}");
            if protocol == "h1" {
                // A keep-alive client is not to lose its connection by the upstream's ways.
                assert_ne!(answer.framing, Framing::Close, "{way}: {answer:?}");
                assert!(!answer.says_close(), "{way}: {answer:?}");
            }
        });
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for way in ["ok", "chunked", "until-close", "continue-first", "hints-first"] {
        let mut client = Client::open(server.address);
        let head = format!("GET / HTTP/1.0\r\nHost: nessen.test\r\nX-Token: {way}\r\nX-Fault: {way}\r\n\r\n");
        client.send(head.as_bytes());
        let line = client.wire().line().unwrap();
        assert!(line.starts_with(b"HTTP/1.") && line.ends_with(b" 200 OK"), "{way}: {line:?}");
        let fields = client.wire().fields().unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        assert!(!names.contains(&"transfer-encoding".to_owned()), "{way}: {fields:?}");
        let mut body = Vec::new();
        client.wire().body(Framing::Close, &mut |part| body.extend_from_slice(part)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).expect("the whole body and no more");
        assert_eq!(json["token"], way);
    }
}

#[test]
fn head_is_answered_without_a_body_and_with_its_length() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    both(
        &server,
        |way| Request::get(way, "ok").method("HEAD"),
        |way, answer| {
            answer.assert_answers(200, way);
            let length: usize = answer.field("content-length").expect("a length").parse().unwrap();
            assert!(length > 100 && answer.body.is_empty(), "{answer:?}");
        },
    );
    // The connection goes on behind it.
    let mut client = Client::open(server.address);
    for _ in 0..3 {
        client.ask(&Request::get("head", "ok").method("HEAD")).assert_answers(200, "head");
        client.ask(&Request::get("get", "ok")).assert_answers(200, "get");
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    for (way, status) in [("no-content", 204), ("not-modified", 304), ("empty", 200)] {
        both(
            &server,
            |protocol| Request::get(protocol, way),
            |protocol, answer| {
                answer.assert_answers(status, protocol);
                assert!(answer.body.is_empty(), "{way}: {answer:?}");
                if status == 204 {
                    // RFC 9110 section 8.6, RFC 9112 section 6.1.
                    assert_eq!(answer.all("content-length"), [""; 0], "{way}: {answer:?}");
                    assert_eq!(answer.all("transfer-encoding"), [""; 0], "{way}: {answer:?}");
                }
            },
        );
        let answer = client.ask(&Request::get("same", way));
        answer.assert_answers(status, "same");
        client.ask(&Request::get("next", "ok")).assert_answers(200, "next");
    }
    let empty = client.ask(&Request::get("e", "empty"));
    assert_eq!(empty.field("content-length"), Some("0"));
    let unchanged = client.ask(&Request::get("n", "not-modified"));
    assert_eq!(unchanged.field("etag"), Some("\"a\""));
}

#[test]
fn the_upstreams_status_is_passed_on_whatever_it_is() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for status in
        [201, 202, 206, 299, 301, 302, 307, 400, 401, 403, 404, 418, 429, 499, 500, 502, 503, 504, 599]
    {
        both(
            &server,
            |way| Request::get(way, &format!("status={status}")),
            |way, answer| {
                answer.assert_answers(status, way);
                assert_eq!(answer.json()["token"], way, "a body of its own, not ours: {answer:?}");
            },
        );
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let batch = |number: usize| match number % 3 {
        0 => Request::get(&number.to_string(), "chunked"),
        1 => Request::post(&number.to_string(), "ok", &vec![b'b'; number * 100]),
        _ => Request::get(&number.to_string(), "pause=5"),
    };
    let pipelined: Vec<u8> = (0..20).flat_map(|number| batch(number).bytes()).collect();
    client.send(&pipelined);
    for number in 0..20 {
        client.answer().assert_answers(200, &number.to_string());
    }
    assert_eq!(upstream.requests(), 20);
}

#[test]
fn connections_to_the_upstream_are_kept() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for number in 0..50 {
        // Of clients that come and go.
        let token = number.to_string();
        ask(&server, &Request::get(&token, "ok")).assert_answers(200, &token);
        ask(&server, &Request::post(&token, "chunked", b"body")).assert_answers(200, &token);
    }
    // One a worker where the pool is a worker's own.
    assert!(upstream.connections() <= 4, "{} connections for 100 requests", upstream.connections());
}

#[test]
fn idle_connections_are_bounded_in_number_and_time() {
    let upstream = Upstream::start();
    let env = [("NESSEN_UPSTREAM_MAX_IDLE", "4"), ("NESSEN_UPSTREAM_KEEPALIVE_TIMEOUT", "300ms")];
    let server = proxy(&upstream, &env);
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = Client::open(server.address);
            client.send(&Request::get(&number.to_string(), "gate").bytes());
            client
        })
        .collect();
    upstream.wait_begun(20);
    assert_eq!(upstream.open(), 20);
    upstream.open_gate();
    for (number, mut client) in clients.into_iter().enumerate() {
        client.answer().assert_answers(200, &number.to_string());
    }
    let few = || upstream.open() <= 8;
    crate::support::assert_eventually(crate::support::PATIENCE, "no more idle than allowed", few);
    upstream.wait_closed();
    // And what was closed is not missed.
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
}
