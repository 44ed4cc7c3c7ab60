//! Who may hold a connection: `limits.max_connections`, `limits.max_connections_per_ip`, and the
//! reserve through which probes still get in when everything is taken.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::state::{ConnState, Order};
use crate::client_address::{ClientKey, TrustedProxies};
use crate::memory::Share;
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};

/// Connections beyond the limit that are still accepted, to ask for probes and nothing else.
/// When the reserve is full too, the oldest in it makes room: a probe asks at once and is
/// answered at once, so what has been there for longest is not one. If many come before it had its turn, what
/// it has asked by then is answered first.
pub const RESERVE: usize = 32;
/// As many of them at least, however few descriptors there are.
const LEAST_RESERVE: usize = 4;
/// Of the reserve, connections of HTTP/2 have one in so many, and make room for each other: probes mostly speak
/// HTTP/1, and must not have to go for those whose streams there was no memory for.
const PART_OF_HTTP2: usize = 4;

/// Counts connections against their limits. Clones share the counts.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    reserved: usize,
    per_client: Option<usize>,
    trusted: TrustedProxies,
    open: AtomicUsize,
    clients: Mutex<HashMap<ClientKey, Client>>,
    /// Those in the reserve, the oldest first, and whether they speak HTTP/2.
    reserve: Mutex<VecDeque<(Weak<ConnState>, bool)>>,
}

/// What one client has.
#[derive(Debug)]
struct Client {
    connections: usize,
    known: Arc<Known>,
}

/// What all connections of a client have in common, so that each holds a pointer to it and no more.
#[derive(Debug)]
struct Known {
    key: ClientKey,
    share: Arc<Share>,
}

/// A connection's share of the limits, given back when dropped.
#[derive(Debug)]
pub struct Permits {
    admission: Option<Admission>,
    client: Option<Arc<Known>>,
}

/// One of the connections that one client may have, given back when dropped.
#[derive(Debug)]
pub struct ClientPermit {
    admission: Admission,
    known: Arc<Known>,
}

impl ClientPermit {
    /// What the client holds over all of its connections.
    pub fn share(&self) -> &Arc<Share> {
        &self.known.share
    }
}

impl Permits {
    /// Counts against nothing: for a listener that has no limits of its own.
    pub fn none() -> Self {
        Self { admission: None, client: None }
    }

    /// What the client holds that the connection counts for; `None` where clients are not told apart.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.client.as_ref().map(|known| &known.share)
    }

    /// Puts a connection into the reserve, as [`Admission::reserve`] does.
    pub fn reserve(&self, connection: &Arc<ConnState>, protocol: Protocol) {
        if let Some(admission) = &self.admission {
            admission.reserve(connection, protocol);
        }
    }

    /// Counts the connection for `client` too, whom a trusted proxy has named.
    ///
    /// # Errors
    /// The client has all the connections that one client may have.
    pub fn for_client(&self, client: IpAddr) -> Result<Option<ClientPermit>, Refusal> {
        let Some(admission) = &self.admission else { return Ok(None) };
        let known = admission.client(client)?;
        Ok(known.map(|known| ClientPermit { admission: admission.clone(), known }))
    }
}

/// What a new connection may do.
#[derive(Debug)]
pub enum Admitted {
    /// Everything.
    Fully(Permits),
    /// Ask for probes; or everything, once another connection has made room for it.
    ForProbes(Permits),
}

impl Admission {
    /// Admits `max` connections, and `per_client` of one client address unless it is trusted.
    pub fn new(max: usize, per_client: Option<usize>, trusted: TrustedProxies) -> Self {
        Self(Arc::new(Inner {
            max,
            reserved: RESERVE,
            per_client,
            trusted,
            open: AtomicUsize::new(0),
            clients: Mutex::default(),
            reserve: Mutex::default(),
        }))
    }

