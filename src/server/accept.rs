//! From the listener to one task a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::exchange::Scarce;
use crate::lifecycle::Phase;
use crate::memory::Purpose;
use crate::net::Stack;
use crate::net::admission::{Admission, Admitted, RESERVE};
use crate::net::connection;
use crate::net::context::Context;
use crate::net::eviction;
use crate::net::linger;
use crate::net::listener::Listener;
use crate::net::registry::Registry;
use crate::net::secure::ALERT;
use crate::net::state::ConnState;
use crate::net::turns::Fair;
use crate::protocol::Protocol;
use crate::random;
use crate::refusal::{Reason, Refusal};

/// How long the handshakes that have begun have to end before the listener closes: a round trip.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How often the tasks of connections that are to go get their turn before another is refused.
const BREATHS: usize = 8;

/// Everything that accepting needs.
pub(crate) struct Acceptor<S> {
    /// The bound socket.
    pub listener: Listener,
    /// Who may connect.
    pub admission: Admission,
    /// Where connections are entered.
    pub registry: Registry,
    /// What they have in common.
    pub context: Arc<Context>,
    /// What serves them.
    pub stack: Arc<S>,
    /// Connections that went to the reserve.
    pub reserved: usize,
}

impl<S: Stack> Acceptor<S> {
    /// Accepts until `stop` says so; then takes in what is waiting, and closes the listener.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        // Refused connections that are told why at a time; beyond that they are reset. It is what an
        // attacker can make us hold without being admitted.
        let told = Arc::new(Semaphore::new(self.admission.reserved()));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Some((stream, peer)) => self.admit(stream, peer, &told).await,
                None => self.context.metrics.accept_error(),
            }
        }
        // SECURITY: bounded, since a client that keeps connecting must not keep us from closing.
        let mut left = 4096;
        let until = Instant::now() + if self.listener.stop_handshakes() { HANDSHAKE } else { Duration::ZERO };
        while left > 0 {
            let accepted = match timeout_at(until, self.listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => match self.listener.accept_waiting().await {
                    None => break,
                    waiting => waiting,
                },
            };
            if let Some((stream, peer)) = accepted {
                self.admit(stream, peer, &told).await;
            }
            left -= 1;
        }
    }

    async fn admit(&mut self, stream: TcpStream, peer: SocketAddr, told: &Arc<Semaphore>) {
        let mut admitted = self.admission.admit(peer.ip());
        for _ in 0..BREATHS {
            // Connections that were told to go have not come to it yet, if many come at once.
            if !matches!(&admitted, Err(refusal) if refusal.reason == Reason::TooManyConnections) {
                break;
            }
            tokio::task::yield_now().await;
            admitted = self.admission.admit(peer.ip());
        }
        let (permits, probe_only) = match admitted {
            Ok(Admitted::Fully(permits)) => (permits, false),
            Ok(Admitted::ForProbes(permits)) => {
                let displaced = self.displace();
                (permits, !displaced)
            }
            Err(refusal) => return self.refuse(stream, peer, refusal, told),
        };
        // What a connection holds before it says anything is little, and there is room for it unless
        // those at work leave none.
        let held = self.context.memory.open(permits.share().cloned());
        let waiting = self.context.waiting();
        let (held, probe_only) = match (probe_only, held.add(waiting, Purpose::Waiting)) {
            (true, _) => (None, Some(Scarce::Connections)),
            (false, Ok(())) => (Some(held), None),
            // There is room, but not for this client.
            (false, Err(refusal)) if self.context.memory.has_room(waiting, Purpose::Waiting) => {
                return self.refuse(stream, peer, refusal, told);
            }
            (false, Err(_)) if self.displace() => {
                held.add_in_exchange(waiting);
                (Some(held), None)
            }
            (false, Err(_)) => (None, Some(Scarce::Memory)),
        };
        let draining = self.context.lifecycle.phase() >= Phase::Draining;
        let max_age = jitter(self.context.limits.max_age);
        let state = self.registry.enter(|entry| {
            let mut state = ConnState::new(peer, permits, entry);
            state.held = held;
            state.accepted_in_drain = draining;
            state.ages_by(max_age);
            state
        });
        if let Some(scarce) = probe_only {
            state.probes_only(scarce, Protocol::Unknown);
        }
        let (context, stack) = (self.context.clone(), self.stack.clone());
        if context.tls.is_some() {
            tokio::spawn(secure_task(stream, state, context, stack));
        } else {
            tokio::spawn(task(stream, state, context, stack));
        }
        if probe_only.is_some() {
            self.reserved = self.reserved.wrapping_add(1);
            // They have a turn before so many come that the first would have to make room in the reserve.
            if self.reserved.is_multiple_of(RESERVE / 4) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Has another connection make room, if one can be spared.
    fn displace(&self) -> bool {
        let displaced = self.admission.may_displace() && eviction::make_room(&self.registry, &self.admission);
        if displaced {
            self.context.metrics.connection_evicted();
        }
        displaced
    }

    fn refuse(&self, stream: TcpStream, peer: SocketAddr, refusal: Refusal, told: &Arc<Semaphore>) {
        let mut bytes = self.context.refuse(refusal, peer.ip(), Protocol::Unknown, &[]);
        if self.context.tls.is_some() {
            // What it would understand comes after a handshake, which is more than it is to have.
            bytes = ALERT.to_vec();
        }
        // Closed here, with its reason untold, where too many are being told theirs.
        let Ok(permit) = told.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(connection::TELL_FOR, linger::close(stream, &bytes, true)).await;
            drop(permit);
        });
    }
}

/// 10 % more or less, so that connections that came together do not go together.
fn jitter(age: Duration) -> Duration {
    let seconds = age.as_secs_f64() * (0.9 + 0.2 * random::fraction());
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The task of a connection.
fn task<S: Stack>(
    stream: TcpStream,
    state: Arc<ConnState>,
    context: Arc<Context>,
    stack: Arc<S>,
) -> Fair<impl Future<Output = ()> + Send> {
    let turns = context.turns.clone();
    turns.fair(state.clone(), connection::serve(stream, state, context, stack))
}

/// Likewise of one that speaks TLS.
fn secure_task<S: Stack>(
    stream: TcpStream,
    state: Arc<ConnState>,
    context: Arc<Context>,
    stack: Arc<S>,
) -> Fair<impl Future<Output = ()> + Send> {
    let turns = context.turns.clone();
    turns.fair(state.clone(), connection::serve_secure(stream, state, context, stack))
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
