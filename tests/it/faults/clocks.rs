//! A wall clock that is set forth and back by hours while requests are under way. Only what shows the
//! time follows it; what measures time does not.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Held, allowed, assert_probes};
use crate::support::folder::Folder;
use crate::support::http1::post_head;
use crate::support::http2::{self, H2};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// The library that shows another time to the programs that are started with it.
fn library() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1")).find(|it| it.is_file());
    allowed("another time (the package faketime)", found.is_some());
    found
}

/// The moment of an HTTP date, in seconds.
fn seconds(date: &str) -> i64 {
    let moment = httpdate::parse_http_date(date).expect("a date");
    i64::try_from(moment.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn a_clock_that_is_set_moves_what_shows_the_time_and_nothing_that_measures_it() {
    let Some(library) = library() else { return };
    let folder = Folder::new();
    folder.write("time", "+0");
    let file = folder.path("time");
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
        ("HEADERS_TIMEOUT", "20s"),
        ("IDLE_TIMEOUT", "20s"),
        ("BODY_TIMEOUT", "20s"),
        ("NESSEN_RATE_LIMIT_MAX_REQUESTS", "2"),
        ("NESSEN_RATE_LIMIT_BURST", "2"),
        ("NESSEN_RATE_LIMIT_WINDOW", "1h"),
        ("NESSEN_SERVER_TRUSTED_PROXIES", "127.0.0.1"),
        ("DRAIN_DELAY", "300ms"),
    ];
    let mut server = Server::start(&env);
    let held = Held::by(&server);
    let start = server.metrics()["process_start_time_seconds"];
    // Whom the rate limit counts.
    let of = |client: &str| {
        let mut conn = server.connect();
        conn.send(
            format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n").as_bytes(),
        );
        conn.read_response()
    };
    for status in [200, 200, 429] {
        assert_eq!(of("192.0.2.1").status, status);
    }
    let mut idle = server.connect();
    let unlimited = |client: u32| {
        format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.{client}\r\n\r\n")
    };
    idle.send(unlimited(1).as_bytes());
    assert_eq!(idle.read_response().status, 200);
    let mut h2 = H2::open(server.address);
    h2.send(&http2::request(1, "GET", "/health", &[], true));
    assert_eq!(h2.answer(1).status, Some(200));

    for (turn, (offset, by)) in
        [("-3h", -3 * 3600), ("+5h", 5 * 3600), ("-30d", -30 * 86400), ("+0", 0)].into_iter().enumerate()
    {
        let turn = u32::try_from(turn).unwrap();
        let mut upload = server.connect();
        let head = String::from_utf8(post_head(10)).unwrap();
        let client = format!("\r\nX-Forwarded-For: 203.0.113.{turn}\r\n\r\n");
        upload.send(head.replace("\r\n\r\n", &client).as_bytes());
        upload.send(b"hello");
        pause(50);
        // In one step: half a file would be another time.
        folder.write("next", offset);
        std::fs::rename(folder.at("next"), folder.at("time")).unwrap();
        // The control: the process believes it.
        let shown = |text: &str| (seconds(text) - now() - by).abs() < 60;
        assert_eventually(PATIENCE, "another date", || {
            server.get("/health").header("date").is_some_and(shown)
        });
        upload.send(b"world");
        let answer = upload.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "helloworld"));
        assert!(shown(answer.header("date").unwrap()), "{answer:?}");
        // Of an answer that is the connection's, and of one over HTTP/2.
        let mut broken = server.connect();
        broken.send(b"no HTTP\r\n\r\n");
        assert!(broken.read_response().header("date").is_some_and(shown));
        let stream = 3 + 2 * turn;
        h2.send(&http2::get(stream, "/health"));
        assert_eq!(h2.answer(stream).status, Some(200));
        // Nothing that was idle has grown old, and nobody's allowance has come back.
        idle.send(unlimited(2 + turn).as_bytes());
        assert_eq!(idle.read_response().status, 200);
        assert_eq!(of("192.0.2.1").status, 429, "{offset}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        let line = server.wait_log("the upload", |line| line["request_id"] == *id);
        let took = line["duration_ms"].as_f64().unwrap();
        assert!((0.0..20_000.0).contains(&took), "{line}");
        let uptime = server.get("/api/health").json()["uptime_seconds"].as_f64().unwrap();
        assert!(uptime < 100.0, "{uptime}");
        assert_eq!(server.metrics()["process_start_time_seconds"], start);
        let steps = f64::from(turn + 1);
        let counted = || server.metrics()["nessen_clock_steps_total"] == steps;
        assert_eventually(PATIENCE, "steps that are counted", counted);
        assert_probes(&server);
    }
    let said = server.log().iter().filter(|line| line["message"] == "the wall clock was set").count();
    assert!((1..=4).contains(&said), "{said} lines");
    for reason in ["headers_timeout", "body_timeout", "body_too_slow", "idle", "request_timeout"] {
        assert_eq!(server.rejections(reason), 0.0, "{reason}");
    }
    drop((idle, h2));
    held.assert_no_more(&server);

    // Set once more in the middle of a drain.
    server.signal(rustix::process::Signal::TERM);
    server.wait_log("the drain", |line| line["to"] == "DRAINING");
    folder.write("time", "+9h");
    assert_eq!(server.exit_code(), 0);
    let end = server.wait_log("the end", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("drained in"))
    });
    let took: u64 = end["message"].as_str().unwrap().split(' ').nth(2).unwrap().parse().unwrap();
    assert!((250..20_000).contains(&took), "{end}");
}
