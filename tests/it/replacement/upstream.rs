//! The server stays, and those that it asks are replaced where they are.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::Signal;

use super::places::{Places, Process, roll};
use super::{Tally, assert_nothing_lost, http1, rounds, runtime, start};
use crate::proxy::TempFile;
use crate::support::front::{Ca, Front, Manners};
use crate::support::server::Server;

/// An upstream that says good-bye: `Connection: close` and GOAWAY.
fn serve_at(address: SocketAddr) -> Server {
    start(&[("NESSEN_SERVER_PORT", &address.port().to_string())])
}

/// One proxy before all of the places.
fn proxy(scheme: &str, places: &Places) -> Server {
    let urls: Vec<_> = places.addresses().iter().map(|address| format!("{scheme}://{address}")).collect();
    start(&[("UPSTREAM", &urls.join(","))])
}

fn run<P: Process>(
    scheme: &str,
    rounds: usize,
    signal: Signal,
    make: fn(SocketAddr) -> P,
) -> (Arc<Tally>, Vec<Option<i32>>) {
    let places = Places::new(2);
    let running = places.addresses().into_iter().map(|address| (address, make(address))).collect();
    let proxy = proxy(scheme, &places);
    runtime().block_on(roll(rounds, signal, running, make, proxy.address, 100, http1::client))
}

#[test]
fn no_post_is_lost_where_an_upstream_is_replaced() {
    let rounds = rounds(6);
    let (tally, codes) = run("http", rounds, Signal::TERM, serve_at);
    assert_nothing_lost("upstream-http1", &tally, &codes, rounds as u64 * 100);
}

#[test]
fn no_post_is_lost_where_an_upstream_of_http_2_is_replaced() {
    let rounds = rounds(6);
    let (tally, codes) = run("h2c", rounds, Signal::TERM, serve_at);
    assert_nothing_lost("upstream-h2c", &tally, &codes, rounds as u64 * 100);
}

/// With something before each that terminates TLS. That one may not lose any either: it waits for who begins.
#[test]
fn no_post_is_lost_where_an_upstream_within_tls_is_replaced() {
    let (rounds, places, ca) = (rounds(4), Places::new(2), Ca::new("one"));
    let issued = ca.issue(&["127.0.0.1"]);
    let patient = || Manners { alpn: vec!["http/1.1"], patient: true, ..Manners::default() };
    let fronts: Vec<_> =
        places.addresses().into_iter().map(|address| Front::with(address, &issued, patient())).collect();
    let urls: Vec<_> = fronts.iter().map(Front::url).collect();
    let file = TempFile::new("ca.pem", &ca.pem());
    let proxy = start(&[("UPSTREAM", &urls.join(",")), ("NESSEN_UPSTREAM_CA", file.path())]);
    let running = places.addresses().into_iter().map(|address| (address, serve_at(address))).collect();
    let rolled = roll(rounds, Signal::TERM, running, serve_at, proxy.address, 30, http1::client);
    let (tally, codes) = runtime().block_on(rolled);
    assert_nothing_lost("upstream-https", &tally, &codes, rounds as u64 * 100);
}

#[test]
fn an_upstream_that_is_killed_does_lose_posts() {
    for scheme in ["http", "h2c"] {
        let (tally, _) = run(scheme, 4, Signal::KILL, serve_at);
        assert!(
            !tally.failures.lock().unwrap().is_empty(),
            "{scheme}: four kills under load, and nobody noticed"
        );
    }
}
