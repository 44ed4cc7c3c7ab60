//! What few connections come to, and is in a box of its own, so that thousands of idle ones do not each
//! hold room for it.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use atomic_waker::AtomicWaker;
use tokio::sync::Notify;

use super::admission::ClientPermit;
use super::progress::Pace;
use super::send_watch::SendLimits;
use super::stamp::Stamp;
use crate::memory::Charge;

/// The client that a trusted proxy named in front of its connection.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) peer: SocketAddr,
    pub(super) permit: Option<ClientPermit>,
}

/// What few connections come to: a client that is slow to read, an end that is told, an upgrade.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) announced: OnceLock<Announced>,
    /// What upstreams are told of its client's certificate.
    pub(super) certificate: OnceLock<Arc<str>>,
    /// For the chain of that, which the session keeps.
    pub(super) chain: OnceLock<Charge>,
    /// Whoever writes to an upgraded socket: it may be another task than the one that reads.
    pub(super) writer: AtomicWaker,
    pub(super) left: Notify,
    pub(super) told: Stamp,
    pub(super) close_idle: Stamp,
    pub(super) lingers_since: Stamp,
    pub(super) cancelled: AtomicU64,
    /// What the answer under way is held to, where its route says otherwise than the server.
    pub(super) send_limits: Mutex<Option<SendLimits>>,
    pub(super) blocked_since: Stamp,
    pub(super) blocked_total: AtomicU64,
    /// When bytes came last that may be of a request behind the one under way.
    pub(super) last_read: AtomicU64,
    pub(super) pace: Pace,
}
