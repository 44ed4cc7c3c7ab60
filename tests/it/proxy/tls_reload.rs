//! Certificates that are replaced while they are in use.

use std::sync::atomic::Ordering;

use rustix::process::Signal;

use super::{NO_EJECTION, TempFile, ask, proxy_with};
use crate::support::client::{Client, Request};
use crate::support::front::{Ca, Front};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually};

fn table(front: &Front, ca: &TempFile) -> TempFile {
    let text = format!("[[route]]\npath = '/'\nupstream = '{}'\nca = '{}'\n", front.url(), ca.path());
    TempFile::new("table.toml", &text)
}

#[test]
fn a_hangup_takes_another_ca_and_keeps_the_old_where_it_is_none() {
    let (one, two, upstream) = (Ca::new("one"), Ca::new("two"), Upstream::start());
    let front = Front::start(upstream.address, &one.issue(&["127.0.0.1"]));
    let file = TempFile::new("ca.pem", &one.pem());
    let table = table(&front, &file);
    let server = proxy_with(&table, &[NO_EJECTION]);
    let mut waiting = Client::open(server.address);
    waiting.send(&Request::get("waiting", "gate").bytes());
    upstream.wait_begun(1);
    let status = || ask(&server, &Request::get("t", "ok")).status;
    assert_eq!((status(), front.handshakes()), (200, 2));

    // Nothing, and the old holds: the kept connection goes on.
    file.write("nothing");
    server.signal(Signal::HUP);
    let line = server
        .wait_log("the reload", |line| line["message"] == "configuration not reloaded; the old one is kept");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("ca = ") && error.contains("holds no certificate"), "{error}");
    assert_eq!((status(), front.handshakes()), (200, 2));

    // Another: what was believed is not any more, kept connections included.
    file.write(&two.pem());
    server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the upstream is not believed", || status() == 502);
    // What was under way is not touched.
    upstream.open_gate();
    waiting.answer().assert_answers(200, "waiting");

    let (before, resumed) = (front.handshakes(), front.counts.resumed.load(Ordering::Relaxed));
    front.replace(&two.issue(&["127.0.0.1"]));
    assert_eventually(PATIENCE, "the other is", || status() == 200);
    assert_eq!(front.handshakes(), before + 1);
    // The same again changes nothing.
    server.signal(Signal::HUP);
    server.wait_log("the reload", |line| line["message"] == "configuration reloaded");
    assert_eq!((status(), front.handshakes()), (200, before + 1));
    // Sessions of before are not gone on with.
    assert_eq!(front.counts.resumed.load(Ordering::Relaxed), resumed);
}

#[test]
fn files_that_change_are_read_without_being_told() {
    let (one, two, upstream) = (Ca::new("one"), Ca::new("two"), Upstream::start());
    let front = Front::start(upstream.address, &two.issue(&["127.0.0.1"]));
    let file = TempFile::new("ca.pem", &one.pem());
    let table = table(&front, &file);
    let server = proxy_with(&table, &[NO_EJECTION]);
    let status = || ask(&server, &Request::get("t", "ok")).status;
    assert_eq!(status(), 502);
    // A bad one is said once, and a good one taken.
    file.write("nothing");
    server.wait_log("that it is bad", |line| {
        line["error"].as_str().is_some_and(|error| error.contains("holds no certificate"))
    });
    file.write(&two.pem());
    assert_eventually(PATIENCE, "the other CA", || status() == 200);
}
