//! The same attacks within TLS.

use super::defaults::{QUICK, faults};
use super::{only, probe_at, run};
use crate::support::folder::Folder;
use crate::support::front::{Ca, Front, Manners};
use crate::support::server::Server;

#[test]
fn nothing_is_open_within_tls() {
    let (server, ca) = (Server::start(&[]), Ca::new("one"));
    let manners = Manners { alpn: vec!["h2", "http/1.1"], ..Manners::default() };
    let front = Front::with(server.address, &ca.issue(&["127.0.0.1"]), manners);
    let folder = Folder::new();
    let file = folder.write("ca.pem", ca.pem()).path("ca.pem");
    let args = ["--upload-path", "/echo", "--ca", &file];
    let found = probe_at(&front.url(), &[&args[..], &only(&QUICK)].concat());
    let faults = faults(&found);
    assert!(faults.is_empty() && found.exit == 0, "{faults:#?}");
    // HTTP/2 was spoken: no group was left.
    assert!(found.verdicts.values().all(|(verdict, _)| verdict != "skipped"), "{:?}", found.verdicts);
}

#[test]
fn who_is_not_believed_is_not_attacked_without_a_word() {
    let (server, ca) = (Server::start(&[]), Ca::new("one"));
    let front = Front::start(server.address, &ca.issue(&["127.0.0.1"]));
    let (exit, _, stderr) = run(&[&front.url(), "--only", "trace"]);
    assert!(exit == 2 && stderr.contains("no TLS: its certificate is of no CA"), "{exit} {stderr}");
    let found = probe_at(&front.url(), &["--insecure", "--only", "trace", "--only", "http2-frames"]);
    assert_eq!(found.exit, 0);
    // HTTP/2 is not offered there, and is left visibly.
    assert!(found.verdicts.values().any(|(verdict, why)| verdict == "skipped" && why.contains("not spoken")));
}
