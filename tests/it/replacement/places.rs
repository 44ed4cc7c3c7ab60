//! Servers that are replaced where they are: one after the other ends, and another begins at its port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::{Tally, blocking, end_clients, start_clients, watched_tally};
use crate::support::server::Server;
use crate::support::upstream::DeadPort;
use crate::support::{Dice, PATIENCE};

/// What runs at a place.
pub(super) trait Process: Send + 'static {
    /// Tells it to go.
    fn tell(&self, signal: Signal);
    /// Its exit code, once it has ended by itself.
    fn code(&mut self) -> Option<i32>;
}

impl Process for Server {
    fn tell(&self, signal: Signal) {
        self.signal(signal);
    }

    fn code(&mut self) -> Option<i32> {
        self.wait_exit(PATIENCE).and_then(Result::ok)
    }
}

/// Addresses that nobody else gets while nobody listens there.
pub(super) struct Places(Vec<DeadPort>);

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| DeadPort::new()).collect())
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(DeadPort::address).collect()
    }
}

/// Drives `clients` of `front` through `rounds` replacements, each by `signal`, of what runs at one of
/// the places after the other. Returns what they saw, and the exit codes.
pub(super) async fn roll<P: Process, C, F>(
    rounds: usize,
    signal: Signal,
    mut running: Vec<(SocketAddr, P)>,
    make: fn(SocketAddr) -> P,
    front: SocketAddr,
    clients: usize,
    client: C,
) -> (Arc<Tally>, Vec<Option<i32>>)
where
    C: Fn(usize, SocketAddr, Arc<Tally>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut dice = Dice::new();
    let tally = watched_tally();
    let tasks = start_clients(clients, front, &tally, client);
    let mut codes = Vec::new();
    let (mut left, mut unfair) = (rounds, 0);
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
        let (address, mut old) = running.remove(0);
        tally.tell(&address.to_string());
        old.tell(signal);
        codes.push(blocking(move || old.code()).await);
        running.push((address, blocking(move || make(address)).await));
        left -= 1;
        if unfair < rounds && tally.pardon_stall() {
            (left, unfair) = (left + 1, unfair + 1);
        }
    }
    end_clients(tasks, &tally).await;
    (tally, codes)
}
