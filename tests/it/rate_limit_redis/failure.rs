//! Without Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::support::problem::assert_problem;
use crate::support::program::free;

const MANY: (&str, &str) = ("RATE_LIMIT_MAX_REQUESTS", "100000000");
const QUIET: (&str, &str) = ("ACCESS_LOG", "off");

#[test]
fn redis_is_killed_and_started_again_and_no_request_fails() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let servers = [sharing(&redis, &[MANY, QUIET]), sharing(&redis, &[MANY, QUIET])];
    for server in &servers {
        await_up(server, true);
    }
    let over = AtomicBool::new(false);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let pause = Duration::from_millis(1);
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (server, over) = (&servers[number % 2], &over);
                scope.spawn(move || go_on(server, over, pause))
            })
            .collect();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(400));
            redis.kill();
            for server in &servers {
                await_up(server, false);
            }
            thread::sleep(Duration::from_millis(300));
            redis.start_again();
            for server in &servers {
                await_up(server, true);
                let before = questions(server);
                assert_eventually(PATIENCE, "it is asked again", || questions(server) > before);
            }
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for seen in &seen {
        assert_eq!(seen.statuses.keys().copied().collect::<Vec<_>>(), [200], "{:?}", seen.statuses);
        assert!(seen.slowest < Duration::from_secs(1), "{:?}", seen.slowest);
    }
    for server in &servers {
        assert!(fallbacks(server) > 0.0);
    }
}

#[test]
fn redis_that_stands_still_holds_nobody_up() {
    let Some(redis) = Redis::start(&[]) else { return };
    // So long that a hundred of them would be noticed.
    let server = sharing(&redis, &[MANY, ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "300ms")]);
    await_up(&server, true);
    let mut conn = server.connect();
    assert_eq!(status(&mut conn), 200);
    redis.stand_still(true);
    let begun = Instant::now();
    assert_eq!(status(&mut conn), 200);
    let first = begun.elapsed();
    assert!(first >= Duration::from_millis(290), "it did not ask: {first:?}");
    await_up(&server, false);
    let asked = questions(&server);
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(status(&mut conn), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?} for a hundred", begun.elapsed());
    assert_eq!(questions(&server), asked, "nobody asks who does not answer");
    assert_eq!(fallbacks(&server), 101.0);
    assert!(errors(&server, "timeout") >= 1.0);
    redis.stand_still(false);
    await_up(&server, true);
    assert_eq!(status(&mut conn), 200);
    assert_eq!(questions(&server), asked + 1.0);
}

/// The local limits are no second allowance.
#[test]
fn local_limits_go_on_where_the_shared_ones_were() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let limit = [("RATE_LIMIT_MAX_REQUESTS", "5"), ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "5s")];
    let [one, other] = [sharing(&redis, &limit), sharing(&redis, &limit)];
    for server in [&other, &other, &one] {
        assert_eq!(server.get("/badge/a/b.svg").status, 200);
    }
    redis.kill();
    await_up(&one, false);
    // It was told that two were left.
    let statuses: Vec<u16> = (0..3).map(|_| one.get("/badge/a/b.svg").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(fallbacks(&one), 3.0);
}

#[test]
fn without_redis_requests_are_refused_where_that_is_asked_for() {
    let address = free();
    let server = sharing_at(
        &format!("redis://{address}"),
        &[("RATE_LIMIT_MAX_REQUESTS", "1000"), ("NESSEN_RATE_LIMIT_ON_REDIS_FAILURE", "refuse"), PATIENT],
    );
    let mut conn = server.connect();
    conn.send(&get("/badge/a/b.svg"));
    let refused = conn.read_response();
    assert_problem(&refused, 503, "RATE_LIMIT_UNAVAILABLE");
    assert_eq!(refused.json()["limit"], "rate_limit.on_redis_failure");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for probe in ["/health", "/ready", "/metrics"] {
        conn.send(&get(probe));
        assert_eq!(conn.read_response().status, 200, "{probe}");
    }
    server.assert_refused_once("rate_limit_unavailable");
    assert!(errors(&server, "connect") >= 1.0);
    assert_eq!(fallbacks(&server), 0.0);
    let Some(_redis) = Redis::start_at(address, &[]) else { return };
    await_up(&server, true);
    assert_eq!(status(&mut conn), 200);
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let Some(redis) = Redis::start(&["--requirepass", "p@ss/word"]) else { return };
    let place = redis.address;
    for (url, kind) in [
        (format!("redis://{place}"), "auth"),
        (format!("redis://:hunter2@{place}"), "auth"),
        (format!("redis://hunter2:hunter2@{place}"), "auth"),
    ] {
        let server = sharing_at(&url, &[("RATE_LIMIT_MAX_REQUESTS", "1000")]);
        assert_eventually(PATIENCE, kind, || errors(&server, kind) >= 1.0);
        assert_eq!(server.get("/badge/a/b.svg").status, 200, "local limits stand in");
        let line = server.wait_log("why", |line| line["kind"] == kind);
        assert!(line["message"].as_str().unwrap().contains("limits are local"), "{line}");
        assert!(!server.stdout().concat().contains("hunter2"), "{:?}", server.stdout());
    }
    let server =
        sharing_at(&format!("redis://:p%40ss%2Fword@{place}/3"), &[("RATE_LIMIT_MAX_REQUESTS", "1000")]);
    await_up(&server, true);
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    assert!(!server.stdout().concat().contains("word@"), "{:?}", server.stdout());
}

/// Full, or a replica: it answers, and with nothing but errors.
#[test]
fn redis_that_takes_no_writes_is_not_asked_again_and_again() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(&redis, &[MANY, PATIENT]);
    await_up(&server, true);
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut conn = server.connect();
    for _ in 0..50 {
        assert_eq!(status(&mut conn), 200);
    }
    await_up(&server, false);
    assert_eventually(PATIENCE, "errors", || errors(&server, "error") >= 3.0);
    assert_eq!(fallbacks(&server), 50.0);
    assert!(questions(&server) < 50.0, "it went on asking");
    redis.ask(&["REPLICAOF", "NO", "ONE"]);
    await_up(&server, true);
}
