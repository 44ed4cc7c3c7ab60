//! A gigabyte either way, with flat memory. `NESSEN_LONG=1` or `NESSEN_REQUIRE_ALL=1` makes it one;
//! without, it is 64 MiB.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::{proxy, runtime, say};
use crate::support::client::{Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::is_long;
use crate::support::server::Server;
use crate::support::upstream::{Follow, Upstream, pattern};
use crate::support::wire::Framing;
use crate::support::{PATIENCE, assert_eventually, pause};

/// What a stream may hold on to, whatever its length.
const GROWTH: u64 = 32 << 20;

fn length() -> u64 {
    if is_long() { 1 << 30 } else { 64 << 20 }
}

fn resident(server: &Server) -> u64 {
    let status = server.proc_file("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Runs `work` and watches what the server holds meanwhile.
#[track_caller]
fn flat<T>(server: &Server, what: &str, work: impl FnOnce() -> T) -> T {
    let before = resident(server);
    let (highest, done) = (AtomicU64::new(before), AtomicBool::new(false));
    let began = Instant::now();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                highest.fetch_max(resident(server), Ordering::Relaxed);
                pause(5);
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result
    });
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let grown = highest.into_inner() - before;
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "{what}: resident {:.1} MiB before, {:.1} MiB more at most, in {seconds:.1} s",
        before as f64 / f64::from(1 << 20),
        grown as f64 / f64::from(1 << 20),
    ));
    assert!(grown < GROWTH, "{what}: grown by {grown} bytes");
    result
}

fn server(upstream: &Upstream, env: &[(&str, &str)]) -> Server {
    let ours = [("MAX_BODY_SIZE", "2GiB"), ("ACCESS_LOG", "off")];
    let server = proxy(upstream, &[&ours, env].concat());
    // What is needed once is not growth.
    Client::open(server.address)
        .ask(&Request::post("warm", "ok", &[b'w'; 100_000]))
        .assert_answers(200, "warm");
    server
}

/// An upload of the pattern, with its length or in chunks.
fn upload(server: &Server, length: u64, chunked: bool) {
    let mut client = Client::open(server.address);
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-Token: t\r\nX-Body: pattern\r\n{framing}\r\n\r\n");
    client.send(head.as_bytes());
    let socket = client.socket();
    let part = pattern(251 * 256);
    let writing = std::thread::spawn(move || {
        let mut left = length;
        while left > 0 {
            let count = usize::try_from(left).unwrap().min(part.len());
            let (before, after) = match chunked {
                true => (format!("{count:x}\r\n"), "\r\n"),
                false => (String::new(), ""),
            };
            (&*socket).write_all(before.as_bytes())?;
            (&*socket).write_all(&part[..count])?;
            (&*socket).write_all(after.as_bytes())?;
            left -= count as u64;
        }
        if chunked { (&*socket).write_all(b"0\r\n\r\n") } else { Ok(()) }
    });
    // However long it takes: the server bounds it in rate, and the test in its answer.
    writing.join().unwrap().expect("the upload is taken");
    client.answer().assert_answers(200, "t");
}

#[test]
fn an_upload_is_not_held() {
    let upstream = Upstream::start();
    let server = server(&upstream, &[]);
    for chunked in [false, true] {
        let length = if chunked { length() / 4 } else { length() };
        let what = format!("{} MiB up, in chunks: {chunked}", length >> 20);
        flat(&server, &what, || upload(&server, length, chunked));
        assert_eq!(upstream.followed().last(), Some(&(length, true)));
    }
}

#[test]
fn a_download_is_not_held() {
    let upstream = Upstream::start();
    let server = server(&upstream, &[]);
    for fault in ["download", "download-chunked"] {
        let length = if fault == "download" { length() } else { length() / 4 };
        let what = format!("{} MiB down, {fault}", length >> 20);
        let follow = flat(&server, &what, || {
            let mut client = Client::open(server.address);
            client.send(&Request::get("t", &format!("{fault}={length}")).bytes());
            let head = client.head().expect("a head");
            head.assert_answers_to("t");
            let framing = crate::support::wire::framing(&head.fields, Framing::Close).unwrap();
            let mut follow = Follow::new();
            client.wire().body(framing, &mut |part| follow.add(part)).expect("a whole body");
            follow
        });
        assert_eq!((follow.length, follow.right), (length, true));
    }
}

