//! Which requests, how large, and how many.

use super::{assert_refusal, data};
use crate::support::http2::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, H2, HEADERS, PROTOCOL_ERROR, REFUSED_STREAM, field, frame,
    get, indexed_field, request, request_fields, reset, window_update,
};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn a_body_over_the_limit_is_refused_by_its_announced_length() {
    let server = Server::start(&[("MAX_BODY_SIZE", "1000")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[("content-length", "1001")], false));
    assert_refusal(&h2.answer(1), 413, "BODY_TOO_LARGE");
    h2.assert_serves(3);
    server.assert_refused_once("body_too_large");
}

#[test]
fn a_body_over_the_limit_is_refused_when_it_gets_there() {
    let server = Server::start(&[("MAX_BODY_SIZE", "1000")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.upload(1, 1000);
    assert_eq!(h2.answer(1).body.len(), 1000);
    h2.send(&request(3, "POST", "/echo", &[], false));
    for _ in 0..6 {
        h2.send(&data(3, &[b'a'; 200], false));
    }
    assert_refusal(&h2.answer(3), 413, "BODY_TOO_LARGE");
    h2.assert_serves(5);
    server.assert_refused_once("body_too_large");
}

#[test]
fn a_body_shorter_or_longer_than_announced_is_never_answered_with_200() {
    let server = Server::start(&[]);
    for (announced, sent) in [("10", 5), ("5", 10), ("0", 5)] {
        let mut h2 = H2::open(server.address);
        h2.send(&request(1, "POST", "/echo", &[("content-length", announced)], false));
        h2.send(&data(1, &vec![b'a'; sent], true));
        h2.pump_until("an end", |h2| {
            h2.end.is_some() || h2.answers.get(&1).is_some_and(|answer| answer.done())
        });
        let status = h2.answers.get(&1).and_then(|answer| answer.status);
        assert!(
            status.is_none_or(|status| status == 400),
            "{announced} announced, {sent} sent: {}",
            h2.state()
        );
    }
}

#[test]
fn fields_over_the_limits_are_refused() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    let long = "a".repeat(12_000);
    let large = request_fields("GET", "/badge/a/b.svg", &[("x-a", &long), ("x-b", &long)]);
    h2.send(&frame(HEADERS, END_STREAM, 1, &large[..16_000]));
    h2.send(&frame(CONTINUATION, END_HEADERS, 1, &large[16_000..]));
    assert_refusal(&h2.answer(1), 431, "HEADER_TOO_LARGE");
    h2.send(&request(3, "GET", "/badge/a/b.svg", &[("x-a", "a"); 101], true));
    assert_refusal(&h2.answer(3), 431, "TOO_MANY_HEADERS");
    h2.send(&get(5, &format!("/{}", "a".repeat(9 << 10))));
    assert_refusal(&h2.answer(5), 414, "URL_TOO_LONG");
    h2.assert_serves(7);
    assert_eq!(server.rejections("header_too_large"), 1.0);
    assert_eq!(server.rejections("too_many_headers"), 1.0);
    assert_eq!(server.rejections("url_too_long"), 1.0);
}

#[test]
fn a_small_head_that_unfolds_to_megabytes_is_refused() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    // One field of 3 000 bytes in the table, then a byte for each time it is meant: 30 MB.
    let bomb = [request_fields("GET", "/", &[]), indexed_field("x-a", &"a".repeat(3000)), vec![0xbe; 10_000]]
        .concat();
    h2.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    h2.pump_until("a refusal", |h2| h2.end.is_some() || h2.answers.contains_key(&1));
    let status = h2.answers.get(&1).and_then(|answer| answer.status);
    assert!(matches!(status, None | Some(431)), "{}", h2.state());
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn methods_and_hosts_are_held_to_the_same_rules() {
    let server = Server::start(&[("ALLOWED_HOSTS", "nessen.test")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "TRACE", "/badge/a/b.svg", &[], true));
    assert_refusal(&h2.answer(1), 405, "METHOD_NOT_ALLOWED");
    h2.send(&request(3, "ZQX", "/badge/a/b.svg", &[], true));
    assert_refusal(&h2.answer(3), 501, "UNSUPPORTED_METHOD");
    let head = |fields: &[(&str, &str)]| -> Vec<u8> {
        fields.iter().flat_map(|(name, value)| field(name, value)).collect()
    };
    let ask = |h2: &mut H2, stream: u32, fields: &[(&str, &str)]| {
        h2.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(fields)));
        h2.answer(stream)
    };
    let base = [(":method", "GET"), (":scheme", "http"), (":path", "/badge/a/b.svg")];
    assert_refusal(&ask(&mut h2, 5, &base), 400, "INVALID_HOST");
    let other = [&base[..], &[(":authority", "other.test")]].concat();
    assert_refusal(&ask(&mut h2, 7, &other), 421, "HOST_NOT_ALLOWED");
    let differing = [&base[..], &[(":authority", "nessen.test"), ("host", "other.test")]].concat();
    assert_refusal(&ask(&mut h2, 9, &differing), 400, "INVALID_HOST");
    let by_host = [&base[..], &[("host", "nessen.test")]].concat();
    assert_eq!(ask(&mut h2, 11, &by_host).status, Some(200));
    h2.assert_serves(13);
}

