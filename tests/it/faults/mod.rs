//! What fails around the process rather than in a request: descriptors, the log, upstreams, name
//! servers, clocks, the CPU, time itself.
//!
//! Each test shows that the fault is there, that honest requests and probes are served through it or
//! again after it, that nothing has grown, and that it is counted.

mod clocks;
mod cpu;
mod descriptors;
mod log;
mod names;
mod stopped;
mod upstreams;

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, installed, say};

/// Memory that may have been taken and kept by the allocator, whatever goes on.
const SLACK: f64 = 8.0 * 1024.0 * 1024.0;

/// What a process holds, to be compared with what it holds later.
#[derive(Debug)]
struct Held {
    memory: f64,
    descriptors: f64,
    threads: f64,
    connections: f64,
}

impl Held {
    #[track_caller]
    fn by(server: &Server) -> Self {
        let metrics = server.metrics();
        let connections = metrics.iter().filter(|(name, _)| name.starts_with("http_connections_active"));
        Self {
            memory: metrics["process_resident_memory_bytes"],
            descriptors: metrics["process_open_fds"],
            threads: metrics["process_threads"],
            connections: connections.map(|(_, count)| count).sum(),
        }
    }

    /// Waits until the process holds no more than this again.
    #[track_caller]
    fn assert_no_more(&self, server: &Server) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::by(server);
            let grown = now.memory > self.memory + SLACK
                || now.descriptors > self.descriptors
                || now.threads > self.threads
                || now.connections > self.connections;
            if !grown {
                return;
            }
            assert!(Instant::now() < deadline, "it has grown from {self:?} to {now:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Probes are answered, and soon.
#[track_caller]
fn assert_probes(server: &Server) {
    for path in ["/health", "/ready", "/metrics"] {
        let began = Instant::now();
        assert_eq!(server.get(path).status, 200, "{path}");
        assert!(began.elapsed() < Duration::from_secs(2), "{path} took {:?}", began.elapsed());
    }
}

/// Stops the process, and waits until it stands.
#[track_caller]
fn stop(server: &Server) {
    server.signal(Signal::STOP);
    // Every thread of it: the state in `/proc/PID/stat` is that of the first alone.
    assert_eventually(PATIENCE, "a process that stands", || {
        server.states().iter().all(|state| *state == 'T')
    });
}

/// Whether this machine lets a test do what it needs; said where it does not.
fn allowed(what: &str, allowed: bool) -> bool {
    if !allowed {
        assert!(std::env::var_os("NESSEN_REQUIRE_ALL").is_none(), "{what} is required, and not allowed here");
        say(&format!("SKIPPED: {what} is not allowed here"));
    }
    allowed
}

/// `unshare` for a mount namespace of the test's own, where that may be had.
fn own_mounts() -> Option<Vec<String>> {
    let unshare = installed("unshare")?.to_str()?.to_owned();
    let flags = if rustix::process::geteuid().is_root() { "--mount" } else { "--map-root-user" };
    let command = vec![unshare, flags.to_owned(), "--mount".to_owned()];
    let tried = Command::new(&command[0]).args(&command[1..]).arg("true").output();
    allowed("a mount namespace", tried.is_ok_and(|tried| tried.status.success())).then_some(command)
}

/// Lets it go on.
fn go_on(server: &Server) {
    server.signal(Signal::CONT);
}
