//! `server.sandbox`: what the process gave up, and that it serves on without it. `just test-sandboxed`
//! runs the rest of the suite in it.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::support::client::{Client, Request};
use crate::support::folder::Folder;
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually, installed, say};

const OFF: (&str, &str) = ("NESSEN_SERVER_SANDBOX", "off");
const ON: (&str, &str) = ("NESSEN_SERVER_SANDBOX", "on");
const REQUIRED: (&str, &str) = ("NESSEN_SERVER_SANDBOX", "required");

/// Whether this kernel has all of it.
fn is_there() -> bool {
    let mut check = Process::start(&[ON], &["check"]);
    assert_eq!(check.exit_code(), 0);
    let lacking: Vec<_> = check.stdout().into_iter().filter(|line| line.contains("not held:")).collect();
    if !lacking.is_empty() {
        assert!(std::env::var_os("NESSEN_REQUIRE_ALL").is_none(), "{lacking:?}");
        say(&format!("SKIPPED: {lacking:?}"));
    }
    lacking.is_empty()
}

/// What is said of each thread: whether it may gain privileges, and whether its calls are filtered.
fn given_up(server: &Server) -> BTreeSet<[String; 2]> {
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the system tells").trim().to_owned()
    };
    let threads = server.threads();
    assert!(threads.len() > 2, "workers, signals and the log have theirs");
    threads.iter().map(|status| [field(status, "NoNewPrivs:"), field(status, "Seccomp:")]).collect()
}

fn names(metrics: &std::collections::BTreeMap<String, f64>) -> BTreeSet<&str> {
    metrics.keys().filter(|name| name.starts_with("process_")).map(String::as_str).collect()
}

#[test]
fn every_thread_is_in_it_and_serves() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/a.txt", "a");
    let root = folder.path("public");
    let [open, closed] = [OFF, REQUIRED].map(|sandbox| Server::start(&[("ROOT", &root), sandbox]));
    for server in [&open, &closed] {
        // By a thread that is there for files.
        assert_eq!(server.get("/a.txt").status, 200);
    }
    let all = |values: [&str; 2]| BTreeSet::from([values.map(str::to_owned)]);
    assert_eq!(given_up(&open), given_up_by_this_process(), "what is inherited, and no more");
    assert_eq!(given_up(&closed), all(["1", "2"]));
    let (without, within) = (open.metrics(), closed.metrics());
    assert!(
        within
            .iter()
            .filter(|(name, _)| name.starts_with("nessen_sandbox_enforced"))
            .all(|(_, on)| *on == 1.0)
    );
    assert!(
        without
            .iter()
            .filter(|(name, _)| name.starts_with("nessen_sandbox_enforced"))
            .all(|(_, on)| *on == 0.0)
    );
    assert_eq!(names(&within), names(&without), "all that is known of the process, it still knows");
    let said = closed.log();
    let said: Vec<_> = said
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|text| text.contains("sandbox")))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["level"], "INFO");
    assert!(!open.stdout().join("\n").contains("sandbox"));
}

/// A container may have given things up for all that run in it.
fn given_up_by_this_process() -> BTreeSet<[String; 2]> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    BTreeSet::from([["NoNewPrivs:", "Seccomp:"].map(field)])
}

#[test]
fn a_folder_that_was_not_let_in_is_refused_by_a_reload_that_says_why() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    folder.write("a/name", "a").write("a/inner/name", "inner").write("b/name", "b");
    let table = |root: &str| format!("[files]\nroot = {:?}\n", folder.path(root));
    folder.write("etc/nessen.toml", table("a"));
    let config = folder.path("etc/nessen.toml");
    let server = Server::start_with(&[REQUIRED], &["--config", &config]);
    let name = || server.get("/name").text().to_owned();
    assert_eq!(name(), "a");
    // Replaced, as an editor does it, by a file that was not there before.
    let put = |root: &str| {
        folder.write("etc/new", table(root));
        std::fs::rename(folder.at("etc/new"), folder.at("etc/nessen.toml")).unwrap();
        server.signal(Signal::HUP);
    };
    put("b");
    let refused = server.wait_log("why", |line| line["level"] == "ERROR");
    let why = refused["error"].as_str().unwrap();
    for part in ["files.root", &folder.path("b"), "server.sandbox", &folder.path("a"), "restart"] {
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }
    assert_eq!(name(), "a");
    // One that is within what was let in is taken.
    put("a/inner");
    assert_eventually(PATIENCE, "the folder within", || name() == "inner");
}

