//! What everybody around one connection shares: its clocks, its counts, and the orders given to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use super::admission::{ClientPermit, Permits};
pub use super::order::Order;
use super::order::Orders;
use super::progress::Progress;
use super::rare::{Announced, Rare};
use super::registry::Entry;
use super::secure::Spoken;
use super::send_watch::SendLimits;
use super::stamp::Stamp;
use crate::exchange::Scarce;
use crate::memory::{Charge, Share};
use crate::protocol::Protocol;
use crate::refusal::Refusal;

/// Milliseconds that the news of the end may take to a client and back (RFC 9113 section 6.8 asks
/// for a round trip): a client that is busy or far away still has what it sent before served.
const TELLING: u64 = 2000;

/// One connection. Lives as long as anything that belongs to it, an upgraded socket included;
/// with it go its place in the registry and its share of the connection limits.
#[derive(Debug)]
pub struct ConnState {
    /// The socket's other end; whom the connection counts for is [`ConnState::peer`].
    pub socket_peer: SocketAddr,
    /// What it holds while it waits.
    pub held: Option<Charge>,
    /// Accepted while draining, when an open listener still promised to serve.
    pub accepted_in_drain: bool,
    /// Milliseconds of age at which it is asked to close; the most there are: never.
    max_age: u32,
    epoch: Instant,
    waker: AtomicWaker,
    orders: Orders,
    requests: AtomicU64,
    in_flight: AtomicU32,
    answering: AtomicBool,
    upgraded: AtomicBool,
    body_left: AtomicBool,
    head_since: Stamp,
    idle_since: AtomicU64,
    written: AtomicU64,
    /// 0, or 1 + what is scarce.
    probe_only: AtomicU8,
    /// Whether it speaks TLS, and which.
    pub tls: Spoken,
    /// How far its client gets.
    pub progress: Progress,
    permits: Permits,
    pub(super) rare: OnceLock<Box<Rare>>,
    entry: Entry,
}

impl ConnState {
    /// A connection that begins now: `permits` and `entry` are held for as long as anybody holds it.
    pub fn new(socket_peer: SocketAddr, permits: Permits, entry: Entry) -> Self {
        Self {
            socket_peer,
            held: None,
            accepted_in_drain: false,
            max_age: u32::MAX,
            epoch: Instant::now(),
            waker: AtomicWaker::new(),
            orders: Orders::default(),
            requests: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            answering: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            body_left: AtomicBool::new(false),
            head_since: Stamp::default(),
            idle_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            probe_only: AtomicU8::new(0),
            tls: Spoken::default(),
            progress: Progress::default(),
            permits,
            rare: OnceLock::new(),
            entry,
        }
    }

    /// What it has come to that few do.
    pub(super) fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn announced(&self) -> Option<&Announced> {
        self.rare.get()?.announced.get()
    }

    fn stamp(&self, of: impl FnOnce(&Rare) -> &Stamp) -> Option<u64> {
        of(self.rare.get()?).get()
    }

    // ----- the other end

    /// The other end: the socket's, or the one that a trusted proxy has announced.
    pub fn peer(&self) -> SocketAddr {
        self.announced().map_or(self.socket_peer, |announced| announced.peer)
    }

    /// From now on the connection is one of `peer`. Happens once.
    ///
    /// # Errors
    /// It has all the connections that one client may have.
    pub fn announce(&self, peer: SocketAddr) -> Result<(), Refusal> {
        let (permit, refused) = match self.permits.for_client(peer.ip()) {
            Ok(permit) => (permit, Ok(())),
            Err(refusal) => (None, Err(refusal)),
        };
        // Refused or not, it is this client that it happens to.
        let _ = self.rare().announced.set(Announced { peer, permit });
        refused
    }

    /// What its client holds over all of its connections; `None` where clients are not told apart.
    pub fn share(&self) -> Option<&Arc<Share>> {
        let announced = self.announced().and_then(|announced| announced.permit.as_ref());
        announced.map(ClientPermit::share).or_else(|| self.permits.share())
    }

    /// From now on only probes are answered on it, for want of what is `scarce`; and if there are too
    /// many of its kind, the oldest makes an end.
    pub fn probes_only(self: &Arc<Self>, scarce: Scarce, protocol: Protocol) {
        let first =
            self.probe_only.compare_exchange(0, 1 + scarce as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.permits.reserve(self, protocol);
        }
    }

    /// What there was too little of for more than probes.
    pub fn probe_only(&self) -> Option<Scarce> {
        match self.probe_only.load(Ordering::Acquire).checked_sub(1)? {
            0 => Some(Scarce::Connections),
            _ => Some(Scarce::Memory),
        }
    }

    // ----- time

    /// Milliseconds of its life so far.
    fn now(&self) -> u64 {
        self.millis(Instant::now())
    }

