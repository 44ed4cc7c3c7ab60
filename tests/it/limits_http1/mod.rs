//! An attack for each limit, over HTTP/1 on a real socket: each fails where the limit is off.

mod clocks;
mod connections;
mod early;
mod eviction;
mod exhaustion;
mod identity;
mod line_ends;
mod memory;
mod pressure;
mod rate;
mod requests;
mod reserve;
mod send;
mod sizes;
mod unread;

use crate::support::http1::{Conn, post_head};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// Connections with a POST under way each, of which `world` is missing: nobody can take their place.
fn busy(server: &Server, count: usize) -> Vec<Conn> {
    let held: Vec<Conn> = (0..count)
        .map(|_| {
            let mut conn = server.connect();
            conn.send(&[post_head(10), b"hello".to_vec()].concat());
            conn
        })
        .collect();
    assert_eventually(PATIENCE, "requests under way", || server.requests_active() >= count as f64);
    held
}
