//! Clients that do not open their windows: the socket is writable, the stream is not.

use std::time::{Duration, Instant};

use crate::support::http1::Conn;
use crate::support::http2::{H2, REFUSED_STREAM, get, request, window_update};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const INITIAL_WINDOW: u16 = 4;
const BODY: usize = 40_000;

/// Uploads a body to `/echo` on `stream`.
fn ask(h2: &mut H2, stream: u32) {
    h2.send(&request(stream, "POST", "/echo", &[], false));
    h2.upload(stream, BODY);
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_and_its_neighbours_live_on() {
    let server = Server::start(&[("WRITE_TIMEOUT", "700")]);
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 0)]);
    ask(&mut h2, 1);
    h2.send(&request(3, "POST", "/echo", &[], false));
    h2.send(&window_update(3, 1 << 20));
    h2.upload(3, BODY);
    assert_eq!(h2.answer(3).body.len(), BODY);
    let stalled = h2.answer(1);
    assert!(stalled.reset.is_some() && stalled.body.is_empty(), "{}", h2.state());
    h2.send(&request(5, "POST", "/echo", &[], false));
    h2.send(&window_update(5, 1 << 20));
    h2.upload(5, BODY);
    assert_eq!(h2.answer(5).body.len(), BODY);
    server.assert_refused_once("slow_reader");
}

#[test]
fn a_stream_whose_window_opens_by_drops_is_cut_off() {
    let server = drip_server();
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 0)]);
    h2.polite = false;
    ask(&mut h2, 1);
    drip(&mut h2, &[1], &window_update(1, 5));
    assert!(h2.answers[&1].body.len() < BODY, "{}", h2.state());
    server.assert_refused_once("slow_reader");
}

#[test]
fn many_streams_whose_windows_open_by_drops_are_cut_off_together() {
    let server = drip_server();
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 0)]);
    h2.polite = false;
    let streams: Vec<u32> = (0..10).map(|number| number * 2 + 1).collect();
    streams.iter().for_each(|stream| ask(&mut h2, *stream));
    let drops: Vec<u8> = streams.iter().flat_map(|stream| window_update(*stream, 1)).collect();
    drip(&mut h2, &streams, &drops);
    server.assert_refused("slow_reader", 10);
}

#[test]
fn a_connection_whose_window_opens_by_drops_is_cut_off() {
    let server = drip_server();
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 1 << 20)]);
    // The first answer takes the connection's whole window; for the second there are drops of it.
    h2.polite = false;
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.upload(1, 65_535);
    assert_eq!(h2.answer(1).body.len(), 65_535);
    ask(&mut h2, 3);
    drip(&mut h2, &[1, 3], &window_update(0, 5));
    assert!(h2.answers.values().any(|answer| answer.reset.is_some()), "{}", h2.state());
    server.assert_refused_once("slow_reader");
}

/// No byte is owed to anybody: a drip ends with the grace, long before the 66 s that the credit of a
/// socket would last.
fn drip_server() -> Server {
    Server::start(&[("NESSEN_LIMITS_MIN_SEND_RATE", "500 B/s after 1s"), ("WRITE_TIMEOUT", "60s")])
}

/// Sends these drops again and again until all of these streams are over.
#[track_caller]
fn drip(h2: &mut H2, streams: &[u32], drops: &[u8]) {
    let over = |h2: &H2| streams.iter().all(|id| h2.answers.get(id).is_some_and(|answer| answer.done()));
    let deadline = Instant::now() + PATIENCE;
    while h2.end.is_none() && !over(h2) {
        assert!(Instant::now() < deadline, "the drops were endured; {}", h2.state());
        h2.try_send(drops);
        h2.pump_for(Duration::from_millis(100));
    }
}

#[test]
fn a_stream_stuck_on_its_last_bytes_does_not_take_its_neighbours_with_it() {
    let server = Server::start(&[("WRITE_TIMEOUT", "1500")]);
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 0)]);
    h2.polite = false;
    ask(&mut h2, 1);
    // Enough for the answer to begin, and to lie whole in the server's buffer.
    h2.send(&window_update(1, 5));
    let mut stream = 3;
    while !h2.answers.get(&1).is_some_and(|answer| answer.done()) {
        h2.send(&request(stream, "POST", "/echo", &[], false));
        h2.send(&window_update(stream, 1 << 20));
        h2.upload(stream, 100);
        assert_eq!(h2.answer(stream).body.len(), 100, "{}", h2.state());
        stream += 2;
        h2.pump_for(Duration::from_millis(50));
    }
    assert!(h2.answers[&1].reset.is_some(), "{}", h2.state());
    server.assert_refused_once("slow_reader");
}

