//! Clients that would have Redis, or the table, work and hold for them.

use super::*;
use crate::support::http2::{self, H2};

#[test]
fn a_flood_hardly_reaches_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(
        &redis,
        &[
            ("RATE_LIMIT_MAX_REQUESTS", "10"),
            ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "5s"),
            ("ACCESS_LOG", "off"),
        ],
    );
    let mut conn = server.connect();
    let granted = (0..500).filter(|_| status(&mut conn) == 200).count();
    assert!((10..=12).contains(&granted), "{granted}");
    // A token grows in six seconds, and is asked for.
    assert!(questions(&server) <= 14.0, "{}", questions(&server));
    assert_eq!(fallbacks(&server), 0.0);
}

/// However many ask at once: no more wait than can be counted.
#[test]
fn questions_at_a_time_are_bounded() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(
        &redis,
        &[
            ("RATE_LIMIT_MAX_REQUESTS", "100000"),
            ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "3s"),
            ("ACCESS_LOG", "off"),
        ],
    );
    await_up(&server, true);
    redis.stand_still(true);
    let mut all: Vec<H2> = (0..12).map(|_| H2::open(server.address)).collect();
    let streams = || (0..90).map(|number| 2 * number + 1);
    for h2 in &mut all {
        h2.send(&streams().flat_map(|stream| http2::get(stream, "/badge/a/b.svg")).collect::<Vec<u8>>());
    }
    for h2 in &mut all {
        for stream in streams() {
            assert_eq!(h2.answer(stream).status, Some(200));
        }
    }
    assert_eq!(errors(&server, "overflow"), 12.0 * 90.0 - 1024.0);
    assert_eq!(questions(&server), 1024.0);
    assert_eq!(fallbacks(&server), 12.0 * 90.0);
}

#[test]
fn values_of_a_field_are_bounded_here_and_gone_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(
        &redis,
        &[
            ("RATE_LIMIT_DEFAULT_RPS", "1000"),
            ("NESSEN_RATE_LIMIT_KEY", "header:x-api-key"),
            ("RATE_LIMIT_MAX_KEYS", "100"),
            ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "5s"),
            ("ACCESS_LOG", "off"),
        ],
    );
    let mut conn = server.connect();
    let long = "x".repeat(15 * 1024);
    for number in 0..3_000 {
        let value = if number % 100 == 0 { &long } else { "zqx" };
        let request =
            format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\nX-Api-Key: {value}{number}\r\n\r\n");
        conn.send(request.as_bytes());
        assert_eq!(conn.read_response().status, 200);
    }
    assert_eq!(questions(&server), 3_000.0);
    assert_eventually(PATIENCE, "the table is counted", || {
        metric(&server, "nessen_rate_limit_keys") == 100.0
    });
    // Each was full again a millisecond later.
    assert_eventually(PATIENCE, "Redis holds nothing", || {
        redis.ask(&["SCAN", "0", "COUNT", "100000"]);
        redis.number(&["DBSIZE"]) == 0
    });
    assert_eq!(fallbacks(&server), 0.0);
}
