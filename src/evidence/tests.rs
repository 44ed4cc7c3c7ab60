use std::net::SocketAddr;

use http::Request;
use serde_json::Value;
use tokio::time::Instant;

use super::*;
use crate::seen::Seen;
use crate::telemetry::BuildInfo;

pub(super) fn options() -> Options {
    Options {
        max_count: 100,
        max_bytes: 1 << 20,
        eviction: Eviction::Priority,
        body_bytes: 64,
        panic_threshold: 3,
        panic_window: Duration::from_secs(60),
    }
}

pub(super) fn evidence(options: Options) -> Evidence {
    Evidence::new(options, Metrics::new(&[], BuildInfo::current()), true)
}

pub(super) fn exchange(client: &str, head: &str) -> Exchange {
    let client = client.parse().unwrap();
    let mut exchange = Exchange::new(SocketAddr::new(client, 1), client, Protocol::Http1, Instant::now());
    exchange.seen = Some(Box::new(Seen::sent(head.to_owned().into(), 64)));
    exchange
}

pub(super) fn refuse(evidence: &Evidence, reason: Reason, client: &str, path: &str) {
    let exchange = exchange(client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    evidence.request(Why::plain(reason), &exchange, reason.status().map(|status| status.as_u16()));
}

fn list(evidence: &Evidence, query: &str) -> Value {
    evidence.list(&Query::parse(query).unwrap())
}

fn paths(list: &Value) -> Vec<&str> {
    list["entries"].as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap()).collect()
}

#[test]
fn a_refusal_leaves_an_entry() {
    let evidence = evidence(options());
    let exchange = exchange("192.0.2.1", "POST /a?token=x&b=1 HTTP/1.1\r\nHost: a\r\nCookie: x\r\n\r\n");
    exchange.seen.as_ref().unwrap().body_came(b"abc");
    let why = Why { reason: Reason::BodyTooSlow, detail: "slow", limit: Some("limits.min_body_rate") };
    evidence.request(why, &exchange, Some(408));
    let listed = list(&evidence, "");
    let entry = &listed["entries"][0];
    assert_eq!(entry["reason"], "body_too_slow");
    assert_eq!((&entry["status"], &entry["count"]), (&408.into(), &1.into()));
    assert_eq!((&entry["method"], &entry["target"]), (&"POST".into(), &"/a?token=[redacted]&b=1".into()));
    assert_eq!((&entry["client"], &entry["severity"]), (&"192.0.2.1".into(), &"medium".into()));
    assert_eq!((&entry["detail"], &entry["limit"]), (&"slow".into(), &"limits.min_body_rate".into()));
    let whole = evidence.one(entry["id"].as_str().unwrap()).unwrap();
    assert_eq!(whole["head"]["lines"][2], "Cookie: [redacted]");
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((&whole["body"]["sha256"], &whole["body"]["sha256_of"]), (&abc.into(), &3.into()));
    assert_eq!(whole["body"]["text"], Value::Null);
}

#[test]
fn likes_are_counted_in_one() {
    let evidence = evidence(options());
    for client in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::1"] {
        refuse(&evidence, Reason::NotFound, client, "/a?b");
        refuse(&evidence, Reason::NotFound, client, "/a?c");
    }
    refuse(&evidence, Reason::NotFound, "2001:db8:0:1::1", "/a");
    refuse(&evidence, Reason::RateLimited, "2001:db8::1", "/a");
    refuse(&evidence, Reason::NotFound, "2001:db8::1", "/b");
    let listed = list(&evidence, "");
    let counts: Vec<_> = listed["entries"].as_array().unwrap().iter().map(|entry| &entry["count"]).collect();
    assert_eq!(counts, [1, 1, 1, 6]);
    assert_eq!(list(&evidence, "client=2001%3Adb8%3A%3A9")["entries"].as_array().unwrap().len(), 3);
    assert_eq!(paths(&list(&evidence, "reason=rate_limited")), ["/a"]);
    // Still known once it was read.
    refuse(&evidence, Reason::NotFound, "2001:db8::1", "/b");
    assert_eq!(list(&evidence, "limit=1")["entries"][0]["count"], 2);
}

