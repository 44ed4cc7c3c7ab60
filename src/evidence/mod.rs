//! What was refused, kept for people to look at: a bounded quarantine of entries without secrets, listed under the
//! admin port and written on to cold storage.
//!
//! A refusal is handed in where it is answered or counted, at the price of a hash and, where nothing like it is
//! known, of a copy of the head ([`Intake`]). A task of its own ([`Evidence::keep`]) reads what
//! was copied, takes the secrets out ([`shown`]) and puts it in the [`Store`], at a bounded pace.
//! Nobody waits for any of it, and a fault in it costs no request: see [`Fuse`].

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::client_address::ClientKey;
use crate::exchange::Exchange;
use crate::protocol::Protocol;
use crate::refusal::Reason;
use crate::seen;
use crate::telemetry::Metrics;

pub mod cold;
mod entry;
mod fuse;
mod hide;
mod intake;
mod json;
mod keeper;
mod list;
mod severity;
mod shown;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use list::Query;
pub use severity::Severity;
pub use store::Eviction;

use entry::Entry;
use fuse::Fuse;
use intake::{Captured, Fate, HEAD, Intake, Likeness, MOST_BYTES};
use store::Store;

/// Bytes that are held besides the entries: what waits to be read, a batch on its way to cold storage before and
/// after its compression, and a list on its way to who asked for it.
pub const BESIDE: u64 = MOST_BYTES as u64 + (3 << 20);

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Entries.
    pub max_count: usize,
    /// Bytes of them.
    pub max_bytes: u64,
    /// Who goes when there are more.
    pub eviction: Eviction,
    /// Bytes of a body that are hashed, and shown where they can be.
    pub body_bytes: usize,
    /// Internal faults within `panic_window` that switch it off.
    pub panic_threshold: usize,
    /// See there.
    pub panic_window: Duration,
}

/// What is refused is told here. Clones share it.
#[derive(Debug, Clone)]
pub struct Evidence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    metrics: Arc<Metrics>,
    intake: Intake,
    store: Mutex<Store>,
    /// The number of the next entry.
    next: AtomicU64,
    fuse: Fuse,
    /// Something waits to be read.
    came: Notify,
    /// What is not in cold storage is to be written now.
    hurry: Notify,
    /// How often that was tried, and whether it failed the last time.
    rounds: watch::Sender<(u64, bool)>,
    /// Whether what is kept goes to cold storage.
    stores: bool,
    /// A fault that a test wants.
    #[cfg(test)]
    trip: std::sync::atomic::AtomicBool,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// The reason.
    pub reason: Reason,
    /// What it was in words.
    pub detail: &'a str,
    /// The key of the limit.
    pub limit: Option<&'static str>,
}

impl Why<'_> {
    /// Of which no more is known.
    pub const fn plain(reason: Reason) -> Self {
        Self { reason, detail: "", limit: None }
    }
}

impl Evidence {
    /// Keeps what `options` say. Whether anything goes on to cold storage is said by `stores`.
    pub fn new(options: Options, metrics: Arc<Metrics>, stores: bool) -> Self {
        let store = Store::new(options.max_count, options.max_bytes, options.eviction);
        Self(Arc::new(Inner {
            fuse: Fuse::new(options.panic_threshold, options.panic_window),
            intake: Intake::new(),
            store: Mutex::new(store),
            // Behind those of the last run, so that they rise from there. A million a millisecond never come.
            next: AtomicU64::new(intake::now() << 20),
            came: Notify::new(),
            hurry: Notify::new(),
            rounds: watch::Sender::new((0, false)),
            options,
            metrics,
            stores,
            #[cfg(test)]
            trip: std::sync::atomic::AtomicBool::new(false),
        }))
    }

    /// Bytes of a body that are to be kept while its request may be refused.
    pub fn body_bytes(&self) -> usize {
        self.0.options.body_bytes
    }

