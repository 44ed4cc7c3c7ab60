//! SIGHUP: what can change while running changes; what is wrong changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::http1::get;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// A configuration file of this test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let file = Self(
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", std::process::id())),
        );
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn start(&self) -> Server {
        Server::start_with(&[], &["--config", self.0.to_str().unwrap()])
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn status_for(server: &Server, host: &str) -> u16 {
    let mut conn = server.connect();
    conn.send(format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    conn.read_response().status
}

#[test]
fn a_good_file_changes_the_hosts_that_are_served() {
    let file = File::new("hosts", "[limits]\nallowed_hosts = [\"a.test\"]\n");
    let server = file.start();
    let mut open = server.connect();
    assert_eq!((status_for(&server, "a.test"), status_for(&server, "b.test")), (200, 421));
    file.write("[limits]\nallowed_hosts = [\"b.test\"]\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the new host", || status_for(&server, "b.test") == 200);
    assert_eq!(status_for(&server, "a.test"), 421);
    // Connections that were open see it too, and were not closed for it.
    open.send(b"GET /badge/a/b.svg HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(open.read_response().status, 421);
}

#[test]
fn a_good_file_changes_the_rate_limit() {
    let file = File::new("rate", "[log]\nlevel = \"info\"\n");
    let server = file.start();
    let mut conn = server.connect();
    let mut ask = || {
        conn.send(&get("/badge/a/b.svg"));
        conn.read_response().status
    };
    assert!((0..20).all(|_| ask() == 200));
    file.write("[rate_limit]\nmax_requests = 3\nwindow = \"1h\"\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the new limit", || ask() == 429);
    file.write("[log]\nlevel = \"info\"\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "no limit again", || ask() == 200);
    assert!((0..20).all(|_| ask() == 200));
}

#[test]
fn a_good_file_changes_the_log_level() {
    let file = File::new("level", "[log]\nlevel = \"info\"\n");
    let server = file.start();
    let mut number = 0;
    let mut is_logged = || {
        number += 1;
        let path = format!("/badge/number/{number}.svg");
        assert_eq!(server.get(&path).status, 200);
        let deadline = std::time::Instant::now() + Duration::from_millis(300);
        while std::time::Instant::now() < deadline {
            if server.log().iter().any(|line| line["path"] == *path) {
                return true;
            }
            pause(5);
        }
        false
    };
    assert_eventually(PATIENCE, "requests in the log", &mut is_logged);
    file.write("[log]\nlevel = \"error\"\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "requests no longer in the log", || !is_logged());
    file.write("[log]\nlevel = \"info\"\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "requests in the log again", &mut is_logged);
}

#[test]
fn a_bad_file_changes_nothing_and_is_explained() {
    let file = File::new("bad", "[limits]\nallowed_hosts = [\"a.test\"]\n");
    let server = file.start();
    file.write("[limits]\nallowed_hosts = [\"b.test\"]\nmax_body_sice = 5\nheaders_timeout = \"soon\"\n");
    server.signal(Signal::HUP);
    let explained = |name: &str| {
        let line = server.wait_log(name, |line| line.to_string().contains(name));
        assert!(line["level"] == "ERROR" || line["level"] == "WARN", "{line}");
    };
    explained("max_body_sice");
    explained("headers_timeout");
    assert_eq!((status_for(&server, "a.test"), status_for(&server, "b.test")), (200, 421));
    // And the next good one is taken.
    file.write("[limits]\nallowed_hosts = [\"b.test\"]\n");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the new host", || status_for(&server, "b.test") == 200);
}

#[test]
fn a_hangup_without_a_file_is_survived() {
    let server = Server::start(&[]);
    for _ in 0..5 {
        server.signal(Signal::HUP);
    }
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
}
