//! One request and its answer, as the layers see it from the side.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderValue, Request};
use tokio::time::Instant;

use crate::memory::{Purpose, Share};
use crate::policy::{Fields, Policy};
use crate::protocol::{Protocol, TlsVersion};
use crate::quota::Quota;
use crate::refusal::Reason;
use crate::seen::Seen;
use crate::trace::Trace;

/// What there was too little of to serve a connection in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// It was accepted over `limits.max_connections`.
    Connections,
    /// `limits.memory` had no room for its request.
    Memory,
}

/// What is known of a request apart from its head: it travels beside the request as an
/// `Arc<Exchange>`, and stays with the response body until the last byte. The handlers of a router find
/// it among the request's extensions.
#[derive(Debug)]
pub struct Exchange {
    /// The other end: the socket's, or the one that a trusted proxy announced in a PROXY header.
    pub peer: SocketAddr,
    /// Whom it speaks for: the peer itself, or the client that a trusted proxy named.
    pub client: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub trusted_peer: bool,
    /// What the connection speaks.
    pub protocol: Protocol,
    /// The version of TLS under it, if there is any.
    pub tls: Option<TlsVersion>,
    /// The certificate that the client has shown, as upstreams are told of it.
    pub client_certificate: Option<Arc<str>>,
    /// The first byte of the head.
    pub started: Instant,
    /// The request target held a fragment, which the parser has dropped (RFC 9112 section 3.2).
    pub fragment: bool,
    /// Only probes are answered on the connection, for want of this.
    pub probe_only: Option<Scarce>,
    /// What its memory is charged as.
    pub purpose: Purpose,
    /// What its client holds, where clients are told apart.
    pub share: Option<Arc<Share>>,
    /// Serving it was promised before the server began to refuse: it is the first request on a
    /// connection that a draining server accepted, or an HTTP/2 stream that came before its client
    /// can have known of the last one that counts.
    pub promised: bool,
    /// Whether its connection writes what is left [beside](Self::beside) the head of the answer.
    pub takes_beside: bool,
    /// Identifies the exchange in the log, the answer and the problem body. Set once, by the
    /// request id layer.
    pub request_id: OnceLock<RequestId>,
    /// What it is a part of, where there are traces. Set once, before all else.
    pub trace: OnceLock<Trace>,
    quota: OnceLock<Quota>,
    /// Where it goes. Set once, when the route is chosen.
    chosen: OnceLock<Chosen>,
    /// What evidence of it would show; `None` where none is collected.
    pub seen: Option<Box<Seen>>,
    /// What is held for as long as the request is served; a tunnel that outlives it takes it over.
    pub permit: OnceLock<Arc<dyn Any + Send + Sync>>,
    upstream: Mutex<Option<Arc<str>>>,
    route: AtomicU32,
    bytes_in: AtomicU64,
    ended: OnceLock<Instant>,
    close: AtomicBool,
    body_ended: AtomicBool,
    beside: AtomicU8,
    /// One more than its place in the table; 0 for none.
    reason: AtomicU8,
}

/// What identifies a request.
#[derive(Debug)]
pub struct RequestId {
    /// The field that tells it.
    pub name: &'static str,
    /// The id itself.
    pub id: Id,
}

/// Where an id comes from.
#[derive(Debug)]
pub enum Id {
    /// Made here.
    Ours([u8; 32]),
    /// A trusted peer's.
    Theirs(HeaderValue),
}

impl RequestId {
    /// The id, as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.id {
            Id::Ours(id) => id,
            Id::Theirs(id) => id.as_bytes(),
        }
    }
}

impl Id {
    /// The id as the value of a field.
    pub fn to_value(&self) -> HeaderValue {
        match self {
            Self::Ours(id) => HeaderValue::from_bytes(id).unwrap_or(HeaderValue::from_static("0")),
            Self::Theirs(id) => id.clone(),
        }
    }
}

#[derive(Debug)]
struct Chosen {
    policy: Arc<Policy>,
    route: Arc<dyn Any + Send + Sync>,
}

/// Fields that an answer has besides those of its map: a connection that writes heads itself is spared
/// both the map's work and its own, since they are made ready once for all answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Those of the route.
    pub fields: Option<&'a Fields>,
    /// That of the request id.
    pub request_id: Option<&'a RequestId>,
    /// Those of the rate limit.
    pub quota: Option<&'a Quota>,
}

const FIELDS: u8 = 1;
const REQUEST_ID: u8 = 2;
const QUOTA: u8 = 4;

