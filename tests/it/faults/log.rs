//! A log that cannot be written: its reader stalls or is gone, the disk behind it is full. Requests
//! are served as if nothing were; lines are dropped and counted, and the loss is told.

use std::io::Read;
use std::time::{Duration, Instant};

use super::{Held, allowed, assert_probes, own_mounts};
use crate::support::folder::Folder;
use crate::support::http1::{Conn, get};
use crate::support::server::{Process, Server};
use crate::support::{PATIENCE, assert_eventually};

const DROPPED: &str = "nessen_log_lines_dropped_total";

/// A path that makes a long line.
fn long_path() -> String {
    format!("/badge/a/b.svg?{}", "b".repeat(1500))
}

/// So many requests on one connection, and how long the slowest took.
#[track_caller]
fn requests(server: &Server, count: usize) -> Duration {
    let (mut conn, path) = (server.connect(), long_path());
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let began = Instant::now();
        conn.send(&get(&path));
        assert_eq!(conn.read_response().status, 200);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[track_caller]
fn dropped(server: &Server) -> f64 {
    // Told to the metrics once a second.
    server.metrics()[DROPPED]
}

/// What lines say of lines that were dropped, in all.
fn told(lines: &[serde_json::Value]) -> f64 {
    let notices = lines.iter().filter(|line| line["message"] == "log lines were dropped");
    notices.map(|line| line["lines"].as_f64().unwrap()).sum()
}

/// Complaints on standard error.
fn complaints(server: &Server) -> usize {
    server.stderr().iter().filter(|line| line.contains("the log cannot be written")).count()
}

#[test]
fn a_reader_that_stalls_costs_lines_and_is_told_how_many() {
    let server = Server::start(&[]);
    requests(&server, 50);
    server.stall_log(true);
    // What the pipes hold is memory too, but no more than this.
    requests(&server, 1200);
    assert_eventually(PATIENCE, "lines that were dropped", || dropped(&server) > 0.0);
    let held = Held::by(&server);
    let before = dropped(&server);
    let slowest = requests(&server, 1500);
    assert!(slowest < Duration::from_secs(10), "a request took {slowest:?}");
    assert_probes(&server);
    held.assert_no_more(&server);
    assert_eventually(PATIENCE, "further lines that were dropped", || dropped(&server) >= before + 1000.0);
    server.stall_log(false);
    let all = || told(&server.log()) == dropped(&server);
    assert_eventually(PATIENCE, "a line that says how many were dropped", all);
    // And it goes on.
    let lines = server.log().len();
    requests(&server, 1);
    assert_eventually(PATIENCE, "the log goes on", || server.log().len() > lines);
    assert_eq!(complaints(&server), 0);
}

#[test]
fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
    let mut server = Server::start(&[]);
    let held = Held::by(&server);
    server.close_log();
    assert_eventually(PATIENCE, "lines that were dropped", || {
        requests(&server, 20);
        dropped(&server) > 0.0
    });
    requests(&server, 500);
    assert_probes(&server);
    held.assert_no_more(&server);
    assert!(server.wait_exit(Duration::ZERO).is_none(), "the process is gone");
    assert_eventually(PATIENCE, "a complaint", || complaints(&server) >= 1);
    assert_eq!(complaints(&server), 1, "{:?}", server.stderr());
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_full_disk_costs_lines_until_there_is_room_again() {
    let Some(mounts) = own_mounts() else { return };
    // Nobody else sees it, but for a look through the process.
    let script = "mount -t tmpfs -o size=64k none \"$0\" && log=\"$0/log\" && exec \"$@\" >>\"$log\"";
    let folder = Folder::new();
    let disk = folder.path("");
    let program = mounts.iter().map(String::as_str).chain(["sh", "-c", script, &disk]).collect::<Vec<_>>();
    let process = Process::start_by(&program, &[], &[]);
    let path = format!("/proc/{}/root{disk}/log", process.id());
    let read = || {
        let mut text = String::new();
        let file = std::fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
        file.map(|_| text).unwrap_or_default()
    };
    let server = Server::listening_by(process, read);
    let held = Held::by(&server);
    requests(&server, 300);
    assert_eventually(PATIENCE, "lines that were dropped", || dropped(&server) > 0.0);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!((50_000..=65_536).contains(&size), "the disk holds {size} bytes");
    requests(&server, 300);
    assert_probes(&server);
    held.assert_no_more(&server);
    assert_eventually(PATIENCE, "a complaint", || complaints(&server) >= 1);
    assert_eq!(complaints(&server), 1, "{:?}", server.stderr());

    // All lines are lost that do not fit: what the writer still has would fill the disk once more.
    assert_eventually(PATIENCE, "all the rest was dropped", || dropped(&server) >= 600.0 - 65_536.0 / 1500.0);
    // Somebody makes room: the log goes on, though nobody asks anything.
    std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    let lines = || read().lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>();
    assert_eventually(PATIENCE, "a line that says how many were dropped", || told(&lines()) > 0.0);
    requests(&server, 1);
    let asked = |line: &serde_json::Value| line["message"] == "request";
    assert_eventually(PATIENCE, "the log goes on", || lines().iter().any(asked));
    assert_eventually(PATIENCE, "all are told", || told(&lines()) == dropped(&server));
}

#[test]
fn a_device_that_takes_nothing_costs_the_log_and_nothing_else() {
    if !allowed("/dev/full", std::path::Path::new("/dev/full").exists()) {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    drop(listener);
    let number = port.port().to_string();
    let env = [("NESSEN_SERVER_PORT", number.as_str())];
    let mut process = Process::start_in_shell("exec >/dev/full", &env, &[]);
    let mut conn = None;
    assert_eventually(PATIENCE, "a connection", || {
        conn = Conn::try_open(port).ok();
        conn.is_some()
    });
    let mut conn = conn.unwrap();
    for _ in 0..100 {
        conn.assert_serves();
    }
    assert!(process.wait_exit(Duration::ZERO).is_none());
    let said = || process.stderr().iter().filter(|line| line.contains("the log cannot be written")).count();
    assert_eventually(PATIENCE, "a complaint", || said() == 1);
    process.signal(rustix::process::Signal::INT);
    assert_eq!(process.exit_code(), 0);
}