#[test]
fn the_least_telling_goes_first_and_of_those_the_oldest() {
    let evidence = evidence(Options { max_count: 3, ..options() });
    for (client, reason) in [
        ("192.0.2.1", Reason::InvalidPath),
        ("192.0.2.2", Reason::NotFound),
        ("192.0.2.3", Reason::UrlTooLong),
        ("192.0.2.4", Reason::NotFound),
        ("192.0.2.5", Reason::InvalidPath),
        ("192.0.2.6", Reason::NotFound),
    ] {
        refuse(&evidence, reason, client, &format!("/{client}"));
        list(&evidence, "");
    }
    let listed = list(&evidence, "");
    assert_eq!(paths(&listed), ["/192.0.2.5", "/192.0.2.3", "/192.0.2.1"]);
    assert_eq!((&listed["count"], &listed["evicted"]), (&3.into(), &3.into()));
    let small = self::evidence(Options { max_count: 2, eviction: Eviction::Oldest, ..options() });
    for (client, reason) in
        [("192.0.2.1", Reason::InvalidPath), ("192.0.2.2", Reason::NotFound), ("192.0.2.3", Reason::NotFound)]
    {
        refuse(&small, reason, client, "/");
    }
    assert_eq!(list(&small, "")["entries"][1]["client"], "192.0.2.2");
    // What was evicted is new when it comes again.
    refuse(&small, Reason::InvalidPath, "192.0.2.1", "/");
    assert_eq!(list(&small, "limit=1")["entries"][0]["count"], 1);
}

#[test]
fn bytes_are_bounded() {
    let evidence = evidence(Options { max_bytes: 64 << 10, max_count: 10_000, ..options() });
    for number in 0..500 {
        refuse(&evidence, Reason::InvalidPath, "192.0.2.1", &format!("/{number}{}", "x".repeat(900)));
        if number % 50 == 0 {
            list(&evidence, "");
        }
    }
    let listed = list(&evidence, "");
    assert!(listed["bytes"].as_u64().unwrap() <= 64 << 10, "{listed}");
    assert!(listed["count"].as_u64().unwrap() > 10, "{listed}");
}

#[test]
fn one_client_cannot_push_out_what_is_held_of_others() {
    let evidence = evidence(Options { max_count: 10, ..options() });
    refuse(&evidence, Reason::InvalidPath, "192.0.2.1", "/first");
    for number in 0..50 {
        refuse(&evidence, Reason::InvalidPath, "192.0.2.2", &format!("/{number}"));
        list(&evidence, "");
    }
    let listed = list(&evidence, "");
    assert_eq!(
        (&listed["count"], &listed["dropped"], &listed["evicted"]),
        (&6.into(), &45.into(), &0.into())
    );
    assert_eq!(paths(&listed).last(), Some(&"/first"));
}

#[test]
fn one_client_has_half_of_the_bytes_at_most() {
    let evidence = evidence(Options { max_bytes: 64 << 10, max_count: 10_000, ..options() });
    refuse(&evidence, Reason::InvalidPath, "192.0.2.1", "/first");
    for number in 0..100 {
        let path = format!("/{number}{}", "x".repeat(4000));
        refuse(&evidence, Reason::InvalidPath, "192.0.2.2", &path);
        list(&evidence, "");
    }
    let listed = list(&evidence, "");
    assert_eq!((&listed["evicted"], paths(&listed).last()), (&0.into(), Some(&"/first")));
    assert!(listed["bytes"].as_u64().unwrap() < 50 << 10, "{listed}");
    // What is taken out makes room for it again.
    evidence.purge();
    refuse(&evidence, Reason::InvalidPath, "192.0.2.2", "/again");
    assert_eq!(paths(&list(&evidence, "")), ["/again"]);
}

#[test]
fn a_flood_finds_no_room_to_wait_in_and_the_severe_finds_some() {
    let evidence = evidence(options());
    for number in 0..10_000 {
        refuse(&evidence, Reason::NotFound, "192.0.2.2", &format!("/{number}"));
    }
    refuse(&evidence, Reason::AmbiguousFraming, "192.0.2.3", "/severe");
    let listed = list(&evidence, "");
    assert_eq!(paths(&listed).first(), Some(&"/severe"));
    assert!(listed["dropped"].as_u64().unwrap() >= 9_000, "{listed}");
    // There is room again.
    refuse(&evidence, Reason::NotFound, "192.0.2.4", "/again");
    assert_eq!(paths(&list(&evidence, "limit=1")), ["/again"]);
}

