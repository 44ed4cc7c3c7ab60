//! Where a request came from: written by us, and believed from those alone whom we trust.

use super::{ask, ask2, proxy};
use crate::support::client::Request;
use crate::support::upstream::{Seen, Upstream};

const TRUST: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

/// The elements of `Forwarded`, as their pairs (RFC 7239 section 4).
fn forwarded(seen: &Seen) -> Vec<Vec<(String, String)>> {
    let list = seen.all("forwarded").join(", ");
    let pair = |pair: &str| {
        let (name, value) = pair.trim().split_once('=').expect("a pair");
        (name.to_ascii_lowercase(), value.trim_matches('"').to_owned())
    };
    list.split(',').map(|element| element.split(';').map(pair).collect()).collect()
}

/// A value in the last element.
fn last(seen: &Seen, name: &str) -> Option<String> {
    let elements = forwarded(seen);
    let found = elements.last()?.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone())
}

fn claims(token: &str) -> Request {
    Request::get(token, "ok")
        .field("X-Forwarded-For", "203.0.113.7")
        .field("X-Forwarded-Proto", "https")
        .field("X-Forwarded-Host", "shop.example")
        .field("X-Forwarded-Port", "444")
        .field("X-Real-IP", "203.0.113.7")
        .field("Forwarded", "for=203.0.113.7;proto=https;host=shop.example")
}

#[test]
fn where_a_request_came_from_is_written() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    ask(&server, &Request::get("h1", "ok")).assert_answers(200, "h1");
    ask2(&server, &Request::get("h2", "ok")).unwrap().assert_answers(200, "h2");
    for token in ["h1", "h2"] {
        let seen = upstream.one(token);
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"), "{token}");
        assert_eq!(seen.field("x-forwarded-proto"), Some("http"), "{token}");
        assert_eq!(seen.field("x-forwarded-host"), Some("nessen.test"), "{token}");
        assert_eq!(seen.field("x-real-ip"), Some("127.0.0.1"), "{token}");
        assert_eq!(forwarded(&seen).len(), 1, "{token}");
        assert_eq!(last(&seen, "for").as_deref(), Some("127.0.0.1"), "{token}");
        assert_eq!(last(&seen, "proto").as_deref(), Some("http"), "{token}");
        assert_eq!(last(&seen, "host").as_deref(), Some("nessen.test"), "{token}");
    }
}

#[test]
fn what_a_stranger_claims_is_dropped() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("TRUSTED_PROXIES", "10.0.0.0/8")]);
    ask(&server, &claims("h1")).assert_answers(200, "h1");
    ask2(&server, &claims("h2")).unwrap().assert_answers(200, "h2");
    for token in ["h1", "h2"] {
        let seen = upstream.one(token);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{token}");
        assert_eq!(seen.all("x-real-ip"), ["127.0.0.1"], "{token}");
        assert_eq!(seen.all("x-forwarded-proto"), ["http"], "{token}");
        assert_eq!(seen.all("x-forwarded-host"), ["nessen.test"], "{token}");
        // All but what is random, and may hold any digits.
        let told = seen.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-request-id"));
        let text = format!("{:?}", told.collect::<Vec<_>>());
        assert!(!text.contains("203.0.113") && !text.contains("shop.example"), "{text}");
        assert!(!text.contains("https") && !text.contains("444"), "{text}");
    }
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[TRUST]);
    ask(&server, &claims("h1")).assert_answers(200, "h1");
    ask2(&server, &claims("h2")).unwrap().assert_answers(200, "h2");
    for token in ["h1", "h2"] {
        let seen = upstream.one(token);
        assert_eq!(seen.all("x-forwarded-for").join(", "), "203.0.113.7, 127.0.0.1", "{token}");
        assert_eq!(seen.field("x-forwarded-proto"), Some("https"), "{token}");
        assert_eq!(seen.field("x-forwarded-host"), Some("shop.example"), "{token}");
        assert_eq!(seen.field("x-real-ip"), Some("203.0.113.7"), "{token}");
        let elements = forwarded(&seen);
        assert_eq!(elements.len(), 2, "{elements:?}");
        assert!(elements[0].contains(&("for".to_owned(), "203.0.113.7".to_owned())), "{elements:?}");
        assert_eq!(last(&seen, "for").as_deref(), Some("127.0.0.1"), "{token}");
    }
}

#[test]
fn a_longer_way_is_kept_in_order() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[TRUST]);
    let request = Request::get("t", "ok")
        .field("X-Forwarded-For", "198.51.100.1, 203.0.113.7")
        .field("X-Forwarded-For", "127.0.0.9");
    ask(&server, &request).assert_answers(200, "t");
    let seen = upstream.one("t");
    let way = seen.all("x-forwarded-for").join(", ");
    assert_eq!(way, "198.51.100.1, 203.0.113.7, 127.0.0.9, 127.0.0.1");
    // The nearest that is no proxy of ours: what is further away, anybody can claim.
    assert_eq!(seen.field("x-real-ip"), Some("203.0.113.7"));
}

#[test]
fn what_a_trusted_proxy_says_is_still_no_way_to_inject() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[TRUST]);
    for (number, crooked) in
        ["\"unclosed", "for=\"a, b", "203.0.113.7\", for=6.6.6.6", "a;b=c", "unknown", "_hidden", ""]
            .into_iter()
            .enumerate()
    {
        let token = number.to_string();
        let request = Request::get(&token, "ok")
            .field("X-Forwarded-For", crooked)
            .field("Forwarded", crooked)
            .field("X-Forwarded-Proto", crooked)
            .field("X-Forwarded-Host", crooked);
        ask(&server, &request).assert_answers(200, &token);
        let seen = upstream.one(&token);
        // Whatever became of it, our own word is the last one, and can be read.
        let way = seen.all("x-forwarded-for").join(", ");
        assert!(way.ends_with("127.0.0.1"), "{crooked:?}: {way}");
        let list = seen.all("forwarded").join(", ");
        let own = list.rsplit(", ").next().unwrap_or_default();
        assert!(own.contains("for=127.0.0.1") || own.contains("for=\"127.0.0.1"), "{crooked:?}: {list}");
        let quotes = list.matches('"').count();
        assert!(quotes.is_multiple_of(2), "a quote stays open: {list}");
    }
}
