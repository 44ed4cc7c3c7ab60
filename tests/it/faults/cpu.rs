//! A tenth of a CPU. Nobody is held to account for what the server had no time to read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Held, allowed};
use crate::support::http1::{Conn, get, post_head};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// A control group of the test's own.
struct Group(PathBuf);

impl Group {
    /// With a tenth of a CPU; version 2, or 1 where that has the controller.
    fn tenth() -> Option<Self> {
        let name = format!("nessen-test-{}", std::process::id());
        let two = Self(Path::new("/sys/fs/cgroup").join(&name));
        let one = Self(Path::new("/sys/fs/cgroup/cpu").join(&name));
        for (group, files) in [
            (two, &[("cpu.max", "10000 100000")][..]),
            (one, &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "10000")]),
        ] {
            let set = |(file, value): &(&str, &str)| std::fs::write(group.0.join(file), value).is_ok();
            let parent = group.0.parent().unwrap();
            let known = parent.join("cgroup.controllers").exists() || parent.join("cpu.stat").exists();
            if known && std::fs::create_dir(&group.0).is_ok() && files.iter().all(set) {
                return Some(group);
            }
        }
        None
    }

    /// Puts the shell that says it into the group.
    fn prelude(&self) -> String {
        format!("echo $$ > {}", self.0.join("cgroup.procs").display())
    }

    /// Periods in which there was no CPU left.
    fn throttled(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("cpu.stat")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.map_or(0, |count| count.parse().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// An honest client: its head and its body come in two parts each, well within the time-outs.
/// Where it stood still itself for half of that, it is not honest, and what it is told then is no fault.
fn honest(server: &Server, stop: &AtomicBool, late: &AtomicUsize) -> Result<usize, String> {
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut conn = Conn::try_open(server.address).map_err(|error| error.to_string())?;
        let head = post_head(10);
        let (mut last, mut stood) = (Instant::now(), false);
        let mut sent = Ok(());
        for part in [&head[..20], &head[20..], b"hello", b"world"] {
            stood |= last.elapsed() > Duration::from_millis(500);
            last = Instant::now();
            sent = sent.and_then(|()| conn.try_send(part));
            pause(100);
        }
        if stood || last.elapsed() > Duration::from_millis(500) {
            late.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        sent.map_err(|error| format!("{error} after {served}"))?;
        match conn.try_read_response(PATIENCE) {
            Ok(answer) if answer.status == 200 => served += 1,
            other => return Err(format!("{other:?} after {served}")),
        }
    }
    Ok(served)
}

#[test]
fn a_tenth_of_a_cpu_is_slow_and_holds_that_against_nobody() {
    let group = Group::tenth();
    if !allowed("a control group with a CPU quota", group.is_some()) {
        return;
    }
    let group = group.unwrap();
    let env = [
        ("HEADERS_TIMEOUT", "1s"),
        ("BODY_TIMEOUT", "1s"),
        ("NESSEN_LIMITS_MIN_BODY_RATE", "500 B/s after 1s"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("DRAIN_DELAY", "200ms"),
    ];
    let began = Instant::now();
    let mut server = Server::start_in_shell(&group.prelude(), &env, &[]);
    assert_eq!(server.get("/ready").status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "ready after {:?}", began.elapsed());
    assert_eq!(server.metrics()["nessen_cpu_limit_cores"], 0.1);
    let held = Held::by(&server);
    let (stop, late, before) = (AtomicBool::new(false), AtomicUsize::new(0), group.throttled());
    let (honest, slowest) = std::thread::scope(|scope| {
        // More than it has the CPU for.
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = server.connect();
                while !stop.load(Ordering::Relaxed) {
                    conn.send(&get("/badge/a/b.svg"));
                    conn.read_response();
                }
            });
        }
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| honest(&server, &stop, &late))).collect();
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let began = Instant::now();
            for path in ["/health", "/ready"] {
                assert_eq!(server.get(path).status, 200);
            }
            slowest = slowest.max(began.elapsed());
            pause(200);
        }
        stop.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>(), slowest)
    });
    let throttled = group.throttled() - before;
    assert!(throttled >= 10, "it lacked CPU in {throttled} periods only");
    assert!(honest.iter().all(|served| served.as_ref().is_ok_and(|count| *count > 0)), "{honest:?}");
    assert!(slowest < Duration::from_secs(4), "two probes took {slowest:?}");
    let reasons = ["headers_timeout", "body_timeout", "body_too_slow", "idle"];
    let rejected: f64 = reasons.iter().map(|reason| server.rejections(reason)).sum();
    let late = late.into_inner();
    assert!(rejected <= late as f64, "{rejected}, and {late} that were late");
    let counted = || server.metrics()["nessen_cpu_throttled_periods_total"] >= throttled as f64;
    assert_eventually(PATIENCE, "periods that are counted", counted);
    held.assert_no_more(&server);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}
