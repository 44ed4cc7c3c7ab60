//! `nessen probe`: every case holds on this server in each of its roles, and every case that can be open is
//! open on a server that is weak.

mod command;
mod defaults;
mod tls;
mod weak;
mod weak_http1;
mod weak_http2;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::folder::Folder;
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;
use weak::{Weak, Weakness};

/// Clocks that act while a test waits.
const SHORT: [(&str, &str); 7] = [
    // A connection that has not asked by then goes, and a busy machine takes its time to ask.
    ("HEADERS_TIMEOUT", "2s"),
    ("BODY_TIMEOUT", "500ms"),
    ("NESSEN_LIMITS_MIN_BODY_RATE", "500 B/s after 1s"),
    ("WRITE_TIMEOUT", "1s"),
    ("NESSEN_LIMITS_MIN_SEND_RATE", "500 B/s after 500ms"),
    ("IDLE_TIMEOUT", "3s"),
    ("DRAIN_DELAY", "0"),
];

/// What a probe found.
struct Found {
    exit: i32,
    verdicts: BTreeMap<String, (String, String)>,
}

/// Runs the probe to its end.
#[track_caller]
fn run(args: &[&str]) -> (i32, String, String) {
    let mut process = Process::start(&[], &[&["probe"], args].concat());
    let exit = process.wait_exit(Duration::from_secs(200));
    let exit = exit.expect("the probe ends").expect("by itself");
    (exit, process.stdout().join("\n"), process.stderr().join("\n"))
}

/// These groups and cases alone.
fn only<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().flat_map(|name| ["--only", name]).collect()
}

#[track_caller]
fn probe(address: SocketAddr, args: &[&str]) -> Found {
    probe_at(&format!("http://{address}"), args)
}

#[track_caller]
fn probe_at(url: &str, args: &[&str]) -> Found {
    let (exit, stdout, stderr) = run(&[&[url, "--json"], args].concat());
    let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{exit}: {stdout}{stderr}"));
    let text = |case: &Value, name: &str| case[name].as_str().expect("a text").to_owned();
    let cases = json["cases"].as_array().expect("cases").iter();
    let verdicts = cases.map(|case| (text(case, "name"), (text(case, "verdict"), text(case, "happened"))));
    Found { exit, verdicts: verdicts.collect() }
}

/// Every case, and whether it can be open.
fn table() -> BTreeMap<String, bool> {
    let (exit, stdout, _) = run(&["--list", "--json"]);
    assert_eq!(exit, 0);
    let cases: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let can_be_open = |case: &Value| !case["unclear_at_most"].as_bool().unwrap();
    cases.iter().map(|case| (case["name"].as_str().unwrap().to_owned(), can_be_open(case))).collect()
}

/// What does not hold, but for these cases, which may be unclear.
fn faults(found: &Found, unclear: &[&str]) -> Vec<String> {
    let wrong = found.verdicts.iter().filter(|(name, (verdict, _))| {
        // How much was answered before it was given up depends on how busy the machine is.
        verdict != "held" && !(verdict == "unclear" && unclear.contains(&name.as_str()))
    });
    wrong.map(|(name, (verdict, happened))| format!("{verdict} {name}: {happened}")).collect()
}

/// Matters of choice, which are the same in every role: any host is served by default, and a connection may be
/// used ten thousand times.
const CHOICES: [&str; 2] = ["host-other", "requests-200"];
/// Where a POST is answered before its body, there is nothing to give up.
const AT_ONCE: &str = "http2-slow-reset";

/// What a server is set up to be.
struct Role<'a> {
    name: &'static str,
    env: &'a [(&'a str, &'a str)],
    args: &'a [&'a str],
    /// What is unclear in this role alone.
    unclear: &'static [&'static str],
}

/// The three roles at once: each waits more than it works.
#[test]
fn every_case_holds_in_every_role() {
    let folder = Folder::new();
    folder.write("public/large.bin", vec![b'a'; 64 << 10]);
    let root = folder.path("public");
    let upstream = Upstream::start();
    upstream.answer_unasked_with("download=65536");
    let url = upstream.url();
    let welcome = Role { name: "the welcome app", env: &[], args: &["--upload-path", "/echo"], unclear: &[] };
    let env = [("ROOT", root.as_str())];
    let files = Role { name: "a folder", env: &env, args: &["--path", "/large.bin"], unclear: &[AT_ONCE] };
    let env = [("UPSTREAM", url.as_str()), ("NESSEN_UPSTREAM_EJECT_AFTER", "off")];
    let proxy = Role { name: "the proxy", env: &env, args: &[], unclear: &[] };
    let all = table();
    std::thread::scope(|scope| {
        let probes = [welcome, files, proxy].map(|role| {
            scope.spawn(move || {
                let server = Server::start(&[&SHORT[..], role.env].concat());
                let found = probe(server.address, &[&["--timeout", "8s"], role.args].concat());
                (role, found)
            })
        });
        for probe in probes {
            let (role, found) = probe.join().expect("a probe that ends");
            let faults = faults(&found, &[&CHOICES[..], role.unclear].concat());
            assert!(faults.is_empty(), "{}: {faults:#?}", role.name);
            assert_eq!((found.exit, found.verdicts.len()), (0, all.len()), "{}", role.name);
        }
    });
    upstream.assert_clean();
}

/// A case that is never open could not fail.
#[test]
fn every_case_that_can_be_open_is_open_on_a_weak_server() {
    let runs = [
        (Weakness::Lenient, "2s", vec!["--http2", "off"]),
        (Weakness::Lenient, "2s", only(&HTTP2)),
        (Weakness::Forgetful, "1s", only(&["chunks", "framing", "connection"])),
        (Weakness::Serial, "1s", only(&["crowd"])),
        (Weakness::Mortal, "1s", only(&["half-line"])),
    ];
    let mut verdicts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let probes = runs.map(|(weakness, timeout, args)| {
            scope.spawn(move || {
                let weak = Weak::start(weakness);
                (weakness, probe(weak.address, &[vec!["--timeout", timeout], args].concat()))
            })
        });
        for probe in probes {
            let (weakness, found) = probe.join().expect("a probe that ends");
            assert_eq!(found.exit, 1, "{weakness:?}");
            for (name, (verdict, happened)) in found.verdicts {
                verdicts.entry(name).or_default().push(format!("{verdict}: {happened}"));
            }
        }
    });
    let open = |name: &str| verdicts[name].iter().any(|verdict| verdict.starts_with("open"));
    let table = table();
    let missed: Vec<_> =
        table.iter().filter(|(name, can)| **can != open(name)).map(|(name, _)| name).collect();
    assert!(
        missed.is_empty(),
        "{:#?}",
        missed.iter().map(|name| (name, &verdicts[*name])).collect::<Vec<_>>()
    );
}

const HTTP2: [&str; 6] =
    ["http2-slow", "http2-frames", "http2-fields", "http2-sizes", "http2-resets", "http2-floods"];
