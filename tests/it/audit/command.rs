//! The command itself: whom it attacks, what it takes, and how it ends.

use super::{probe, run};
use crate::support::server::Server;
use crate::support::upstream::DeadPort;

#[test]
fn a_host_that_is_not_this_one_is_not_attacked_without_a_word() {
    // An address of documentation (RFC 5737): nobody is there, and nobody is asked.
    let (exit, stdout, stderr) = run(&["http://203.0.113.1"]);
    assert_eq!((exit, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("203.0.113.1:80") && stderr.contains("--yes"), "{stderr}");
}

#[test]
fn what_cannot_be_audited_is_a_usage_error() {
    let nobody = DeadPort::new().url();
    for (args, word) in [
        (&["https://localhost", "--ca", "/nowhere/ca.pem"][..], "/nowhere/ca.pem: cannot be read"),
        (&["https://localhost", "--ca", "a", "--insecure"], "--insecure"),
        (&["localhost"], "not http://"),
        (&["http://localhost", "--only", "nonsense"], "nonsense"),
        (&["http://localhost", "--path", "x"], "--path"),
        (&["http://203.0.113.1", "--yes", "--connections", "65"], "--connections"),
        (&[nobody.as_str()], "no connection"),
        (&[], "<URL>"),
    ] {
        let (exit, _, stderr) = run(args);
        assert_eq!(exit, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?}: {stderr}");
    }
}

#[test]
fn a_server_that_does_not_answer_honest_requests_is_not_attacked() {
    let server = Server::start(&[]);
    let url = format!("http://{}/nowhere", server.address);
    let (exit, _, stderr) = run(&[&url]);
    assert_eq!(exit, 2);
    assert!(stderr.contains("404") && stderr.contains("--path"), "{stderr}");
}

#[test]
fn one_group_or_case_can_be_run_alone() {
    let server = Server::start(&[]);
    let found = probe(server.address, &["--only", "host", "--only", "trace"]);
    assert!(found.verdicts.contains_key("host-missing") && found.verdicts.contains_key("trace"));
    assert!(found.verdicts.contains_key("honest") && !found.verdicts.contains_key("slow-head"));
    assert_eq!(found.exit, 0);
}

#[test]
fn http_2_is_left_visibly_where_it_is_not_spoken() {
    let server = Server::start(&[("NESSEN_HTTP2_ENABLED", "false")]);
    let found = probe(server.address, &["--only", "http2-frames"]);
    let skipped =
        found.verdicts.values().filter(|(verdict, why)| verdict == "skipped" && why.contains("not spoken"));
    assert_eq!(skipped.count(), found.verdicts.len() - 1, "{:?}", found.verdicts);
    assert_eq!(found.exit, 0);
    let url = format!("http://{}", server.address);
    let (exit, _, stderr) = run(&[&url, "--only", "http2-frames", "--http2", "on"]);
    assert_eq!(exit, 2, "{stderr}");
}

#[test]
fn the_table_is_for_people_and_names_what_to_change() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let (exit, stdout, stderr) = run(&[&url, "--only", "host-other", "--header", "X-Probe: yes"]);
    assert_eq!((exit, stderr.as_str()), (0, ""));
    for part in ["unclear  host-other", "change: ", "limits.allowed_hosts", "held     honest", "0 open"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    server.wait_log("the request of the case", |line| {
        line["host"] == "nessen-probe.invalid" || line["path"] == "/"
    });
}

#[test]
fn a_rate_limit_in_front_is_no_defence_that_was_seen() {
    let server = Server::start(&[("RATE_LIMIT_MAX_REQUESTS", "5")]);
    let found = probe(server.address, &["--only", "path", "--only", "connection"]);
    assert_eq!(found.exit, 2, "{:?}", found.verdicts);
    let limited =
        found.verdicts.values().filter(|(verdict, why)| verdict == "unclear" && why.contains("429"));
    assert!(limited.count() > 12, "{:?}", found.verdicts);
    let (honest, pipeline) = (&found.verdicts["honest"], &found.verdicts["pipeline-1000"]);
    assert!(honest.0 == "unclear" && honest.1.contains("429"), "{honest:?}");
    assert!(pipeline.0 == "skipped" && pipeline.1.contains("429"), "{pipeline:?}");
}

#[test]
fn more_connections_than_one_client_may_have_are_a_limit_that_is_told() {
    let server = Server::start(&[("MAX_CONNECTIONS_PER_IP", "100")]);
    let crowds = ["--only", "crowd-silent", "--only", "crowd-heads", "--connections", "300"];
    let found = probe(server.address, &crowds);
    for name in ["crowd-silent", "crowd-heads"] {
        let (verdict, happened) = &found.verdicts[name];
        assert!(verdict == "held" && happened.contains("a limit"), "{name}: {happened}");
    }
    assert_eq!(found.exit, 0, "{:?}", found.verdicts);
}
