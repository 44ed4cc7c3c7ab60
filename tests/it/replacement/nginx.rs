//! Through nginx, as it is shipped: three servers, replaced where they are.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::places::{Places, roll};
use super::{assert_nothing_lost, http1, rounds, runtime, start};
use crate::support::folder::Folder;
use crate::support::program::{self, Running, free};
use crate::support::server::Server;

/// nginx passes a server over for so long that took no connection; while the next one is told to go it
/// has to be asked again.
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);
const _: () = assert!(DRAIN_DELAY.as_millis() > FAIL_TIMEOUT.as_millis());
const DRAIN_DELAY: Duration = Duration::from_millis(1200);

fn serve_at(address: SocketAddr) -> Server {
    let delay = DRAIN_DELAY.as_millis().to_string();
    let port = address.port().to_string();
    start(&[("NESSEN_SERVER_PORT", &port), ("DRAIN_DELAY", &delay), ("TRUSTED_PROXIES", "127.0.0.1")])
}

/// The shipped files, with other addresses, and with a second for their five.
fn nginx(folder: &Folder, address: SocketAddr, servers: &[SocketAddr]) -> Option<Running> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx/snippets");
    let mut upstream = std::fs::read_to_string(shipped.join("upstream.conf")).unwrap();
    for (number, server) in (1..).zip(servers) {
        upstream = upstream.replace(&format!("nessen-{number}:3000"), &server.to_string());
    }
    let upstream = upstream.replace("fail_timeout=5s", &format!("fail_timeout={}s", FAIL_TIMEOUT.as_secs()));
    assert!(!upstream.contains(":3000") && upstream.contains("fail_timeout=1s"), "{upstream}");
    let http = format!(
        "access_log off; keepalive_requests 1000;\n{upstream}\ninclude {0}/headers.conf;\n\
         server {{ listen {address}; location / {{ include {0}/proxy.conf; proxy_pass http://nessen; }} }}",
        shipped.display()
    );
    program::nginx(folder, address, &http)
}

#[test]
fn no_post_is_lost_in_a_replacement_behind_nginx() {
    let (places, folder) = (Places::new(3), Folder::new());
    let Some(front) = nginx(&folder, free(), &places.addresses()) else { return };
    let running = places.addresses().into_iter().map(|address| (address, serve_at(address))).collect();
    let rounds = rounds(6);
    let rolled = roll(rounds, Signal::TERM, running, serve_at, front.address, 100, http1::client);
    let (tally, codes) = runtime().block_on(rolled);
    assert_nothing_lost("nginx", &tally, &codes, rounds as u64 * 100);
}

#[test]
fn a_server_that_is_killed_behind_nginx_does_lose_posts() {
    let (places, folder) = (Places::new(3), Folder::new());
    let Some(front) = nginx(&folder, free(), &places.addresses()) else { return };
    let running = places.addresses().into_iter().map(|address| (address, serve_at(address))).collect();
    let rolled = roll(3, Signal::KILL, running, serve_at, front.address, 100, http1::client);
    let (tally, _) = runtime().block_on(rolled);
    assert!(!tally.failures.lock().unwrap().is_empty(), "three kills under load, and nobody noticed");
}