#[test]
fn connect_is_refused() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    let fields = [field(":method", "CONNECT"), field(":authority", "nessen.test:443")].concat();
    h2.send(&frame(HEADERS, END_HEADERS, 1, &fields));
    assert_refusal(&h2.answer(1), 400, "INVALID_HOST");
    h2.assert_serves(3);
}

#[test]
fn fields_of_a_connection_do_not_belong_into_http2() {
    let server = Server::start(&[]);
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("X-Upper", "a"),
        ("x y", "a"),
    ] {
        let mut h2 = H2::open(server.address);
        h2.send(&request(1, "GET", "/badge/a/b.svg", &[(name, value)], true));
        h2.pump_until("an end", |h2| {
            h2.end.is_some() || h2.answers.get(&1).is_some_and(|answer| answer.done())
        });
        let status = h2.answers.get(&1).and_then(|answer| answer.status);
        assert!(status.is_none_or(|status| status == 400), "{name}: {}", h2.state());
    }
}

#[test]
fn a_window_update_of_zero_is_an_error_on_the_spot() {
    // Elsewhere it provokes a reset, and a thousand of them a thousand resets.
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.send(&[request(1, "POST", "/echo", &[], false), window_update(1, 0)].concat());
    h2.pump_to_end();
    assert!(h2.goaways.last().is_some_and(|(_, code)| *code == PROTOCOL_ERROR), "{}", h2.state());
}

#[test]
fn an_upload_that_is_cancelled_is_nobodys_fault() {
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.send(&[request(1, "POST", "/echo", &[], false), data(1, b"hello", false)].concat());
    assert_eventually(PATIENCE, "a request in flight", || server.requests_active() >= 1.0);
    h2.send(&reset(1, CANCEL));
    assert_eventually(PATIENCE, "no request in flight", || server.requests_active() == 0.0);
    h2.assert_serves(3);
    assert_eq!(server.rejections("malformed_request"), 0.0, "a cancelled upload is no malformed request");
    assert_eq!(server.rejections("http2_abuse"), 0.0);
}

#[test]
fn a_client_that_spent_its_allowance_is_told_so() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "3")]);
    let mut h2 = H2::open(server.address);
    for stream in [1, 3, 5] {
        h2.assert_serves(stream);
    }
    h2.send(&get(7, "/badge/a/b.svg"));
    assert_refusal(&h2.answer(7), 429, "RATE_LIMITED");
    h2.send(&get(9, "/health"));
    assert_eq!(h2.answer(9).status, Some(200));
    server.assert_refused_once("rate_limited");
}

#[test]
fn requests_over_the_limit_in_flight_are_shed() {
    let server = Server::start(&[("MAX_IN_FLIGHT", "2")]);
    let mut h2 = H2::open(server.address);
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.send(&request(3, "POST", "/echo", &[], false));
    assert_eventually(PATIENCE, "two in flight", || server.requests_active() >= 2.0);
    h2.send(&get(5, "/badge/a/b.svg"));
    assert_refusal(&h2.answer(5), 503, "OVERLOADED");
    h2.send(&get(7, "/ready"));
    assert_eq!(h2.answer(7).status, Some(200));
    server.assert_refused_once("overloaded");
    // A stream that is cancelled gives its permit back.
    h2.send(&reset(1, CANCEL));
    let mut stream = 9;
    assert_eventually(PATIENCE, "a permit", || {
        stream += 2;
        h2.send(&get(stream, "/badge/a/b.svg"));
        h2.answer(stream).status == Some(200)
    });
}

#[test]
fn streams_over_the_limit_are_refused_alone() {
    let server = Server::start(&[("NESSEN_HTTP2_MAX_CONCURRENT_STREAMS", "5")]);
    let mut h2 = H2::open(server.address);
    assert_eq!(h2.settings.get(&3), Some(&5), "{:?}", h2.settings);
    h2.assert_serves(1);
    for stream in [3, 5, 7, 9, 11, 13] {
        h2.send(&request(stream, "POST", "/echo", &[], false));
    }
    assert_eq!(h2.answer(13).reset, Some(REFUSED_STREAM));
    h2.send(&data(3, b"hello", true));
    assert_eq!(h2.answer(3).body, b"hello");
    h2.assert_serves(15);
}

#[test]
fn http2_can_be_turned_off() {
    let server = Server::start(&[("NESSEN_HTTP2_ENABLED", "false")]);
    let mut conn = server.connect();
    conn.send(&[crate::support::http2::PREFACE, &crate::support::http2::settings(&[])].concat());
    let answer = conn.read_response();
    crate::support::problem::assert_problem(&answer, 400, "MALFORMED_REQUEST");
    server.assert_refused_once("malformed_request");
}

#[test]
fn a_fragment_is_dropped_by_the_library() {
    // As the threat model says: over HTTP/1 it is refused.
    let server = Server::start(&[]);
    let mut h2 = H2::open(server.address);
    h2.send(&get(1, "/badge/a/b.svg#zqx"));
    let answer = h2.answer(1);
    assert_eq!(answer.status, Some(200), "{}", h2.state());
    server.wait_log("the request's line", |line| line["path"] == "/badge/a/b.svg");
    h2.assert_serves(3);
}