    /// An instant as a moment of its life.
    fn millis(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// A moment of its life as an instant.
    fn at(&self, millis: u64) -> Instant {
        self.epoch + Duration::from_millis(millis)
    }

    /// How long it has been open.
    pub fn age(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// It is asked to close at this age; at none, if that is further off than seven weeks.
    pub fn ages_by(&mut self, age: Duration) {
        self.max_age = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
    }

    /// Whether it had reached the age to close at `moment`.
    pub fn is_old_at(&self, moment: Instant) -> bool {
        let age = moment.saturating_duration_since(self.epoch);
        self.max_age < u32::MAX && age.as_millis() >= self.max_age.into()
    }

    // ----- orders

    /// Gives an order and wakes whoever drives the connection.
    pub fn order(&self, order: Order) {
        if order == Order::CloseIdle {
            self.rare().close_idle.set(self.now());
        }
        self.orders.give(order, &self.waker);
        // Whoever names itself meanwhile sees the order, or is seen here: the two share no more than this.
        fence(Ordering::SeqCst);
        if let Some(rare) = self.rare.get() {
            rare.writer.wake();
        }
    }

    /// The client has just been told that the connection ends.
    pub fn tell(&self) {
        self.rare().told.set(self.now());
    }

    /// When it was told so long ago that what it sends from then on cannot have been on its way before.
    pub fn told_long_ago(&self) -> Option<Instant> {
        self.stamp(|rare| &rare.told).map(|told| self.at(told + TELLING))
    }

    /// Whether it was told so long ago that what it sends now cannot have been on its way before.
    pub fn was_told_long_ago(&self) -> bool {
        self.stamp(|rare| &rare.told).is_some_and(|told| self.now().saturating_sub(told) >= TELLING)
    }

    /// Whether the order was given.
    pub fn ordered(&self, order: Order) -> bool {
        self.orders.are(order as u8)
    }

    /// Whether it is to go now, or once what has come is answered.
    pub fn is_to_leave(&self) -> bool {
        self.orders.are(Order::Abort as u8 | Order::MakeRoom as u8)
    }

    /// Once [`Order::CloseIdle`] was given: when that was, or when it was idle for so long, if that is
    /// later.
    pub fn closes_after(&self, idle: Duration) -> Option<Instant> {
        if !self.ordered(Order::CloseIdle) {
            return None;
        }
        let ordered = self.stamp(|rare| &rare.close_idle).map_or(self.epoch, |at| self.at(at));
        Some(ordered.max(self.idle_since() + idle))
    }

    /// Keeps the task named while orders come: to be woken by one is to be forgotten for the next.
    pub fn stay_registered(&self, waker: &Waker) {
        self.orders.keep_registered(waker, &self.waker);
    }

    /// Names the task to wake on the first order.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the task that is named: its time is over, unless that was put off.
    pub(super) fn wake(&self) {
        self.orders.look(&self.waker);
    }

    /// Has it woken once `at` is over, or earlier; a little later where nobody waits for it by then (see
    /// [`super::sweep`]).
    pub(super) fn wake_at(&self, at: Instant) {
        self.entry.wake_at(at);
    }

    /// Names the task that writes to an upgraded socket, which is to ask for orders from then on.
    pub fn register_writer(&self, waker: &Waker) {
        self.rare().writer.register(waker);
        fence(Ordering::SeqCst);
    }

    // ----- requests

    /// A request head is whole; returns when its first byte came, and its number from 1.
    pub fn request_begins(&self) -> (Instant, u64) {
        let started = self.head_since.get();
        self.head_since.clear();
        (started.map_or_else(Instant::now, |started| self.at(started)), self.count_request())
    }

    /// Likewise for a stream: by then the next head may be under way already, whose clock runs on.
    pub fn stream_begins(&self) -> (Instant, u64) {
        (Instant::now(), self.count_request())
    }

    fn count_request(&self) -> u64 {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A response head is on its way out.
    pub fn answer_begins(&self) {
        self.answering.store(true, Ordering::Release);
    }

    /// A request is over since `moment`: `answered` to its end, or given up. Returns how many were given up.
    pub fn request_ends(&self, answered: bool, moment: Instant) -> u64 {
        self.idle_since.store(self.millis(moment), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        if answered {
            self.rare.get().map_or(0, |rare| rare.cancelled.load(Ordering::Relaxed))
        } else {
            self.rare().cancelled.fetch_add(1, Ordering::Relaxed) + 1
        }
    }

    /// When it was accepted.
    pub fn accepted(&self) -> Instant {
        self.epoch
    }

    /// Requests whose answer is not finished.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Requests that began, answered or not.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What came before the first request is over: the connection is idle from now on.
    pub fn idles(&self) {
        self.idle_since.store(self.now(), Ordering::Relaxed);
    }

    /// When the last request ended, a PROXY header came, or the connection was accepted.
    pub fn idle_since(&self) -> Instant {
        self.at(self.idle_since.load(Ordering::Relaxed))
    }

    /// How long nothing has been under way, in either direction; `None` while something is.
    pub fn idle_for(&self) -> Option<Duration> {
        let busy = self.in_flight() > 0
            || self.is_answering()
            || self.is_upgraded()
            || self.head_since.get().is_some()
            || self.stamp(|rare| &rare.lingers_since).is_some();
        let since = self.idle_since.load(Ordering::Relaxed);
        (!busy).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Everything is said; only what the client still sends is waited for.
    pub fn lingers(&self) {
        self.rare().lingers_since.set(self.now());
    }

    /// How long that has been so.
    pub fn lingers_for(&self) -> Option<Duration> {
        self.stamp(|rare| &rare.lingers_since)
            .map(|since| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Notes whether the last request's body was left unread, so that more of it may come.
    pub fn leaves_body(&self, left: bool) {
        self.body_left.store(left, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn body_left(&self) -> bool {
        self.body_left.load(Ordering::Relaxed)
    }

    /// The connection leaves HTTP: what follows belongs to the handler.
    pub fn upgrades(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// The socket of an upgraded connection is gone.
    pub fn leave(&self) {
        if self.is_upgraded() {
            self.rare().left.notify_one();
        }
    }

    /// Waits for that.
    pub async fn has_left(&self) {
        self.rare().left.notified().await;
    }

    // ----- reading

    /// The first byte of a head has come, unless one is being read already.
    pub fn head_begins(&self) {
        if self.head_since.get().is_none() {
            self.head_since.set(self.now());
        }
    }

    /// That was at `moment`, and no head was being read.
    pub fn head_began(&self, moment: Instant) {
        self.head_since.set(self.millis(moment));
    }

    /// A head that is half read began with the last byte read.
    pub fn head_began_with_last_read(&self) {
        self.head_since.set(self.rare().last_read.load(Ordering::Relaxed));
    }

    /// No head is being read.
    pub fn head_ends(&self) {
        self.head_since.clear();
    }

    /// Since when a head is being read.
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since.get().map(|since| self.at(since))
    }

    /// Bytes came while a request was in flight: they may be the next one's.
    pub fn read_ahead(&self) {
        self.rare().last_read.store(self.now(), Ordering::Relaxed);
    }

    /// Bytes a second that moved since the last look, if that was a second ago or more and it is the
    /// client who is waited for. To be called by one task, again and again.
    pub fn pace_of_client(&self, span: u64) -> Option<u64> {
        let waited_for = !self.is_upgraded() && (self.blocked_at().is_some() || self.progress.waits());
        if !waited_for || self.progress.stands_in_line() {
            // Judged afresh when it is waited for again.
            self.rare.get()?.pace.forget();
            return None;
        }
        let moved = self.progress.uploaded_so_far() + self.written.load(Ordering::Relaxed);
        self.rare().pace.since_last_look(span, self.now(), moved)
    }

    // ----- writing

    /// Holds the client to other bounds while it takes the answer under way; `None`: to the common.
    pub fn hold_to(&self, limits: Option<SendLimits>) {
        if limits.is_none() && self.rare.get().is_none() {
            return;
        }
        *self.rare().send_limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Those bounds.
    pub fn send_limits(&self) -> Option<SendLimits> {
        let rare = self.rare.get()?;
        *rare.send_limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether bytes of an answer may still be on their way to the socket.
    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire)
    }

    /// The socket took `bytes`.
    pub fn wrote(&self, bytes: usize) {
        // One task writes; the others only read.
        let written = self.written.load(Ordering::Relaxed);
        self.written.store(written + bytes as u64, Ordering::Relaxed);
        self.unblocked();
    }

    /// The socket takes nothing more for now.
    pub fn blocked(&self) {
        let rare = self.rare();
        if rare.blocked_since.get().is_none() {
            rare.blocked_since.set(self.now());
        }
    }

    fn blocked_at(&self) -> Option<u64> {
        self.stamp(|rare| &rare.blocked_since)
    }

    /// It is not the client who is waited for.
    pub fn unblocked(&self) {
        if let Some(rare) = self.rare.get()
            && let Some(since) = rare.blocked_since.get()
        {
            rare.blocked_since.clear();
            rare.blocked_total.fetch_add(self.now().saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// Everything that was to be written is written.
    pub fn flushed(&self) {
        self.unblocked();
        if self.in_flight() == 0 {
            self.answering.store(false, Ordering::Release);
        }
    }

    /// Since when the socket takes nothing.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked_at().map(|since| self.at(since))
    }

    /// Time in which the socket took nothing, and bytes that it took, both since the beginning.
    pub fn sent(&self) -> (Duration, u64) {
        let now_blocked = self.blocked_at().map_or(0, |since| self.now().saturating_sub(since));
        let before = self.rare.get().map_or(0, |rare| rare.blocked_total.load(Ordering::Relaxed));
        let total = before + now_blocked;
        (Duration::from_millis(total), self.sent_bytes())
    }

    /// Bytes that it took since the beginning.
    pub fn sent_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}
