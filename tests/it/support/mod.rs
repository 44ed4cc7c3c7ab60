//! What the tests share: the server as a process, and clients that send exactly what they are told.

pub(crate) mod balancer;
pub(crate) mod client;
pub(crate) mod client2;
pub(crate) mod collector;
pub(crate) mod folder;
pub(crate) mod front;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod problem;
pub(crate) mod program;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod websocket;
pub(crate) mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a test waits for what must come. Long, since the machine may be busy: only a failing
/// test ever waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, and fails with `what` where it does not within `timeout`.
#[track_caller]
pub(crate) fn assert_eventually(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A pause that is itself part of an attack (a drip), never a wait for the server.
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Numbers that differ from run to run, for moments nobody can plan for. Printed by the tests that
/// use it, so that a failure can be looked at again.
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded from the clock, or from `NESSEN_SEED`.
    pub(crate) fn new() -> Self {
        let seed =
            std::env::var("NESSEN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                now.as_nanos() as u64
            });
        eprintln!("NESSEN_SEED={seed}");
        Self(seed | 1)
    }

    /// The same numbers in each run.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Others, for a thread of its own.
    pub(crate) fn fork(&mut self) -> Self {
        // Neighbours of a seed would throw nearly the same.
        Self((self.below(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// A number under `bound` (xorshift64).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// A line that is seen whether the test passes or not.
pub(crate) fn say(line: &str) {
    // Standard error itself: what `eprintln` writes is kept from whoever passes.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether the long form of a test is wanted.
pub(crate) fn is_long() -> bool {
    ["NESSEN_LONG", "NESSEN_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Where a program is, among the directories that programs are in.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let further = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(further).map(|folder| folder.join(program));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("NESSEN_REQUIRE_ALL").is_none(), "{program} is required, and not installed");
        say(&format!("SKIPPED: {program} is not installed"));
    }
    found
}