#[test]
fn a_connection_whose_window_stays_shut_does_not_live_for_ever() {
    let server = Server::start(&[("WRITE_TIMEOUT", "700")]);
    let mut h2 = H2::open_with(server.address, &[(INITIAL_WINDOW, 1 << 20)]);
    // The connection's window of 65 535 bytes is never opened again: the second answer is stuck.
    h2.polite = false;
    ask(&mut h2, 1);
    ask(&mut h2, 3);
    h2.pump_until("an end", |h2| {
        h2.end.is_some() || [1, 3].iter().any(|id| h2.answers.get(id).is_some_and(|a| a.reset.is_some()))
    });
    assert_eventually(PATIENCE, "slow_reader", || server.rejections("slow_reader") >= 1.0);
}

#[test]
fn a_connection_that_is_not_read_is_reset() {
    let server = Server::start(&[
        ("WRITE_TIMEOUT", "700"),
        ("MAX_BODY_SIZE", "32MiB"),
        ("MAX_RESPONSE_SIZE", "32MiB"),
    ]);
    // Windows wide open, and a socket that nobody reads.
    let mut h2 = H2::on(Conn::open_narrow(server.address), &[(INITIAL_WINDOW, (1 << 31) - 1)]);
    h2.send(&window_update(0, (1 << 30) - 1));
    h2.send(&request(1, "POST", "/echo", &[], false));
    h2.upload(1, 24 << 20);
    server.assert_refused_once("slow_reader");
}

#[test]
fn a_wide_window_is_served_to_the_end() {
    let server =
        Server::start(&[("WRITE_TIMEOUT", "700"), ("NESSEN_LIMITS_MIN_SEND_RATE", "1000 B/s after 500ms")]);
    let mut h2 = H2::open(server.address);
    for stream in [1, 3, 5] {
        ask(&mut h2, stream);
        let answer = h2.answer(stream);
        assert_eq!((answer.status, answer.body.len()), (Some(200), BODY));
    }
}

#[test]
fn windows_are_as_wide_as_configured() {
    let server = Server::start(&[
        ("NESSEN_HTTP2_STREAM_WINDOW", "100000"),
        ("NESSEN_HTTP2_CONNECTION_WINDOW", "300000"),
        ("NESSEN_HTTP2_MAX_CONCURRENT_STREAMS", "7"),
    ]);
    let mut h2 = H2::open(server.address);
    h2.assert_serves(1);
    assert_eq!((h2.settings.get(&INITIAL_WINDOW), h2.settings.get(&3)), (Some(&100_000), Some(&7)));
    assert_eq!(65_535 + h2.credit(0), 300_000);
}

#[test]
fn streams_that_are_never_read_cannot_outgrow_the_memory() {
    // 5.5 MiB beside what is set aside, of which each stream has 4 KiB at least.
    let server = Server::start(&[
        ("MEMORY_BUDGET", "8MiB"),
        ("MAX_CONNECTIONS", "100"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_LIMITS_MIN_SEND_RATE", "off"),
    ]);
    let mut held: Vec<H2> = (0..20).map(|_| H2::open_with(server.address, &[(INITIAL_WINDOW, 0)])).collect();
    let gets: Vec<u8> = (0..100).flat_map(|number| get(number * 2 + 1, "/favicon.svg")).collect();
    for h2 in &mut held {
        h2.send(&gets);
    }
    let mut refused = 0;
    for h2 in &mut held {
        h2.pump_for(Duration::from_millis(100));
        // They may be asked for again (RFC 9113 section 8.7), and took nothing.
        refused += h2.answers.values().filter(|answer| answer.reset == Some(REFUSED_STREAM)).count();
    }
    let bound = (5 << 20) / (4 << 10) + 200;
    assert!(refused >= 2000 - bound, "{refused} of 2000 streams were refused");
    assert_eq!(server.get("/health").status, 200);
    drop(held);
    assert_eventually(PATIENCE, "everybody to be served", || server.get("/").status == 200);
    assert!(server.rejections("overloaded") >= refused as f64);
}
