//! More clients than the system has descriptors for.

use std::time::Duration;

use crate::support::http1::{Conn, get};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

/// The server under a limit of 40 descriptors that it was told to pass over.
fn cramped() -> Server {
    let env = [("MAX_CONNECTIONS", "500"), ("MAX_CONNECTIONS_PER_IP", "0")];
    Server::start_in_shell("ulimit -n 40", &env, &[])
}

/// Whether a connection of its own is served now.
fn serves(server: &Server) -> bool {
    let Ok(mut conn) = Conn::try_open(server.address) else { return false };
    conn.try_send(&get("/badge/a/b.svg")).is_ok()
        && conn.try_read_response(Duration::from_secs(2)).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn a_process_without_descriptors_lives_rests_and_serves_again() {
    let mut server = cramped();
    let mut first = server.connect();
    first.assert_serves();
    for round in 1..=2 {
        let before = server.metrics_on(&mut first)["nessen_accept_errors_total"];
        // The backlog takes what the process does not.
        let crowd: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
        assert_eventually(PATIENCE, "connections that could not be accepted", || {
            server.metrics_on(&mut first)["nessen_accept_errors_total"] > before
        });
        // Time spent by the process while nothing but that happens.
        let cpu = server.cpu_time();
        pause(2000);
        let spent = server.cpu_time() - cpu;
        assert!(spent < Duration::from_millis(500), "round {round}: {spent:?} of CPU in 2 s");
        assert!(server.wait_exit(Duration::ZERO).is_none(), "the process is gone");
        first.assert_serves();
        drop(crowd);
        assert_eventually(PATIENCE, "served again", || serves(&server));
    }
    assert!(server.wait_exit(Duration::ZERO).is_none(), "the process is gone");
}

#[test]
fn a_process_without_descriptors_still_drains() {
    let mut server = cramped();
    let mut first = server.connect();
    first.assert_serves();
    let crowd: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
    assert_eventually(PATIENCE, "connections that could not be accepted", || {
        server.metrics_on(&mut first)["nessen_accept_errors_total"] > 0.0
    });
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.exit_code(), 0);
    drop(crowd);
}