#[test]
fn streams_of_http_2_are_not_held_either() {
    let upstream = Upstream::start();
    let server = server(&upstream, &[]);
    let length = length() / 4;
    let runtime = runtime();
    let what = format!("{} MiB down over HTTP/2", length >> 20);
    let follow = flat(&server, &what, || {
        runtime.block_on(async {
            let client = Client2::open(server.address).await;
            let request = Request::get("t", &format!("download={length}"));
            let mut stream = client.begin(&request).await.unwrap().await.expect("a head").into_body();
            let mut follow = Follow::new();
            while let Some(part) = stream.data().await {
                let part = part.expect("a whole body");
                follow.add(&part);
                stream.flow_control().release_capacity(part.len()).unwrap();
            }
            follow
        })
    });
    assert_eq!((follow.length, follow.right), (length, true));
    let what = format!("{} MiB up over HTTP/2", length >> 20);
    flat(&server, &what, || {
        // Made before there is a connection: it takes longer on a busy machine than one may be silent.
        let request =
            Request::post("u", "ok", &pattern(usize::try_from(length).unwrap())).field("x-body", "pattern");
        runtime.block_on(async {
            let client = Client2::open(server.address).await;
            client.ask(&request).await.expect("an answer").assert_answers(200, "u");
        });
    });
    assert_eq!(upstream.followed().last(), Some(&(length, true)));
}

#[test]
fn an_upstream_that_reads_slowly_holds_back_its_client() {
    let upstream = Upstream::start();
    // The gap is the upstream's doing: the client is not to be blamed for it.
    let server = server(&upstream, &[("BODY_TIMEOUT", "1500ms")]);
    let length = 48 << 20;
    upstream.stall_reading(true);
    flat(&server, "48 MiB up to an upstream that does not read for 4 s", || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                upstream.wait_begun(2);
                pause(4000);
                upstream.stall_reading(false);
            });
            upload(&server, length, false);
        });
    });
    assert_eq!(upstream.followed().last(), Some(&(length, true)));
}

#[test]
fn a_client_that_reads_slowly_holds_back_its_upstream() {
    let upstream = Upstream::start();
    let server = server(&upstream, &[("NESSEN_UPSTREAM_READ_TIMEOUT", "1500ms")]);
    let length: u64 = 48 << 20;
    flat(&server, "48 MiB down to a client that does not read for 4 s", || {
        let mut client = Client::open(server.address);
        client.send(&Request::get("t", &format!("download={length}")).bytes());
        client.head().expect("a head").assert_answers_to("t");
        pause(4000);
        let mut follow = Follow::new();
        client.wire().body(Framing::Length(length), &mut |part| follow.add(part)).expect("a whole body");
        assert_eq!((follow.length, follow.right), (length, true));
    });
    assert_eventually(PATIENCE, "all over", || server.requests_active() <= 0.0);
}

#[test]
fn an_upstream_that_does_not_read_is_to_blame_for_it() {
    let upstream = Upstream::start();
    let server = server(&upstream, &[("NESSEN_LIMITS_REQUEST_TIMEOUT", "2s"), ("MAX_BODY_SIZE", "64MiB")]);
    upstream.stall_reading(true);
    let request = Request::post("t", "ok", &[b'x'; 32 << 20]);
    let mut client = Client::open(server.address);
    let socket = client.socket();
    let sending = std::thread::spawn(move || Write::write_all(&mut &*socket, &request.bytes()));
    client.answer().assert_refusal(504, "UPSTREAM_TIMEOUT");
    upstream.stall_reading(false);
    let _ = sending.join();

    // And one whose client does not send is not.
    let mut client = Client::open(server.address);
    client.send(&Request::post("t", "ok", b"").body(Body::Parts(Vec::new(), Vec::new())).head_bytes());
    client.send(b"5\r\nfirst\r\n");
    client.answer().assert_refusal(504, "REQUEST_TIMEOUT");
}
