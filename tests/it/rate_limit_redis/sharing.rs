//! One limit for all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::support::folder::Folder;
use crate::support::http1::post;
use crate::support::http2::{self, H2};

const QUIET: (&str, &str) = ("ACCESS_LOG", "off");

#[test]
fn three_processes_share_one_limit() {
    const RATE: f64 = 100.0;
    const BURST: f64 = 200.0;
    let Some(redis) = Redis::start(&[]) else { return };
    let limit = [("RATE_LIMIT_DEFAULT_RPS", "100"), ("RATE_LIMIT_DEFAULT_BURST", "200"), PATIENT, QUIET];
    let servers: Vec<Server> = (0..3).map(|_| sharing(&redis, &limit)).collect();
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    // Emptied first: what would grow back into a full bucket is lost.
    let mut conn = servers[0].connect();
    let first = (0..).take_while(|_| status(&mut conn) == 200).count();
    let emptied = Instant::now();
    let seen: Vec<Seen> = thread::scope(|scope| {
        let go_on = |server| go_on(server, &over, Duration::from_millis(1));
        let threads: Vec<_> = servers.iter().map(|server| scope.spawn(move || go_on(server))).collect();
        thread::sleep(Duration::from_secs(4));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // What a busy machine has left in the bucket counts as well.
    let least = RATE * emptied.elapsed().as_secs_f64();
    let rest = (0..).take_while(|_| status(&mut conn) == 200).count();
    let allowed = BURST + RATE * begun.elapsed().as_secs_f64();
    let granted: Vec<usize> = seen.iter().map(|seen| seen.statuses.get(&200).copied().unwrap_or(0)).collect();
    let since = (granted.iter().sum::<usize>() + rest) as f64;
    let total = first as f64 + since;
    let told = format!("{total} of {allowed}: {first}, {granted:?} and {rest}");
    assert!(total <= allowed, "{told}");
    assert!(since >= 0.98 * least, "{told}; {since} of {least} since it was empty");
    eprintln!("{told}");
    for (server, seen) in servers.iter().zip(&seen) {
        assert!(seen.statuses.contains_key(&200) && seen.statuses.contains_key(&429), "{:?}", seen.statuses);
        assert_eq!(seen.statuses.len(), 2, "{:?}", seen.statuses);
        assert_eq!(fallbacks(server), 0.0);
    }
}

/// What one process is told, the other one tells.
#[test]
fn a_client_stands_where_it_stands_whomever_it_asks() {
    let Some(redis) = Redis::start(&[]) else { return };
    let limit = [("RATE_LIMIT_MAX_REQUESTS", "4"), ("RATE_LIMIT_BLOCK_MS", "600000"), PATIENT];
    let [one, other] = [sharing(&redis, &limit), sharing(&redis, &limit)];
    let field = |server: &Server| {
        let answer = server.get("/badge/a/b.svg");
        (answer.status, answer.header("ratelimit").unwrap_or_default().to_owned())
    };
    for (server, left) in [(&one, 3), (&other, 2), (&one, 1), (&other, 0)] {
        let (status, field) = field(server);
        assert_eq!(status, 200);
        assert!(field.starts_with(&format!("\"default\";r={left};t=")), "{field}");
    }
    // It is blocked by the one, and by the other.
    for server in [&one, &other, &one] {
        let refused = server.get("/badge/a/b.svg");
        assert_eq!((refused.status, refused.json()["limit"].as_str()), (429, Some("rate_limit.block")));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((590..=600).contains(&wait), "{wait}");
    }
    assert_eq!(metric(&one, "nessen_rate_limit_backend_up"), 1.0);
    assert_eventually(PATIENCE, "a blocked client", || {
        metric(&one, "nessen_rate_limit_blocked_sources") == 1.0
    });
}

#[test]
fn routes_have_limits_of_their_own_by_field_and_by_segment() {
    let Some(redis) = Redis::start(&[]) else { return };
    let folder = Folder::new();
    folder.write(
        "n.toml",
        "[rate_limit]\nbackend = 'redis'\nredis_timeout = '5s'\n\
         [[route]]\npath = '/tenants'\nrespond = {}\n\
         rate_limit = { max_requests = 2, window = '1h', key = 'path:2' }\n\
         [[route]]\npath = '/keyed'\nrespond = {}\n\
         rate_limit = { max_requests = 1, window = '1h', key = 'header:x-api-key' }\n\
         [[route]]\npath = '/free'\nrespond = {}\n",
    );
    let url = redis.url();
    let start = || Server::start_with(&[("REDIS_URL", &url)], &["--config", &folder.path("n.toml")]);
    let [one, other] = [start(), start()];
    let ask = |server: &Server, path: &str, key: &str| {
        let mut conn = server.connect();
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: nessen.test\r\nX-Api-Key: {key}\r\n\r\n").as_bytes());
        conn.read_response().status
    };
    for (server, path, key, status) in [
        (&one, "/tenants/acme/x", "", 200),
        (&other, "/tenants/%61cme/y", "", 200),
        (&one, "/tenants/./acme", "", 429),
        (&one, "/tenants/other", "", 200),
        (&one, "/keyed", "hunter2-a", 200),
        (&other, "/keyed", "hunter2-a", 429),
        (&other, "/keyed", "hunter2-b", 200),
        (&one, "/free", "hunter2-a", 200),
        (&one, "/free", "hunter2-a", 200),
    ] {
        assert_eq!(ask(server, path, key), status, "{path} {key}");
    }
    let keys = redis.ask(&["KEYS", "*"]);
    assert_eq!(keys.matches("nessen:rl:").count(), 4, "{keys}");
    assert!(!keys.contains("hunter2") && !keys.contains("acme"), "{keys}");
}

/// Whatever the protocol, and with whatever is behind the head.
#[test]
fn a_request_that_has_waited_for_redis_is_served_like_any_other() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(&redis, &[("RATE_LIMIT_MAX_REQUESTS", "1000"), PATIENT]);
    let mut conn = server.connect();
    for size in [0, 5, 200_000] {
        conn.send(&post(&vec![b'x'; size]));
        let answer = conn.read_response();
        assert_eq!(answer.status, 200);
        assert!(answer.header("ratelimit").is_some());
    }
    // Three at once, the last of which is waited for by nobody.
    let request = String::from_utf8(get("/badge/a/b.svg")).unwrap();
    conn.send(request.repeat(3).as_bytes());
    for _ in 0..2 {
        assert_eq!(conn.read_response().status, 200);
    }
    drop(conn);
    let mut h2 = H2::open(server.address);
    for stream in [1, 3, 5] {
        h2.send(&http2::get(stream, "/badge/a/b.svg"));
    }
    for stream in [1, 3, 5] {
        assert_eq!(h2.answer(stream).status, Some(200));
    }
    assert_eventually(PATIENCE, "nine questions", || questions(&server) == 9.0);
    assert_eq!(fallbacks(&server), 0.0);
    assert_eventually(PATIENCE, "all are over", || server.requests_active() == 0.0);
}

/// The clocks and signals that hold for every request hold for one that waits here.
#[test]
fn who_waits_for_redis_may_leave_and_is_answered_before_the_process_ends() {
    let Some(redis) = Redis::start(&[]) else { return };
    let wait = [
        ("RATE_LIMIT_MAX_REQUESTS", "1000"),
        ("NESSEN_RATE_LIMIT_REDIS_TIMEOUT", "4s"),
        ("DRAIN_DELAY", "0"),
    ];
    let mut server = sharing(&redis, &wait);
    await_up(&server, true);
    redis.stand_still(true);
    let (mut stays, mut leaves) = (server.connect(), H2::open(server.address));
    stays.send(&get("/badge/a/b.svg"));
    leaves.send(&http2::get(1, "/badge/a/b.svg"));
    assert_eventually(PATIENCE, "both wait", || server.requests_active() == 2.0);
    leaves.send(&http2::reset(1, 8));
    assert_eventually(PATIENCE, "one has left", || server.requests_active() == 1.0);
    server.signal(Signal::TERM);
    assert_eq!(stays.read_response().status, 200);
    assert_eq!(server.exit_code(), 0);
    redis.stand_still(false);
}

/// Nothing but the one script is there to be lost.
#[test]
fn a_server_that_has_forgotten_the_script_is_told_it_again() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(&redis, &[("RATE_LIMIT_MAX_REQUESTS", "6"), PATIENT]);
    let mut conn = server.connect();
    for _ in 0..3 {
        assert_eq!(status(&mut conn), 200);
        redis.ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(status(&mut conn), 200);
    }
    assert_eq!(status(&mut conn), 429);
    assert_eq!((fallbacks(&server), errors(&server, "error")), (0.0, 0.0));
}