#[test]
fn what_is_put_in_place_of_a_link_is_followed() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    folder.write("releases/1/name", "one");
    symlink("releases/1", folder.at("current")).unwrap();
    // As Kubernetes mounts a ConfigMap: the file is a link through a folder that is a link.
    folder.write("etc/..1/nessen.toml", "[limits]\nallowed_hosts = [\"nessen.test\"]\n");
    symlink("..1", folder.at("etc/..data")).unwrap();
    symlink("..data/nessen.toml", folder.at("etc/nessen.toml")).unwrap();
    let (root, config) = (folder.path("current"), folder.path("etc/nessen.toml"));
    let server = Server::start_with(&[REQUIRED, ("ROOT", &root)], &["--config", &config]);
    assert_eq!(server.get("/name").text(), "one");
    let swap = |target: &str, link: &str| {
        symlink(target, folder.at("etc/new")).unwrap();
        std::fs::rename(folder.at("etc/new"), folder.at(link)).unwrap();
    };
    folder.write("releases/2/name", "two");
    swap("releases/2", "current");
    assert_eventually(PATIENCE, "the next release", || server.get("/name").text() == "two");
    folder.write("etc/..2/nessen.toml", "[limits]\nallowed_hosts = [\"other.test\"]\n");
    swap("..2", "etc/..data");
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the next configuration", || server.get("/name").status == 421);
}

/// Where only a file can change the upstreams, and there is none, TCP goes to their ports alone.
#[test]
fn upstreams_are_reached_by_name_and_after_a_reload() {
    if !is_there() {
        return;
    }
    let (first, second) = (Upstream::named("first"), Upstream::named("second"));
    let who = |server: &Server| {
        let answer = Client::open(server.address).ask(&Request::get("who", "ok"));
        assert_eq!(answer.status, 200, "{answer:?}, {:?}", server.stdout());
        answer.field("x-upstream").map(str::to_owned)
    };
    let by_name = first.url().replace("127.0.0.1", "localhost");
    let server = Server::start(&[REQUIRED, ("UPSTREAM", &by_name)]);
    assert_eq!(who(&server).as_deref(), Some("first"));
    let mut ports = [53, first.address.port()];
    ports.sort_unstable();
    let line = server.wait_log("the sandbox", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("sandbox"))
    });
    let line = line["message"].as_str().unwrap();
    assert!(line.contains(&format!("connect to TCP port {}, {}, bind none", ports[0], ports[1])), "{line}");

    let folder = Folder::new();
    let table = |url: &str| format!("[upstream]\nurl = {url:?}\n");
    folder.write("etc/nessen.toml", table(&first.url()));
    let config = folder.path("etc/nessen.toml");
    let server = Server::start_with(&[REQUIRED], &["--config", &config]);
    assert_eq!(who(&server).as_deref(), Some("first"));
    folder.write("etc/nessen.toml", table(&second.url()));
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the other upstream", || who(&server).as_deref() == Some("second"));
}

/// The binary under a tracer that makes these calls fail, as on a kernel that does not have them.
fn without(calls: &str, sandbox: (&str, &str)) -> Option<Process> {
    let strace = installed("strace")?;
    let strace = strace.display();
    let prelude = format!(
        "exec {strace} -D -f -o /dev/null -e trace={calls} -e inject={calls}:error=ENOSYS \"$0\" \"$@\""
    );
    Some(Process::start_in_shell(&prelude, &[sandbox], &[]))
}

#[test]
fn a_kernel_that_lacks_it_is_warned_of_in_one_line_or_refused() {
    for (calls, lacking, left) in [
        ("landlock_create_ruleset", ["files", "ports", "scopes"].as_slice(), 1.0),
        ("seccomp,landlock_create_ruleset", &["files", "ports", "scopes", "syscalls"], 0.0),
    ] {
        let Some(process) = without(calls, ON) else { return };
        let server = Server::listening(process);
        let log = server.log();
        let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let text = warnings[0]["message"].as_str().unwrap();
        for part in lacking {
            assert!(text.contains(&format!("{part}: ")), "{part} is not in {text:?}");
        }
        assert_eq!(server.metrics()["nessen_sandbox_enforced{part=\"files\"}"], 0.0);
        assert_eq!(server.metrics()["nessen_sandbox_enforced{part=\"syscalls\"}"], left);

        let mut process = without(calls, REQUIRED).unwrap();
        assert_eq!(process.exit_code(), 78);
        let said = process.stderr().join("\n");
        assert!(said.contains("server.sandbox = required") && said.contains("files: "), "{said}");
    }
}