#[test]
fn pages_follow_one_another() {
    let evidence = evidence(options());
    for number in 0..5 {
        refuse(&evidence, Reason::NotFound, "192.0.2.1", &format!("/{number}"));
    }
    let first = list(&evidence, "limit=2");
    assert_eq!(paths(&first), ["/4", "/3"]);
    let second = list(&evidence, &format!("limit=2&cursor={}", first["next"].as_str().unwrap()));
    assert_eq!(paths(&second), ["/2", "/1"]);
    let last = list(&evidence, &format!("limit=2&cursor={}", second["next"].as_str().unwrap()));
    assert_eq!((paths(&last), &last["next"]), (vec!["/0"], &Value::Null));
    for query in ["limit=0", "limit=501", "limit=x", "cursor=1", "reason=x", "client=x", "x=1"] {
        assert!(Query::parse(query).is_err(), "{query}");
    }
}

#[test]
fn what_is_purged_is_gone_and_new_when_it_comes_again() {
    let evidence = evidence(options());
    for path in ["/a", "/b", "/c"] {
        refuse(&evidence, Reason::NotFound, "192.0.2.1", path);
    }
    let listed = list(&evidence, "");
    let id = listed["entries"][0]["id"].as_str().unwrap();
    assert!(evidence.remove(id) && !evidence.remove(id) && !evidence.remove("x"));
    assert!(evidence.one(id).is_none());
    assert_eq!(evidence.purge(), 2);
    let listed = list(&evidence, "");
    assert_eq!((&listed["count"], &listed["bytes"]), (&0.into(), &0.into()));
    refuse(&evidence, Reason::NotFound, "192.0.2.1", "/a");
    assert_eq!(list(&evidence, "")["entries"][0]["count"], 1);
}

#[test]
fn that_a_connection_was_idle_is_no_evidence() {
    let evidence = evidence(options());
    let client = "192.0.2.1".parse().unwrap();
    evidence.connection(Why::plain(Reason::Idle), client, Protocol::Http1, &[], "");
    evidence.connection(Why::plain(Reason::Http2Abuse), client, Protocol::Http2, &[], "");
    assert_eq!(list(&evidence, "")["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_faults_switch_it_off_and_what_is_held_is_given_up() {
    let evidence = evidence(options());
    let keeper = tokio::spawn(evidence.clone().keep());
    refuse(&evidence, Reason::NotFound, "192.0.2.1", "/a");
    assert_eq!(list(&evidence, "")["count"], 1);
    evidence.0.trip.store(true, Ordering::Relaxed);
    for number in 0..5 {
        refuse(&evidence, Reason::NotFound, "192.0.2.1", &format!("/{number}"));
    }
    evidence.0.trip.store(false, Ordering::Relaxed);
    refuse(&evidence, Reason::NotFound, "192.0.2.1", "/b");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let listed = list(&evidence, "");
    assert_eq!((&listed["enabled"], &listed["count"]), (&false.into(), &0.into()));
    let metrics = evidence.0.metrics.render();
    for line in [
        "fail_safe_panic_count 3",
        "nessen_evidence_on 0",
        "quarantine_count 0",
        "nessen_evidence_max_entries 100",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}\n{metrics}");
    }
    assert!(!keeper.is_finished());
}

#[test]
fn a_head_of_fields_is_kept_too() {
    let evidence = evidence(options());
    let mut exchange = exchange("192.0.2.1", "");
    let request = Request::builder().uri("/p?sig=x").header("authorization", "x").body(()).unwrap();
    exchange.seen = Some(Box::new(Seen::fields(&request, 0)));
    evidence.request(Why::plain(Reason::InvalidPath), &exchange, Some(400));
    let listed = list(&evidence, "");
    assert_eq!(paths(&listed), ["/p?sig=[redacted]"]);
    let whole = evidence.one(listed["entries"][0]["id"].as_str().unwrap()).unwrap();
    assert_eq!(whole["head"]["lines"][1], "authorization: [redacted]");
}