#[test]
fn a_reload_shares_limits_and_keeps_them_to_itself_again() {
    let Some(redis) = Redis::start(&[]) else { return };
    let folder = Folder::new();
    let write = |backend: &str| {
        let text = format!(
            "[rate_limit]\nmax_requests = 3\nwindow = '1h'\nredis_timeout = '5s'\nbackend = '{backend}'\nredis_url = '{}'\n",
            redis.url()
        );
        folder.write("n.toml", text);
    };
    write("local");
    let start = || Server::start_with(&[], &["--config", &folder.path("n.toml")]);
    let [one, other] = [start(), start()];
    assert_eq!(one.get("/badge/a/b.svg").status, 200);
    assert!(!one.metrics().contains_key("nessen_rate_limit_backend_up"));
    write("redis");
    for server in [&one, &other] {
        server.signal(Signal::HUP);
        assert_eventually(PATIENCE, "limits are shared", || {
            server.metrics().get("nessen_rate_limit_backend_up") == Some(&1.0)
        });
    }
    let all: Vec<u16> = [&one, &other, &one, &other].map(|server| server.get("/badge/a/b.svg").status).into();
    assert_eq!(all, [200, 200, 200, 429]);
    write("local");
    other.signal(Signal::HUP);
    let asked = questions(&other);
    assert_eventually(PATIENCE, "limits are local", || {
        let before = questions(&other);
        other.get("/badge/a/b.svg");
        questions(&other) == before
    });
    assert!(questions(&other) <= asked + 3.0);
    assert_eq!(redis.ask(&["KEYS", "*"]).matches(":a:127.0.0.1").count(), 1);
}