    /// Keeps a reserve that fits into `spare` descriptors, with those who are told why they are
    /// refused: up to twice the reserve may be open, and half of that again is being told.
    pub fn within(mut self, spare: usize) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.reserved = (spare * 2 / 7).clamp(LEAST_RESERVE, RESERVE);
        }
        self
    }

    /// Connections beyond the limit that are accepted for probes.
    pub fn reserved(&self) -> usize {
        self.0.reserved
    }

    /// Whether a connection that makes room leaves soon enough: those on their way out are few.
    pub fn may_displace(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) <= self.0.max + self.0.reserved
    }

    /// Decides on a connection from `peer`.
    ///
    /// # Errors
    /// The client has all the connections that one client may have, or the reserve overflows.
    pub fn admit(&self, peer: IpAddr) -> Result<Admitted, Refusal> {
        let mut permits = Permits { admission: Some(self.clone()), client: None };
        let open = self.0.open.fetch_add(1, Ordering::Relaxed);
        permits.client = self.client(peer)?;
        if open < self.0.max {
            return Ok(Admitted::Fully(permits));
        }
        if open < self.0.max + 2 * self.0.reserved {
            return Ok(Admitted::ForProbes(permits));
        }
        Err(self.full())
    }

    /// How many connections this client has; 0 where they are not counted.
    pub fn connections_of(&self, client: IpAddr) -> usize {
        if self.0.per_client.is_none() || self.0.trusted.trusts(client) {
            return 0;
        }
        let clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.get(&ClientKey::from(client)).map_or(0, |client| client.connections)
    }

    /// One connection more of `client`; `None` where it may have any number.
    fn client(&self, client: IpAddr) -> Result<Option<Arc<Known>>, Refusal> {
        let Some(max) = self.0.per_client.filter(|_| !self.0.trusted.trusts(client)) else {
            return Ok(None);
        };
        let key = ClientKey::from(client);
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Client { connections: 0, known: Arc::new(Known { key, share: Arc::default() }) };
        let client = clients.entry(key).or_insert_with(first);
        if client.connections >= max {
            drop(clients);
            return Err(Refusal::new(
                Reason::TooManyConnectionsFromClient,
                format!("this client has {max} connections open"),
            )
            .limit("limits.max_connections_per_ip"));
        }
        client.connections += 1;
        Ok(Some(client.known.clone()))
    }

    /// One connection less of a client.
    fn leaves(&self, known: &Known) {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get_mut(&known.key) {
            client.connections -= 1;
            if client.connections == 0 {
                clients.remove(&known.key);
            }
        }
    }

    /// The refusal for a connection over the limit.
    pub fn full(&self) -> Refusal {
        Refusal::new(Reason::TooManyConnections, format!("{} connections are open", self.0.max))
            .limit("limits.max_connections")
            .retry_after(std::time::Duration::from_secs(1))
    }

    /// Puts a connection into the reserve, and the oldest out of it if there is no room; of those that speak
    /// HTTP/2, where these have their part.
    pub fn reserve(&self, connection: &Arc<ConnState>, protocol: Protocol) {
        let http2 = protocol == Protocol::Http2;
        let mut reserve = self.0.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        reserve.retain(|(other, _)| other.strong_count() > 0);
        let part = (self.0.reserved / PART_OF_HTTP2).max(1);
        let alike = reserve.iter().filter(|(_, other)| *other).count();
        let oldest = if http2 && alike >= part {
            reserve.iter().position(|(_, other)| *other)
        } else {
            (reserve.len() >= self.0.reserved).then_some(0)
        };
        let oldest = oldest.and_then(|oldest| reserve.remove(oldest)?.0.upgrade());
        if let Some(oldest) = oldest {
            oldest.order(Order::MakeRoom);
        }
        reserve.push_back((Arc::downgrade(connection), http2));
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.0.open.fetch_sub(1, Ordering::Relaxed);
            if let Some(known) = self.client.take() {
                admission.leaves(&known);
            }
        }
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.admission.leaves(&self.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::registry::Registry;

    fn admit(admission: &Admission, peer: &str) -> Result<Admitted, Reason> {
        admission.admit(peer.parse().unwrap()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn one_client_is_bounded_and_what_it_gives_back_it_may_take_again() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let admission = Admission::new(100, Some(1), trusted);
        let first = admit(&admission, "1.1.1.1").unwrap();
        let refused = admit(&admission, "1.1.1.1").unwrap_err();
        assert_eq!(refused, Reason::TooManyConnectionsFromClient);
        let _other = admit(&admission, "1.1.1.2").unwrap();
        let _proxy = (admit(&admission, "10.0.0.1").unwrap(), admit(&admission, "10.0.0.1").unwrap());
        drop(first);
        assert!(admit(&admission, "1.1.1.1").is_ok());
    }

    #[test]
    fn beyond_the_limit_there_is_a_reserve_and_beyond_that_nothing() {
        let admission = Admission::new(1, None, TrustedProxies::default());
        let first = admit(&admission, "1.1.1.1").unwrap();
        assert!(matches!(first, Admitted::Fully(_)));
        let reserve: Vec<_> = (0..2 * RESERVE).map(|_| admit(&admission, "1.1.1.1").unwrap()).collect();
        assert!(reserve.iter().all(|admitted| matches!(admitted, Admitted::ForProbes(_))));
        assert_eq!(admit(&admission, "1.1.1.1").unwrap_err(), Reason::TooManyConnections);
        drop((first, reserve));
        assert!(matches!(admit(&admission, "1.1.1.1"), Ok(Admitted::Fully(_))));
    }

    #[test]
    fn connections_of_http_2_make_room_in_the_reserve_for_each_other_alone() {
        let admission = Admission::new(0, None, TrustedProxies::default());
        let registry = Registry::default();
        let enter = |protocol| {
            let peer = ([127, 0, 0, 1], 1).into();
            let connection = registry.enter(|entry| ConnState::new(peer, Permits::none(), entry));
            admission.reserve(&connection, protocol);
            connection
        };
        let goes = |connection: &Arc<ConnState>| connection.ordered(Order::MakeRoom);
        let probe = enter(Protocol::Http1);
        let streams: Vec<_> = (0..100).map(|_| enter(Protocol::Http2)).collect();
        assert!(!goes(&probe) && streams.iter().filter(|it| !goes(it)).count() == RESERVE / PART_OF_HTTP2);
        assert!(!goes(&streams[99]) && goes(&streams[0]));
        // Among all others it is age that counts.
        let others: Vec<_> = (0..RESERVE).map(|_| enter(Protocol::Http1)).collect();
        assert!(goes(&probe) && goes(&streams[99]) && !others.iter().any(goes));
    }

    #[test]
    fn the_reserve_is_as_small_as_few_descriptors_make_it() {
        let reserved = |spare| Admission::new(1, None, TrustedProxies::default()).within(spare).reserved();
        assert_eq!([0, 16, 56, 112, 100_000].map(reserved), [4, 4, 16, 32, 32]);
    }
}
