//! Files that are sent without being read: large ones, over HTTP/1.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ask, get, serve};
use crate::support::client::{Client, Request};
use crate::support::folder::Folder;
use crate::support::http1::{Conn, get as plain};
use crate::support::{PATIENCE, assert_eventually, pause};

/// More than the buffers of both kernels hold.
const LARGE: usize = 24 << 20;

/// Bytes of which no two stretches are the same.
fn content(size: usize) -> Vec<u8> {
    (0..size / 4 + 1).flat_map(|number| u32::try_from(number).unwrap().to_le_bytes()).take(size).collect()
}

#[test]
fn a_file_of_any_size_arrives_as_it_is_and_is_counted() {
    let folder = Folder::new();
    let sizes = [32_767, 32_768, 65_535, 65_536, 65_537, 131_072, 1_000_003, 5 << 20];
    let server = serve(&folder, &[]);
    let mut client = Client::open(server.address);
    let mut sent = 0;
    for size in sizes {
        let whole = content(size);
        folder.write("public/a.bin", &whole);
        // All of them on one connection, where each has to end where it says.
        let answer = client.ask(&Request::new("GET", "/a.bin"));
        assert!(answer.status == 200 && answer.body == whole, "{size}");
        sent += size;
        let head = ask(&server, "HEAD", "/a.bin", &[]);
        assert_eq!((head.field("content-length"), head.body.len()), (Some(&*size.to_string()), 0));
        for (from, to) in [(0, size - 1), (1, size - 1), (4095, size - 2), (size - 32_767, size - 1)] {
            let range = format!("bytes={from}-{to}");
            let part = client.ask(&Request::new("GET", "/a.bin").field("Range", &range));
            assert!(part.status == 206 && part.body == whole[from..=to], "{range} of {size}");
            sent += to - from + 1;
        }
    }
    let counted = || -> u64 {
        let lines = server.log().into_iter().filter(|line| line["path"] == "/a.bin");
        lines.filter_map(|line| line["bytes_out"].as_u64()).sum()
    };
    assert_eventually(PATIENCE, "the bytes are counted", || counted() == sent as u64);
}

/// What the system holds back because more is to come must come, or both sides wait for a timer of 200 ms.
#[test]
fn a_part_does_not_wait_for_what_follows_it() {
    let folder = Folder::new();
    folder.write("public/a.bin", content(1 << 20));
    let server = serve(&folder, &[]);
    let mut client = Client::open(server.address);
    let mut late = 0;
    for from in 0..40 {
        let begun = Instant::now();
        let range = format!("bytes={}-", from * 1021 + 1);
        assert_eq!(client.ask(&Request::new("GET", "/a.bin").field("Range", &range)).status, 206);
        late += usize::from(begun.elapsed() >= Duration::from_millis(180));
    }
    assert!(late <= 4, "{late} of 40");
}

#[test]
fn asked_ahead_they_follow_each_other() {
    let folder = Folder::new();
    let (first, second) = (content(300_000), content(70_000));
    folder.write("public/a.bin", &first).write("public/b.bin", &second).write("public/c.txt", "small");
    let server = serve(&folder, &[]);
    let mut client = Client::open(server.address);
    let asks =
        ["/a.bin", "/c.txt", "/b.bin", "/none", "/a.bin"].map(|path| Request::new("GET", path).bytes());
    client.send(&asks.concat());
    for (status, body) in
        [(200, first.as_slice()), (200, b"small"), (200, &second), (404, b""), (200, &first)]
    {
        let answer = client.answer();
        assert!(answer.status == status && (status == 404 || answer.body == body), "{status}");
    }
}

#[test]
fn a_file_that_grows_is_sent_as_it_was_announced() {
    let folder = Folder::new();
    folder.write("public/log", vec![b'x'; LARGE]);
    let server = serve(&folder, &[]);
    let mut reader = Conn::open_narrow(server.address);
    reader.send(&plain("/log"));
    assert_eq!(reader.peek(12, Instant::now() + PATIENCE).unwrap(), b"HTTP/1.1 200");
    let mut file = File::options().append(true).open(folder.at("public/log")).unwrap();
    file.write_all(&[b'y'; 100_000]).unwrap();
    let answer = reader.read_response();
    assert!(answer.body.len() == LARGE && answer.body.iter().all(|byte| *byte == b'x'));
    reader.send(&plain("/log"));
    assert_eq!(reader.read_response().body.len(), LARGE + 100_000);
}

#[test]
fn a_reader_that_sips_is_reset() {
    let folder = Folder::new();
    folder.write("public/large.bin", vec![b'x'; LARGE]);
    let env = [("NESSEN_LIMITS_MIN_SEND_RATE", "16MiB/s after 3s"), ("WRITE_TIMEOUT", "60s")];
    let server = serve(&folder, &env);
    let mut reader = Conn::open_narrow(server.address);
    reader.send(&plain("/large.bin"));
    let deadline = Instant::now() + PATIENCE;
    while reader.sip(2000).is_ok() {
        assert!(Instant::now() < deadline, "the sips were endured");
        pause(10);
    }
    server.assert_refused_once("slow_reader");
    assert_eq!(get(&server, "/large.bin", &[]).body.len(), LARGE);
}

#[test]
fn one_that_is_under_way_is_drained() {
    let folder = Folder::new();
    let whole = content(LARGE);
    folder.write("public/large.bin", &whole);
    let mut server = serve(&folder, &[]);
    let mut reader = Conn::open_narrow(server.address);
    reader.send(&plain("/large.bin"));
    reader.peek(12, Instant::now() + PATIENCE).unwrap();
    server.signal(Signal::TERM);
    server.wait_log("the drain", |line| line["to"] == "DRAINING");
    let answer = reader.read_response();
    assert!(answer.status == 200 && answer.body == whole);
    assert_eq!(server.exit_code(), 0);
}
