//! Configurations that are none: refused at once, in a few words.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::PATIENCE;
use crate::support::server::Process;

/// As long as a process may take that reads nothing without an end, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(2);
/// More than this nobody reads.
const MANY_LINES: usize = 300;

/// A place in the file system that is gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What standard error says of this file, for the server and for `check`.
#[track_caller]
fn refusals(path: &str) -> Vec<Vec<String>> {
    let refuse = |args: &[&str]| {
        let mut process = Process::start(&[], args);
        let code = process.wait_exit(AT_ONCE);
        assert_eq!(code, Some(Ok(78)), "{args:?}: {:?}", process.stderr());
        process.stderr()
    };
    vec![refuse(&["--config", path]), refuse(&["check", "--config", path])]
}

#[track_caller]
fn assert_named(path: &str) {
    for lines in refusals(path) {
        assert!(lines.iter().any(|line| line.contains(path)), "{path} is not named: {lines:#?}");
        assert!(lines.len() < 10, "{lines:#?}");
    }
}

#[test]
fn a_device_without_an_end_is_no_configuration() {
    assert_named("/dev/zero");
}

#[test]
fn a_folder_is_no_configuration() {
    let folder = Place::new("folder");
    std::fs::create_dir(&folder.0).unwrap();
    assert_named(folder.path());
}

#[test]
fn a_pipe_that_nobody_writes_to_is_no_configuration() {
    let pipe = Place::new("pipe");
    mknodat(CWD, &pipe.0, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_named(pipe.path());
}

/// Fails unless the file is refused in so few lines that somebody may read them.
#[track_caller]
fn assert_refused_briefly(name: &str, text: String) {
    let file = Place::new(name);
    std::fs::write(&file.0, text).unwrap();
    let mut process = Process::start(&[], &["check", "--config", file.path()]);
    let code = process.wait_exit(PATIENCE);
    let lines = process.stderr();
    assert_eq!(code, Some(Ok(78)), "{name}: {} lines", lines.len());
    assert!(!lines.is_empty() && lines.len() < MANY_LINES, "{name}: {} lines", lines.len());
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(bytes < 100_000, "{name}: {bytes} bytes");
}

#[test]
fn a_file_with_a_hundred_thousand_faults_is_refused_in_a_few_lines() {
    assert_refused_briefly("broken", "this is no line of a configuration\n".repeat(100_000));
    assert_refused_briefly("short", "broken\n".repeat(100_000));
    // Each is a line that can be read, and all together are not too long for a file.
    let unknown = (0..100_000).map(|number| format!("k{number}=1\n"));
    assert_refused_briefly("unknown", unknown.collect());
}

#[test]
fn an_environment_with_a_thousand_faults_is_refused_in_a_few_lines() {
    let names: Vec<String> = (0..1000).map(|number| format!("NESSEN_NO_SUCH_KEY_{number}")).collect();
    let env: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let mut process = Process::start(&env, &[]);
    assert_eq!(process.wait_exit(PATIENCE), Some(Ok(78)));
    let lines = process.stderr();
    assert!(!lines.is_empty() && lines.len() < MANY_LINES, "{} lines", lines.len());
}
