//! One request and its answer, as the layers see it from the side.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderValue, Request};
use tokio::time::Instant;

use crate::memory::{Purpose, Share};
use crate::policy::Policy;
use crate::protocol::Protocol;

/// What there was too little of to serve a connection in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// It was accepted over `limits.max_connections`.
    Connections,
    /// `limits.memory` had no room for its request.
    Memory,
}

/// What is known of a request apart from its head: it travels in the request's extensions as an
/// `Arc<Exchange>`, and stays with the response body until the last byte.
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
    /// Identifies the exchange in the log, the answer and the problem body. Set once, by the
    /// request id layer.
    pub request_id: OnceLock<HeaderValue>,
    /// What its route asks of the layers. Set once, when the route is chosen.
    pub policy: OnceLock<Arc<Policy>>,
    /// The route itself, for whoever goes where it leads.
    pub chosen: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// What is held for as long as the request is served; a tunnel that outlives it takes it over.
    pub permit: OnceLock<Arc<dyn Any + Send + Sync>>,
    upstream: Mutex<Option<Arc<str>>>,
    route: AtomicU32,
    bytes_in: AtomicU64,
    close: AtomicBool,
    body_ended: AtomicBool,
    called: AtomicBool,
}

impl Exchange {
    /// An exchange that begins at `started`.
    pub fn new(peer: SocketAddr, client: IpAddr, protocol: Protocol, started: Instant) -> Self {
        Self {
            peer,
            client,
            trusted_peer: false,
            protocol,
            started,
            fragment: false,
            probe_only: None,
            purpose: Purpose::Work,
            share: None,
            promised: false,
            request_id: OnceLock::new(),
            policy: OnceLock::new(),
            chosen: OnceLock::new(),
            permit: OnceLock::new(),
            upstream: Mutex::new(None),
            route: AtomicU32::new(0),
            bytes_in: AtomicU64::new(0),
            close: AtomicBool::new(false),
            body_ended: AtomicBool::new(false),
            called: AtomicBool::new(false),
        }
    }

    /// The exchange that `request` belongs to; `None` where a layer is used outside the server.
    pub fn of<B>(request: &Request<B>) -> Option<&Arc<Self>> {
        request.extensions().get()
    }

    /// The request id, or nothing before the layer that sets it.
    pub fn id(&self) -> &str {
        self.request_id.get().and_then(|id| id.to_str().ok()).unwrap_or("")
    }

    /// What its route asks of the layers, once it is known.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.get()
    }

    /// Notes the upstream that the request was handed to, as it is configured.
    pub fn set_upstream(&self, label: &Arc<str>) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(label.clone());
    }

    /// The last upstream that the request was handed to.
    pub fn upstream(&self) -> Option<Arc<str>> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the connection to be closed after this answer (HTTP/1).
    pub fn close_after(&self) {
        self.close.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for that.
    pub fn closes(&self) -> bool {
        self.close.load(Ordering::Relaxed)
    }

    /// The layers have been called, and may have answered at once.
    pub fn called(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    /// Whether they have: what is decided from now on comes after the parser looked.
    pub fn was_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
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
    pub fn choose(&self, policy: &Arc<Policy>) {
        self.set_route(policy.route);
        let _ = self.policy.set(policy.clone());
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
