//! SIGHUP swaps the route table, and nothing that is under way notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::{TempFile, ask, proxy, proxy_with, route, sum};
use crate::support::client::{Client, Request};
use crate::support::upstream::Upstream;
use crate::support::websocket::Frame;
use crate::support::{PATIENCE, assert_eventually, pause};

#[test]
fn a_new_table_takes_over_and_loses_nothing() {
    let (old, new) = (Upstream::named("old"), Upstream::named("new"));
    let table = TempFile::new("reload.toml", &route("/", &[old.url()]));
    let server = proxy_with(&table, &[]);
    // One under way since before, one that is streaming, and a tunnel.
    let mut waiting = Client::open(server.address);
    waiting.send(&Request::get("waiting", "gate").bytes());
    let mut streaming = Client::open(server.address);
    streaming.send(&Request::get("streaming", "events").bytes());
    streaming.head().expect("a head").assert_answers_to("streaming");
    let mut tunnel = Client::open(server.address);
    let upgrade =
        Request::get("tunnel", "upgrade").field("Connection", "upgrade").field("Upgrade", "websocket");
    tunnel.ask(&upgrade).assert_answers(101, "tunnel");
    old.wait_begun(3);

    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (server, stop, done) = (&server, &stop, &done);
            scope.spawn(move || {
                let mut open = Client::open(server.address);
                for number in 0.. {
                    let token = format!("{client}-{number}");
                    let request = match number % 2 {
                        0 => Request::get(&token, "pause=3"),
                        _ => Request::post(&token, "chunked", b"a body"),
                    };
                    open.ask(&request).assert_answers(200, &token);
                    done.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let who = || ask(&server, &Request::get("who", "ok")).field("x-upstream").unwrap().to_owned();
        for round in 0..6 {
            let (url, name) = if round % 2 == 0 { (new.url(), "new") } else { (old.url(), "old") };
            table.write(&route("/", &[url]));
            server.signal(Signal::HUP);
            assert_eventually(PATIENCE, name, || who() == name);
            // From the moment that one was answered by the new table, all are.
            for _ in 0..10 {
                assert_eq!(who(), name);
            }
            pause(30);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done.load(Ordering::Relaxed) > 20, "{done:?}");

    old.open_gate();
    waiting.answer().assert_answers(200, "waiting");
    old.push(b"data: still here\n\n");
    assert_eq!(streaming.wire().line().expect("a chunk"), b"12");
    let frame = Frame::binary(b"still here".to_vec());
    tunnel.send(&frame.bytes(Some([1; 4])));
    assert_eq!(Frame::read(tunnel.wire()), Some(frame));
}

#[test]
fn a_bad_table_changes_nothing() {
    let upstream = Upstream::start();
    let table = TempFile::new("bad.toml", &route("/", &[upstream.url()]));
    let server = proxy_with(&table, &[]);
    for bad in [
        "[[route]]\npath = \"/\"\nupstream = \"ftp://a\"\n",
        "[[route]]\npath = \"no slash\"\nupstream = \"http://a\"\n",
        "[[route]]\npath = \"/\"\n",
        "not TOML at all",
    ] {
        let errors =
            || server.log().iter().filter(|line| line["level"] == "ERROR" || line["level"] == "WARN").count();
        let before = errors();
        table.write(bad);
        server.signal(Signal::HUP);
        assert_eventually(PATIENCE, "the reason in the log", || errors() > before);
        ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
    }
    // A good one is taken afterwards.
    let next = Upstream::named("next");
    table.write(&route("/", &[next.url()]));
    server.signal(Signal::HUP);
    let taken = || ask(&server, &Request::get("t", "ok")).field("x-upstream") == Some("next");
    assert_eventually(PATIENCE, "the good table", taken);
}

#[test]
fn connections_of_a_table_that_is_gone_are_closed() {
    let (old, new) = (Upstream::named("old"), Upstream::named("new"));
    let table = TempFile::new("gone.toml", &route("/", &[old.url()]));
    let server = proxy_with(&table, &[("NESSEN_UPSTREAM_KEEPALIVE_TIMEOUT", "1h")]);
    for number in 0..5 {
        ask(&server, &Request::get(&number.to_string(), "ok"));
    }
    assert!(old.open() >= 1);
    table.write(&route("/", &[new.url()]));
    server.signal(Signal::HUP);
    old.wait_closed();
    let fine = || ask(&server, &Request::get("t", "ok")).field("x-upstream") == Some("new");
    assert_eventually(Duration::from_secs(5), "the new table", fine);
}

#[test]
fn the_drain_waits_for_what_the_upstream_is_busy_with() {
    let upstream = Upstream::start();
    let mut server = proxy(&upstream, &[]);
    let mut waiting = Client::open(server.address);
    waiting.send(&Request::post("waiting", "gate", b"body").bytes());
    let mut streaming = Client::open(server.address);
    streaming.send(&Request::get("streaming", "events").bytes());
    streaming.head().expect("a head").assert_answers_to("streaming");
    upstream.wait_begun(2);
    server.signal(Signal::TERM);
    server.wait_log("draining", |line| line["to"] == "DRAINING");
    upstream.open_gate();
    waiting.answer().assert_answers(200, "waiting");
    upstream.push(b"data: the last one\n\n");
    upstream.push_end();
    let mut body = Vec::new();
    let framing = crate::support::wire::Framing::Chunked;
    streaming.wire().body(framing, &mut |part| body.extend_from_slice(part)).expect("a whole body");
    assert_eq!(body, b"data: the last one\n\n");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn idle_connections_that_go_with_their_table_are_counted_no_more() {
    let upstream = Upstream::start();
    let upgrade =
        Request::get("tunnel", "upgrade").field("Connection", "upgrade").field("Upgrade", "websocket");
    let table = |retries: u32| route("/", &[upstream.url()]) + &format!("retries = {retries}\n");
    let file = TempFile::new("idle.toml", &table(1));
    let server = proxy_with(&file, &[("NESSEN_UPSTREAM_KEEPALIVE_TIMEOUT", "1h")]);
    // It holds its address, but not what others have left there.
    let mut tunnel = Client::open(server.address);
    tunnel.ask(&upgrade).assert_answers(101, "tunnel");
    let idle = || sum(&server, "nessen_upstream_connections", &["idle"]);
    for retries in 2..5 {
        ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
        assert_eventually(PATIENCE, "an idle connection", || idle() == 1.0);
        file.write(&table(retries));
        server.signal(Signal::HUP);
        assert_eventually(PATIENCE, "no idle connection", || idle() == 0.0);
        assert_eventually(PATIENCE, "the tunnel alone", || upstream.open() == 1);
    }
    let frame = Frame::binary(b"still here".to_vec());
    tunnel.send(&frame.bytes(Some([1; 4])));
    assert_eq!(Frame::read(tunnel.wire()), Some(frame));
}
