//! Fields that end at a proxy, those that do not, and what a `Connection` field may not take away.

use super::{ask, ask2, proxy};
use crate::support::client::{Body, Client, Request};
use crate::support::upstream::{Digest, Upstream};

/// Fields of this connection alone (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

#[test]
fn what_is_of_one_connection_ends_there() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let request = Request::get("t", "ok")
        .field("Connection", "keep-alive, X-Secret, x-other")
        .field("Connection", "X-Third")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("TE", "gzip;q=0.5")
        .field("X-Secret", "1")
        .field("X-Other", "2")
        .field("X-Third", "3")
        .field("X-Mine", "kept");
    ask(&server, &request).assert_answers(200, "t");
    let seen = upstream.one("t");
    assert_eq!(seen.field("x-mine"), Some("kept"));
    for name in HOP_BY_HOP.iter().chain(&["x-secret", "x-other", "x-third"]) {
        // The proxy's own word on its own connection is none of the client's.
        let own = ["keep-alive", ""].map(|value| vec![value]);
        let all = seen.all(name);
        assert!(all.is_empty() || (*name == "connection" && own.contains(&all)), "{name}: {all:?}");
    }
}

#[test]
fn a_connection_field_takes_nothing_away_that_others_rely_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let listed = "authorization, content-length, x-forwarded-for, host, x-forwarded-proto, x-forwarded-host, \
                  forwarded, x-real-ip, cookie, x-request-id, via, content-type, close";
    for connection in [listed.to_owned(), listed.replace(", ", ","), listed.to_uppercase()] {
        let body = b"a body that ends where its length says";
        let request = Request::post("t", "ok", body)
            .field("Connection", &connection)
            .field("Authorization", "Bearer b")
            .field("Cookie", "c=d")
            .field("Content-Type", "text/plain");
        let plain = Upstream::requests(&upstream);
        ask(&server, &request).assert_answers(200, "t");
        let seen = &upstream.seen()[plain];
        assert_eq!(seen.body, Digest::of(body));
        assert_eq!(seen.field("authorization"), Some("Bearer b"));
        assert_eq!(seen.field("cookie"), Some("c=d"));
        assert_eq!(seen.field("host"), Some("nessen.test"));
        assert_eq!(seen.field("content-type"), Some("text/plain"));
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
        for name in ["x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip", "x-request-id", "via"]
        {
            assert!(seen.field(name).is_some(), "{name} was taken away by {connection:?}: {seen:#?}");
        }
        assert!(!seen.all("connection").join(",").contains("authorization"), "{seen:#?}");
    }
}

#[test]
fn chunks_are_not_taken_away_by_a_connection_field() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let body = Body::Parts(vec![b"one".to_vec(), b"two".to_vec()], Vec::new());
    let request = Request::post("t", "ok", b"").field("Connection", "transfer-encoding").body(body);
    let mut client = Client::open(server.address);
    let answer = client.ask(&request);
    // Passed on whole, or refused for what it is; never half.
    if answer.status == 200 {
        assert_eq!(upstream.one("t").body, Digest::of(b"onetwo"));
    } else {
        assert_eq!((answer.status, upstream.requests()), (400, 0), "{answer:?}");
    }
}

#[test]
fn what_is_of_the_upstreams_connection_ends_there() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let lines = "Connection: close, X-Secret|X-Secret: 1|Keep-Alive: timeout=5|Proxy-Connection: close|\
                 Upgrade: h2c|Set-Cookie: a=b|Set-Cookie: c=d|X-Mine: kept|Server: its/own|ETag: \"e\"|\
                 Content-Security-Policy: default-src *|X-Frame-Options: SAMEORIGIN";
    let fault = format!("fields={lines}");
    let mut client = Client::open(server.address);
    for round in 0..3 {
        let token = round.to_string();
        let answer = client.ask(&Request::get(&token, &fault));
        answer.assert_answers(200, &token);
        for name in ["x-secret", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"] {
            assert_eq!(answer.all(name), [""; 0], "{name}: {answer:?}");
        }
        assert!(!answer.says_close(), "the client's connection is not the upstream's: {answer:?}");
        assert_eq!(answer.all("set-cookie"), ["a=b", "c=d"]);
        assert_eq!(answer.field("x-mine"), Some("kept"));
        assert_eq!(answer.field("server"), Some("its/own"));
        assert_eq!(answer.field("etag"), Some("\"e\""));
        // What the application sets is its own affair.
        assert_eq!(answer.field("content-security-policy"), Some("default-src *"));
        assert_eq!(answer.field("x-frame-options"), Some("SAMEORIGIN"));
    }
    let answer = ask2(&server, &Request::get("h2", &fault)).expect("an answer over HTTP/2");
    answer.assert_answers(200, "h2");
    for name in ["connection", "x-secret", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"] {
        assert_eq!(answer.all(name), [""; 0], "{name}: {answer:?}");
    }
}

#[test]
fn an_answer_cannot_lose_its_framing_by_a_connection_field() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let mut client = Client::open(server.address);
    let fault = "fields=Connection: content-length, set-cookie, content-type|Set-Cookie: a=b";
    for round in 0..3 {
        let token = round.to_string();
        let answer = client.ask(&Request::get(&token, fault));
        answer.assert_answers(200, &token);
        assert_eq!(answer.json()["token"], token.as_str());
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
}

