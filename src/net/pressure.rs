//! Letting go of what can be spared when memory or places for requests run short, before anybody has
//! to be refused for want of them.
//!
//! First go connections that are idle, longest first. Then those whose client is waited for and does
//! next to nothing: a head that does not get on, a body that drips, an answer that is hardly read. Calm,
//! they have until `limits.headers_timeout` and the limits on their rate; when room is short, a second.
//! Whoever is waited for by nobody, and whoever sends or reads at a pace that gets somewhere, is left
//! alone; as is everybody where the rates are off.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::connection::CLOSE_AFTER;
use super::context::Context;
use super::eviction::{SILENT, SLOW_HEAD};
use super::registry::Registry;
use super::state::{ConnState, Order};
use crate::memory::{MemoryAccount, Purpose};
use crate::places::Places;
use crate::protocol::Protocol;
use crate::refusal::Reason;

/// How often it is looked for while room is short.
const INTERVAL: Duration = Duration::from_millis(100);
/// Milliseconds that a client's pace is taken over,
const SPAN: u64 = 1000;
/// and when hardly any memory is left: then each newcomer is refused for somebody who stays.
const SPAN_FULL: u64 = 600;
/// Bytes a second that get somewhere: 64 kbit/s, less than any line in use.
const PACE: u64 = 8 * 1024;

/// What can run short.
#[derive(Debug)]
pub struct Relief {
    /// Everything that connections and requests hold.
    pub memory: MemoryAccount,
    /// Requests at a time.
    pub places: Places,
    /// The connections.
    pub registry: Registry,
    /// Where it is counted, and whether slow readers are anybody's concern.
    pub context: Arc<Context>,
    /// Whether slow uploads are: not where `limits.min_body_rate` is off.
    pub judges_uploads: bool,
}

impl Relief {
    /// Keeps a quarter free, as far as there is something to spare.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = self.memory.scarce() => {}
                () = self.places.scarce() => {}
            }
            while self.memory.scarce_by() > 0 || self.places.scarce_by() > 0 {
                self.look();
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }

    fn look(&self) {
        let connections = self.registry.connections();
        let span =
            if self.memory.has_room(self.context.working(), Purpose::Waiting) { SPAN } else { SPAN_FULL };
        // Everybody is looked at in every round: a pace is known by the second look.
        let mut slow: Vec<_> = connections
            .iter()
            .filter(|connection| may_go(connection))
            .filter_map(|connection| Some((self.pace(connection, span)?, connection)))
            .collect();
        let mut bytes = self.memory.scarce_by();
        if bytes > 0 {
            let mut idle: Vec<_> = connections
                .iter()
                .filter(|connection| may_go(connection))
                .filter_map(|connection| Some((can_be_spared(connection)?, connection)))
                .collect();
            idle.sort_by_key(|(idle, _)| Reverse(*idle));
            for (_, connection) in idle {
                if bytes == 0 {
                    break;
                }
                if connection.lingers_for().is_some() {
                    connection.order(Order::Abort);
                }
                // A request that is in its socket already is served first.
                connection.order(Order::GoAway);
                connection.order(Order::CloseIdle);
                self.context.metrics.connection_evicted();
                bytes = bytes.saturating_sub(self.context.waiting());
            }
        }
        let mut places = self.places.scarce_by();
        slow.sort_by_key(|((_, pace), _)| *pace);
        for ((reason, _), connection) in slow {
            if bytes == 0 && places == 0 {
                return;
            }
            // Who holds no place gives none back.
            if bytes == 0 && connection.in_flight() == 0 {
                continue;
            }
            self.context.metrics.connection_evicted();
            let client = connection.peer().ip();
            self.context.refused(reason, client, Protocol::Unknown);
            // Those who are not told apart are many.
            if bytes > 0 && connection.share().is_some() {
                self.context.penalties.put(client.into());
            }
            connection.order(Order::Abort);
            bytes = bytes.saturating_sub(self.context.working());
            places = places.saturating_sub(usize::try_from(connection.in_flight()).unwrap_or(usize::MAX));
        }
    }

    /// How slow a client is that is waited for, and with what; `None` if it is not, or gets somewhere.
    fn pace(&self, connection: &ConnState, span: u64) -> Option<(Reason, u64)> {
        if let Some(since) = connection
            .head_since()
            .filter(|_| connection.in_flight() == 0 && !connection.progress.stands_in_line())
        {
            return (since.elapsed() >= SLOW_HEAD).then_some((Reason::HeadersTimeout, 0));
        }
        let pace = connection.pace_of_client(span).filter(|pace| *pace < PACE)?;
        match connection.progress.awaits_upload() {
            true => self.judges_uploads.then_some((Reason::BodyTooSlow, pace)),
            false => self.context.limits.send.min_rate.map(|_| (Reason::SlowReader, pace)),
        }
    }
}

/// How long nothing has been asked of it or said to it, if that is long enough.
fn can_be_spared(connection: &ConnState) -> Option<Duration> {
    let lingers = connection.lingers_for().filter(|age| *age >= SILENT);
    lingers.or_else(|| connection.idle_for().filter(|idle| *idle >= CLOSE_AFTER))
}

fn may_go(connection: &ConnState) -> bool {
    connection.probe_only().is_none()
        && !connection.ordered(Order::Abort)
        && !connection.ordered(Order::CloseIdle)
}
