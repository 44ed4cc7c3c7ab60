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

#[test]
fn a_bad_route_table_is_refused_with_every_fault_by_its_route_and_key() {
    let file = Place::new("routes");
    let text = "\
[[route]]
path = '/api'
upstream = 'ftp://app'
conect_timeout = '1s'

[[route]]
path = '/api/'
root = './no/such/folder'

[[check]]
name = 'db'
";
    std::fs::write(&file.0, text).unwrap();
    for lines in refusals(file.path()) {
        for (line, parts) in lines.iter().zip([
            &["5 errors"][..],
            &["route 1 \"/api\"", ":3)", "upstream", "\"ftp://app\"", "not known", "allowed: http://"],
            &["route 1 \"/api\"", ":4)", "conect_timeout", "did you mean connect_timeout?"],
            &["route 2 \"/api/\"", ":6)", "the same host and path as route 1 \"/api\""],
            &["route 2 \"/api/\"", ":8)", "root = \"./no/such/folder\"", "No such file or directory"],
            &["check 1 \"db\"", ":10)", "asks nothing", "tcp, http, redis, postgres"],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {lines:#?}");
        }
        assert_eq!(lines.len(), 6, "{lines:#?}");
    }
}

#[test]
fn an_upstream_that_is_none_and_a_root_that_is_not_there_are_refused() {
    for (args, parts) in [
        (
            ["--upstream", "app:8080"],
            ["upstream.url = \"app:8080\" (flag --upstream)", "did you forget http://?"],
        ),
        (["--upstream", "http://localhost:3000"], ["upstream.url", "is this very server"]),
        (["--root", "/no/such/folder"], ["files.root = \"/no/such/folder\" (flag --root)", "No such file"]),
    ] {
        for command in ["serve", "check"] {
            let mut process = Process::start(&[], &[command, "--port", "3000", args[0], args[1]]);
            assert_eq!(process.wait_exit(AT_ONCE), Some(Ok(78)), "{args:?}: {:?}", process.stderr());
            let said = process.stderr().join("\n");
            assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_file_of_routes_without_an_end_is_refused_in_a_few_lines() {
    assert_refused_briefly("many-routes", "[[route]]\n".repeat(100_000));
    let faulty = (0..900).map(|number| format!("[[route]]\npath='/{number}'\nx{number}=1\ny{number}=1\n"));
    assert_refused_briefly("faulty-routes", faulty.collect());
    let names: String = (0..100_000).map(|number| format!("k{number}=1\n")).collect();
    assert_refused_briefly("long-route", format!("[[route]]\n{names}"));
}

#[test]
fn check_prints_the_routes_as_they_are_matched() {
    let file = Place::new("table");
    let text = "\
[[route]]
path = '/'
respond = { body = 'hello' }

[[route]]
path = '/api/upload'
upstream = 'h2c://[::1]:50051'
max_body_size = '1GiB'

[[route]]
host = '*.example.com'
path = '/'
redirect = { to = 'https://example.com', keep_path = true }

[[route]]
path = '/api'
upstream = ['http://a:1', 'http://b:2']

[[check]]
name = 'db'
postgres = 'db'
";
    std::fs::write(&file.0, text).unwrap();
    let mut process = Process::start(&[], &["check", "--config", file.path()]);
    assert_eq!(process.wait_exit(PATIENCE), Some(Ok(0)), "{:?}", process.stderr());
    let lines = process.stdout();
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let table: Vec<String> = lines
        .iter()
        .skip_while(|line| *line != "routes")
        .take_while(|line| *line != "notes")
        .map(words)
        .collect();
    let origin = |line: usize| format!("file {}:{line}", file.path());
    assert_eq!(
        table,
        [
            "routes".to_owned(),
            format!("*.example.com / redirect 308 https://example.com... {}", origin(10)),
            format!("any host /api/upload upstream h2c://[::1]:50051 max_body_size = 1GiB {}", origin(5)),
            format!("any host /api upstream http://a:1, http://b:2 {}", origin(15)),
            format!("any host / respond 200 with 5 bytes {}", origin(1)),
            String::new(),
            "checks".to_owned(),
            format!("db postgres db:5432 every 5s, within 2s fall 3, rise 2 {}", origin(19)),
            String::new(),
        ]
    );
}