impl Exchange {
    /// An exchange that begins at `started`.
    pub fn new(peer: SocketAddr, client: IpAddr, protocol: Protocol, started: Instant) -> Self {
        Self {
            peer,
            client,
            trusted_peer: false,
            protocol,
            tls: None,
            client_certificate: None,
            started,
            fragment: false,
            probe_only: None,
            purpose: Purpose::Work,
            share: None,
            promised: false,
            takes_beside: false,
            request_id: OnceLock::new(),
            trace: OnceLock::new(),
            quota: OnceLock::new(),
            chosen: OnceLock::new(),
            seen: None,
            permit: OnceLock::new(),
            upstream: Mutex::new(None),
            route: AtomicU32::new(0),
            bytes_in: AtomicU64::new(0),
            ended: OnceLock::new(),
            close: AtomicBool::new(false),
            body_ended: AtomicBool::new(false),
            beside: AtomicU8::new(0),
            reason: AtomicU8::new(0),
        }
    }

    /// The exchange that `request` belongs to; `None` where a layer is used outside the server.
    pub fn of<B>(request: &Request<B>) -> Option<&Arc<Self>> {
        request.extensions().get()
    }

    /// The request id, or nothing before the layer that sets it.
    pub fn id(&self) -> &str {
        self.request_id.get().and_then(|id| std::str::from_utf8(id.as_bytes()).ok()).unwrap_or("")
    }

    /// What its route asks of the layers, once it is known.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.chosen.get().map(|chosen| &chosen.policy)
    }

    /// The route itself, for whoever goes where it leads.
    pub fn chosen(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.chosen.get().map(|chosen| &chosen.route)
    }

    /// Has the answer tell the fields of its route, where the connection takes them; whether it does.
    pub fn put_fields_beside(&self) -> bool {
        self.takes_beside && self.policy().is_some() && self.put_beside(FIELDS)
    }

    /// Has the answer tell the request id, where the connection takes it; whether it does.
    pub fn put_id_beside(&self) -> bool {
        self.takes_beside && self.put_beside(REQUEST_ID)
    }

    /// Has the answer tell the rate limit, where the connection takes it; whether it does.
    pub fn put_quota_beside(&self, quota: Quota) -> bool {
        self.takes_beside && self.quota.set(quota).is_ok() && self.put_beside(QUOTA)
    }

    fn put_beside(&self, what: u8) -> bool {
        self.beside.store(self.beside.load(Ordering::Relaxed) | what, Ordering::Relaxed);
        true
    }

    /// Nothing that was put beside the answer belongs to the one that takes its place.
    pub fn clear_beside(&self) {
        self.beside.store(0, Ordering::Relaxed);
    }

    /// What is to be told besides the head of the answer.
    pub fn beside(&self) -> Beside<'_> {
        let beside = self.beside.load(Ordering::Relaxed);
        Beside {
            fields: self.policy().filter(|_| beside & FIELDS != 0).map(|policy| &*policy.fields),
            request_id: self.request_id.get().filter(|_| beside & REQUEST_ID != 0),
            quota: self.quota.get().filter(|_| beside & QUOTA != 0),
        }
    }

    /// Notes the upstream that the request was handed to, as it is configured.
    pub fn set_upstream(&self, label: &Arc<str>) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(label.clone());
    }

    /// The last upstream that the request was handed to.
    pub fn upstream(&self) -> Option<Arc<str>> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why the request was refused.
    pub fn refused(&self, reason: Reason) {
        self.reason.store(reason as u8 + 1, Ordering::Relaxed);
    }

    /// Why it was, if it was.
    pub fn reason(&self) -> Option<Reason> {
        let place = self.reason.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(place)).copied()
    }

    /// It is over at `moment`, which its connection happens to know: to look at the clock once for all who ask.
    pub fn ends(&self, moment: Instant) {
        let _ = self.ended.set(moment);
    }

    /// When it was over; now, if nobody has said so before.
    pub fn ended(&self) -> Instant {
        *self.ended.get_or_init(Instant::now)
    }

    /// Asks for the connection to be closed after this answer (HTTP/1).
    pub fn close_after(&self) {
        self.close.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for that.
    pub fn closes(&self) -> bool {
        self.close.load(Ordering::Relaxed)
    }

    /// The request body was read to its end.
    pub fn body_ends(&self) {
        self.body_ended.store(true, Ordering::Relaxed);
    }

    /// Whether it was; otherwise the client may still be sending it.
    pub fn body_ended(&self) -> bool {
        self.body_ended.load(Ordering::Relaxed)
    }

    /// Counts bytes of the request body.
    pub fn add_bytes_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of the request body so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Notes the route that was chosen, and what it asks for.
    pub fn choose(&self, policy: Arc<Policy>, route: Arc<dyn Any + Send + Sync>) {
        self.set_route(policy.route);
        let _ = self.chosen.set(Chosen { policy, route });
    }

    /// Notes which route was chosen, by its index in the metrics.
    pub fn set_route(&self, index: u32) {
        self.route.store(index, Ordering::Relaxed);
    }

    /// The route that was chosen; 0 where none was.
    pub fn route(&self) -> u32 {
        self.route.load(Ordering::Relaxed)
    }
}
