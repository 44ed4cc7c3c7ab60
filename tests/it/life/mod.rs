//! From the first line of the log to the exit code.

mod config;
mod cut_off;
mod drain;
mod drain_http2;
mod endings;
mod hangup;
mod service_manager;
mod signals;
mod startup;

use crate::support::http1::{Conn, post_head};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// A POST that is half sent, and in flight until it is sent to its end.
fn half_a_request(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&[post_head(10), b"hello".to_vec()].concat());
    assert_eventually(PATIENCE, "a request in flight", || server.requests_active() >= 1.0);
    conn
}
