use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::Watched;
use crate::support::http1::{Conn, get};
use crate::support::{PATIENCE, assert_eventually};

/// A reader of `/events`.
struct Events {
    conn: Conn,
    text: String,
}

impl Events {
    /// HTTP/1.0, so that the answer is not chunked and ends with the connection.
    #[track_caller]
    fn open(watched: &Watched) -> Self {
        let mut conn = Conn::open(watched.admin);
        conn.send(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let head = conn.read_head_response();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        Self { conn, text: String::new() }
    }

    /// The next event, its name and its data; nothing at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let found = field("event").map(|name| {
                    (name.to_owned(), serde_json::from_str(field("data").unwrap()).unwrap_or_default())
                });
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let bytes = self.conn.peek(1, deadline).ok()?;
            let more = self.conn.take_all();
            assert!(!bytes.is_empty());
            self.text.push_str(&String::from_utf8(more).unwrap());
        }
    }

    #[track_caller]
    fn sample(&mut self) -> Value {
        let (name, data) = self.next().expect("an event");
        assert_eq!(name, "sample");
        data
    }
}

#[test]
fn the_stream_begins_with_the_past_and_brings_a_sample_a_second() {
    let watched = Watched::start(&[], &[]);
    let mut conn = watched.server.connect();
    for _ in 0..5 {
        conn.send(&get("/badge/a/b.svg"));
        assert_eq!(conn.read_response().status, 200);
    }
    conn.send(&get("/nowhere"));
    assert_eq!(conn.read_response().status, 404);
    let mut events = Events::open(&watched);
    let (name, data) = events.next().unwrap();
    assert_eq!(name, "history");
    let mut known = data["fine"].as_array().unwrap().clone();
    let finished = |known: &[Value], class: usize| {
        known.iter().map(|sample| sample["r"][class].as_u64().unwrap()).sum::<u64>()
    };
    while finished(&known, 1) < 5 || finished(&known, 3) < 1 {
        known.push(events.sample()["sample"].take());
    }
    assert_eq!((finished(&known, 1), finished(&known, 3)), (5, 1));
    let refused: u64 = known.iter().filter_map(|sample| sample["x"]["not_found"].as_u64()).sum();
    assert_eq!(refused, 1);
    drop(events);
    let began = Instant::now();
    let mut events = Events::open(&watched);
    assert_eq!(events.next().unwrap().0, "history");
    let samples: Vec<Value> = (0..4).map(|_| events.sample()).collect();
    assert!(began.elapsed() > Duration::from_millis(2500), "four samples are at least three seconds");
    let ends: Vec<u64> = samples.iter().map(|sample| sample["sample"]["t"].as_u64().unwrap()).collect();
    for pair in ends.windows(2) {
        let apart = pair[1] - pair[0];
        assert!((200..10_000).contains(&apart), "{ends:?}");
    }
    assert!(ends[3] - ends[0] >= 2500, "{ends:?}");
    let last = &samples[3];
    assert_eq!(last["state"]["phase"], "Running, ready");
    assert!(last["sample"]["c"][1].as_u64() >= Some(2), "one client, and who looks on");
    // Who looks on is no request of a client.
    assert_eq!(last["sample"]["r"], serde_json::json!([0, 0, 0, 0, 0, 0]));
    assert!(
        watched.metric("http_requests_total{method=\"GET\",status=\"200\",route=\"status_page\"}") >= 1.0
    );
    assert!(!watched.server.log().iter().any(|line| line["path"] == "/events"), "nor is it logged as one");
}

#[test]
fn a_drain_is_seen_to_its_end_and_no_stream_holds_it_up() {
    let watched = Watched::start(&[("SHUTDOWN_DRAIN_DELAY", "2s")], &[]);
    let Watched { mut server, admin } = watched;
    let watched = |server| Watched { server, admin };
    let held = watched(server);
    let mut events = Events::open(&held);
    assert_eq!(events.next().unwrap().0, "history");
    events.sample();
    server = held.server;
    server.signal(Signal::TERM);
    let mut phases = Vec::new();
    let began = Instant::now();
    while let Some((name, data)) = events.next() {
        if name == "end" {
            phases.push("end".to_owned());
            continue;
        }
        phases.push(data["state"]["phase"].as_str().unwrap().to_owned());
    }
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(phases.contains(&"Draining".to_owned()), "{phases:?}");
    assert!(
        server
            .log()
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|it| it.starts_with("drained in")))
    );
}

#[test]
fn streams_are_bounded_and_one_that_ends_makes_room() {
    let watched = Watched::start(&[], &[]);
    let mut open: Vec<Events> = (0..16).map(|_| Events::open(&watched)).collect();
    let refused = watched.ask("/events", "localhost", "");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("OVERLOADED")), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    // The rest of the port answers.
    assert_eq!(watched.ask("/", "localhost", "").status, 200);
    assert_eq!(watched.ask("/metrics", "localhost", "").status, 200);
    for events in &mut open {
        assert_eq!(events.next().unwrap().0, "history");
    }
    drop(open.pop());
    assert_eventually(PATIENCE, "room", || {
        let mut conn = Conn::open(watched.admin);
        conn.send(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n");
        conn.read_head_response().status == 200
    });
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let watched =
        Watched::start(&[("NESSEN_LIMITS_WRITE_TIMEOUT", "1s"), ("NESSEN_LIMITS_MIN_SEND_RATE", "off")], &[]);
    let mut conn = Conn::open_narrow(watched.admin);
    conn.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eventually(PATIENCE, "the stream", || {
        watched.metric("http_connections_active{protocol=\"http/1.1\"}") >= 2.0
    });
    assert_eventually(PATIENCE, "slow reader", || {
        watched.metric("nessen_rejections_total{reason=\"slow_reader\"}") == 1.0
    });
}