    /// A request was refused.
    pub fn request(&self, why: Why<'_>, exchange: &Exchange, status: Option<u16>) {
        let Some(severity) = Severity::of(why.reason) else { return };
        let inner = &*self.0;
        inner.fuse.guard(|| {
            let now = intake::now();
            let seen = exchange.seen.as_deref();
            let (method, path) = seen.map_or((&[][..], &[][..]), seen::Seen::asked);
            let judge = |body: &[u8]| {
                let likeness = Likeness { reason: why.reason, client: exchange.client, method, path, body };
                inner.intake.judge(&likeness, severity, now)
            };
            let fate = seen.map_or_else(|| judge(&[]), |seen| seen.with_body(judge));
            let Fate::New(signature, tally) = fate else { return };
            let mut head = Vec::new();
            let (mut head_length, mut body) = (0, Vec::new());
            if let Some(seen) = seen {
                head_length = seen.head_length();
                head.reserve_exact(head_length.min(HEAD) + 64);
                seen.write_head(HEAD, &mut head);
                body = seen.with_body(<[u8]>::to_vec);
            }
            let route = crate::telemetry::RouteId::from_index(exchange.route());
            inner.wait(Captured {
                signature,
                tally,
                reason: why.reason,
                severity,
                client: exchange.client,
                protocol: exchange.protocol,
                at: now,
                status,
                detail: why.detail.into(),
                limit: why.limit,
                request_id: exchange.id().into(),
                route: inner.metrics.route_label(route).into(),
                parsed: true,
                head,
                head_length,
                body_seen: exchange.bytes_in().max(body.len() as u64),
                body,
            });
        });
    }

    /// A connection was refused, whose request could not be read, or never came; `head` is what came of it.
    pub fn connection(
        &self,
        why: Why<'_>,
        client: IpAddr,
        protocol: Protocol,
        head: &[u8],
        request_id: &str,
    ) {
        let Some(severity) = Severity::of(why.reason) else { return };
        let inner = &*self.0;
        inner.fuse.guard(|| {
            let now = intake::now();
            let (method, path) = seen::asked(head);
            let likeness = Likeness { reason: why.reason, client, method, path, body: &[] };
            let Fate::New(signature, tally) = inner.intake.judge(&likeness, severity, now) else { return };
            inner.wait(Captured {
                signature,
                tally,
                reason: why.reason,
                severity,
                client,
                protocol,
                at: now,
                status: why.reason.status().filter(|_| !request_id.is_empty()).map(|status| status.as_u16()),
                detail: why.detail.into(),
                limit: why.limit,
                request_id: request_id.into(),
                route: "".into(),
                parsed: false,
                head: head.get(..HEAD).unwrap_or(head).to_vec(),
                head_length: head.len(),
                body: Vec::new(),
                body_seen: 0,
            });
        });
    }
}

impl Inner {
    fn wait(&self, captured: Captured) {
        #[cfg(test)]
        if self.trip.load(Ordering::Relaxed) {
            panic!("a fault that a test wants");
        }
        if self.intake.wait(captured) {
            self.came.notify_one();
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads up to `most` of what waits; whether any is left.
    fn read(&self, most: usize) -> bool {
        for _ in 0..most {
            let Some(captured) = self.intake.next() else { return false };
            if self.store().has_enough_of(ClientKey::from(captured.client)) {
                self.intake.forget(captured.signature);
                self.intake.drop_one();
                continue;
            }
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let entry = Arc::new(Entry::new(id, captured));
            let out = self.store().put(entry, self.stores);
            out.iter().for_each(|entry| self.intake.forget(entry.signature));
        }
        true
    }

    /// Shows in the metrics what there is.
    fn tell(&self) {
        let (count, bytes, evicted, lost) = {
            let store = self.store();
            (store.len(), store.bytes(), store.evicted(), store.lost())
        };
        self.metrics.quarantine(count, bytes, evicted);
        self.metrics.evidence_bounds(self.options.max_count, self.options.max_bytes);
        self.metrics.evidence(!self.fuse.is_blown(), self.fuse.total(), self.intake.dropped(), lost);
    }
}
