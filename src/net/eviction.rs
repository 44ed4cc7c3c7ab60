//! Who makes room when `limits.max_connections` is reached: a connection that nobody would miss.
//!
//! A server whose connections are all taken by clients that do nothing serves nobody, however quick
//! it is. So a newcomer takes the place of one that has its last answer and lingers, or never said a word;
//! where there is none, of one that is idle between requests; and then of one that is slow to send its request head. All are to be closed
//! anyway, by `limits.headers_timeout` and `limits.idle_timeout`; pressure brings that forward. Requests
//! under way are never given up for others.

use std::cmp::Reverse;
use std::time::Duration;

use super::admission::Admission;
use super::connection::CLOSE_AFTER;
use super::registry::Registry;
use super::state::{ConnState, Order};

/// Connections looked at for one newcomer. To look at all of them would make every connection of a
/// flood cost as much as there are; a sample finds one of the worst few (Redis evicts keys so).
const SAMPLE: usize = 32;
/// Clients send their first request right behind the last packet of the handshake.
pub(super) const SILENT: Duration = Duration::from_millis(300);
/// Most heads fit a packet; the rest take a few, and a few round trips at worst.
pub(super) const SLOW_HEAD: Duration = Duration::from_millis(600);

/// What giving a connection up would cost, least first. Within a kind, the client with most
/// connections comes first, and then what has been there for longest.
type Loss = (Kind, Reverse<usize>, Reverse<Duration>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// All has been said, and the client is given time to hear it.
    Lingering,
    /// Nothing was ever asked.
    Silent,
    /// Nothing is asked at the moment.
    Idle,
    /// Something is being asked, slowly.
    SlowHead,
}

fn loss(connection: &ConnState, admission: &Admission) -> Option<Loss> {
    if connection.probe_only().is_some()
        || connection.ordered(Order::Abort)
        || connection.ordered(Order::CloseIdle)
    {
        return None;
    }
    if let Some(age) = connection.lingers_for() {
        return (age >= SILENT).then_some((Kind::Lingering, Reverse(0), Reverse(age)));
    }
    let (kind, age, least) = match (connection.idle_for(), connection.head_since()) {
        (Some(idle), _) if connection.requests() == 0 => (Kind::Silent, idle, SILENT),
        (Some(idle), _) => (Kind::Idle, idle, CLOSE_AFTER),
        (None, Some(since)) if connection.in_flight() == 0 => (Kind::SlowHead, since.elapsed(), SLOW_HEAD),
        _ => return None,
    };
    let of_client = || admission.connections_of(connection.peer().ip());
    (age >= least).then(|| (kind, Reverse(of_client()), Reverse(age)))
}

/// Closes a connection that can be spared; whether there was one.
pub fn make_room(registry: &Registry, admission: &Admission) -> bool {
    let candidates = registry.sample(SAMPLE);
    let rated = candidates.iter().filter_map(|connection| Some((loss(connection, admission)?, connection)));
    let Some(((kind, ..), victim)) = rated.min_by(|(a, _), (b, _)| a.cmp(b)) else { return false };
    match kind {
        Kind::Lingering | Kind::Silent | Kind::SlowHead => victim.order(Order::Abort),
        // A request that is in its socket already is served first.
        Kind::Idle => {
            victim.order(Order::GoAway);
            victim.order(Order::CloseIdle);
        }
    }
    true
}
