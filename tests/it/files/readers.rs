//! Many who read slowly, or not at all.

use std::time::{Duration, Instant};

use super::serve;
use crate::support::folder::Folder;
use crate::support::http1::{Conn, End, get};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const READERS: usize = 200;
const SERVED: usize = 100;
/// More than the buffers of both kernels hold.
const LARGE: usize = 24 << 20;

fn descriptors(server: &Server) -> usize {
    server.descriptors()
}

fn resident(server: &Server) -> usize {
    let status = server.proc_file("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn readers_that_do_not_read_cost_what_was_counted_for_them() {
    let folder = Folder::new();
    folder.write("public/large.bin", vec![b'x'; LARGE]);
    let patient = [("WRITE_TIMEOUT", "60s"), ("NESSEN_LIMITS_MIN_SEND_RATE", "off")];
    let server = serve(&folder, &[&patient[..], &[("MAX_IN_FLIGHT", "100")]].concat());
    assert_eq!(server.get("/none").status, 404);
    let (files, memory) = (descriptors(&server), resident(&server));
    let mut readers: Vec<Conn> = (0..READERS).map(|_| Conn::open_narrow(server.address)).collect();
    for reader in &mut readers {
        reader.send(&get("/large.bin"));
    }
    let deadline = Instant::now() + PATIENCE;
    let mut served = 0;
    for reader in &mut readers {
        let line = reader.peek(12, deadline).expect("a status line");
        served += usize::from(line == b"HTTP/1.1 200");
    }
    assert_eq!(served, SERVED);
    // A connection each, and a file for those who are served one.
    let most = READERS + SERVED + 16;
    assert!(descriptors(&server) - files <= most, "{} and {files} before", descriptors(&server));
    // As `nessen check` counts: 80 KiB a connection, 152 KiB a request in flight.
    let bound = READERS * (80 << 10) + SERVED * (152 << 10);
    let grown = resident(&server).saturating_sub(memory);
    assert!(grown <= bound, "{grown} bytes for {bound}");
    assert_eq!(server.get("/health").status, 200);
    drop(readers);
    assert_eventually(PATIENCE, "the descriptors back", || descriptors(&server) <= files + 4);
    assert_eq!(server.get("/none").status, 404);
}

#[test]
fn a_reader_that_does_not_read_is_reset_and_one_that_does_gets_all() {
    let folder = Folder::new();
    folder.write("public/large.bin", vec![b'x'; LARGE]);
    let server = serve(&folder, &[("WRITE_TIMEOUT", "2000")]);
    let mut slow = Conn::open_narrow(server.address);
    slow.send(&get("/large.bin"));
    let mut quick = server.connect();
    quick.send(&get("/large.bin"));
    assert_eq!(quick.read_response().body.len(), LARGE);
    server.assert_refused_once("slow_reader");
    let (bytes, end) = slow.read_to_end(Duration::from_secs(10));
    assert!(end == End::Reset && bytes.len() < LARGE, "{end:?} after {}", bytes.len());
}