#[test]
fn via_is_written_both_ways() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let request = Request::get("t", "fields=Via: 1.0 back").field("Via", "1.0 front");
    let answer = ask(&server, &request);
    let seen = upstream.one("t");
    for (list, first) in
        [(seen.all("via").join(", "), "1.0 front"), (answer.all("via").join(", "), "1.0 back")]
    {
        let hops: Vec<_> = list.split(", ").collect();
        assert_eq!((hops.len(), hops[0]), (2, first), "{list}");
        assert!(hops[1].starts_with("1.1 "), "{list}");
    }
    ask2(&server, &Request::get("t2", "ok")).expect("an answer over HTTP/2");
    let seen = upstream.one("t2");
    // RFC 9110 section 7.6.3: the protocol as received.
    assert!(seen.all("via").join(", ").starts_with('2'), "{:?}", seen.all("via"));
}

#[test]
fn the_host_is_kept_or_the_upstreams_own() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let request = |token: &str| {
        let mut request = Request::get(token, "ok");
        request.host = "shop.example:8080".to_owned();
        request
    };
    ask(&server, &request("kept")).assert_answers(200, "kept");
    assert_eq!(upstream.one("kept").field("host"), Some("shop.example:8080"));
    ask2(&server, &request("kept2")).unwrap().assert_answers(200, "kept2");
    assert_eq!(upstream.one("kept2").field("host"), Some("shop.example:8080"));
    let server = proxy(&upstream, &[("NESSEN_UPSTREAM_HOST_HEADER", "upstream")]);
    let own = upstream.address.to_string();
    for token in ["own", "own2"] {
        let answer = match token {
            "own" => ask(&server, &request(token)),
            _ => ask2(&server, &request(token)).unwrap(),
        };
        answer.assert_answers(200, token);
        let seen = upstream.one(token);
        assert_eq!(seen.field("host"), Some(own.as_str()));
        assert_eq!(seen.field("x-forwarded-host"), Some("shop.example:8080"));
    }
}

#[test]
fn traces_and_request_ids_are_passed_on() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("t", "fields=X-Request-Id: its-own")
        .field("Traceparent", trace)
        .field("Tracestate", "a=b")
        .field("X-Request-Id", "claimed");
    let answer = ask(&server, &request);
    let seen = upstream.one("t");
    assert_eq!(seen.field("traceparent"), Some(trace));
    assert_eq!(seen.field("tracestate"), Some("a=b"));
    // The id is ours where the client is nobody we trust, and the same on both sides.
    let id = answer.field("x-request-id").expect("an id");
    assert_eq!(seen.field("x-request-id"), Some(id));
    assert!(id != "claimed" && id != "its-own", "{id}");
    let server = proxy(&upstream, &[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    let request = Request::get("u", "ok").field("X-Request-Id", "claimed");
    assert_eq!(ask(&server, &request).field("x-request-id"), Some("claimed"));
    assert_eq!(upstream.one("u").field("x-request-id"), Some("claimed"));
}

#[test]
fn fields_that_deceive_an_upstream_are_dropped() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let names = [
        "Proxy",
        "X_Forwarded_For",
        "X_Real_IP",
        "X_Forwarded-Proto",
        "X-Forwarded_Host",
        "X_Request_Id",
        "Content_Length",
        "Transfer_Encoding",
    ];
    let spoof = |token: &str| {
        names.iter().fold(Request::get(token, "ok"), |request, name| request.field(name, "6.6.6.6"))
    };
    ask(&server, &spoof("t")).assert_answers(200, "t");
    ask2(&server, &spoof("t2")).unwrap().assert_answers(200, "t2");
    for token in ["t", "t2"] {
        let seen = upstream.one(token);
        for name in names {
            // A CGI variable has underscores for dashes: both are one there.
            assert_eq!(seen.all(name), [""; 0], "{name}");
        }
        assert!(!seen.fields.iter().any(|(_, value)| value.contains("6.6.6.6")), "{seen:#?}");
    }
}

#[test]
fn cookies_of_http_2_are_one_field_in_http_1() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let request =
        Request::get("t", "ok").field("cookie", "a=b").field("cookie", "c=d").field("cookie", "e=\"f\"");
    ask2(&server, &request).unwrap().assert_answers(200, "t");
    // RFC 9113 section 8.2.3.
    assert_eq!(upstream.one("t").all("cookie"), ["a=b; c=d; e=\"f\""]);
}

#[test]
fn bytes_beyond_ascii_come_through_in_values() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let value = "caf\u{e9} \u{fc}\u{ff}\u{80}\tend";
    let request =
        |token: &str| Request::get(token, &format!("fields=X-Back: {value}")).field("X-There", value);
    for token in ["t", "t2"] {
        let answer = match token {
            "t" => ask(&server, &request(token)),
            _ => ask2(&server, &request(token)).unwrap(),
        };
        answer.assert_answers(200, token);
        assert_eq!(upstream.one(token).field("x-there"), Some(value));
        assert_eq!(answer.field("x-back"), Some(value));
    }
}
