//! Signals that come while the process is on its way to listening.
//!
//! Before `main` nothing of ours runs, and the system's rule holds: a signal ends the process. What
//! is in our hands is that this time is short. The system says when it is over, in the process's
//! own file under /proc.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::server::Process;

/// Whether the process has a handler of its own for this signal.
fn catches(process: &Process, signal: Signal) -> bool {
    let status = process.proc_file("status");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
}

/// Waits for the first moment at which `signal` does not end the process. Without a pause in
/// between: the moment after it is what matters.
#[track_caller]
fn wait_until_it_catches(process: &Process, signal: Signal) {
    let deadline = Instant::now() + PATIENCE;
    while !catches(process, signal) {
        assert!(Instant::now() < deadline, "{signal:?} is left to the system");
        std::hint::spin_loop();
    }
}

/// Twenty moments, from the first one to 5 ms later.
fn moments() -> impl Iterator<Item = Duration> {
    (0..20).map(|number| Duration::from_micros(250 * number))
}

#[test]
fn a_process_told_to_end_while_it_starts_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        for moment in moments() {
            let mut process = Process::start(&[("DRAIN_DELAY", "0")], &[]);
            wait_until_it_catches(&process, signal);
            std::thread::sleep(moment);
            process.signal(signal);
            let code = process.wait_exit(PATIENCE);
            assert_eq!(code, Some(Ok(0)), "{signal:?} after {moment:?}: {:?}", process.stdout());
        }
    }
}

#[test]
fn a_process_told_to_reload_while_it_starts_starts() {
    for moment in moments() {
        let mut process = Process::start(&[("DRAIN_DELAY", "0")], &[]);
        wait_until_it_catches(&process, Signal::HUP);
        std::thread::sleep(moment);
        process.signal(Signal::HUP);
        process.wait_log("listening", |line| line["message"] == "listening");
        assert_eq!(process.wait_exit(Duration::ZERO), None, "after {moment:?}: {:?}", process.stdout());
        process.signal(Signal::TERM);
        assert_eq!(process.wait_exit(PATIENCE), Some(Ok(0)), "after {moment:?}: {:?}", process.stdout());
    }
}

#[test]
fn a_process_that_reads_a_long_configuration_can_be_told_to_end() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("long-{}.toml", std::process::id()));
    let hosts: String = (0..20_000).map(|number| format!("\"h{number}.test\",")).collect();
    std::fs::write(&file, format!("[limits]\nallowed_hosts = [{hosts}]\n")).unwrap();
    let run = || {
        let began = Instant::now();
        let mut process = Process::start(&[("DRAIN_DELAY", "0")], &["--config", file.to_str().unwrap()]);
        wait_until_it_catches(&process, Signal::TERM);
        let caught = began.elapsed();
        process.wait_log("listening", |line| line["message"] == "listening");
        let listened = began.elapsed();
        process.signal(Signal::TERM);
        assert_eq!(process.wait_exit(PATIENCE), Some(Ok(0)));
        (caught, listened)
    };
    // Reading it is most of the way, so a handler that waits for it comes late, and does so every time.
    let runs: Vec<_> = (0..3).map(|_| run()).collect();
    let _ = std::fs::remove_file(&file);
    assert!(runs.iter().any(|(caught, listened)| *caught < *listened / 2), "a handler, listening: {runs:?}");
}
