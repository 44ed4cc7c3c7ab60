//! Whoever keeps a connection to Redis, so that requests find one or none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::link::{Driver, Failure, Link};
use super::script::Ask;
use super::{Backend, Inner, Mode, Options, late};
use crate::deadline::within;
use crate::dial::Dialer;
use crate::limits::rate::bucket::Policy;
use crate::random;
use crate::telemetry::BackendFailure;

/// To connect may take this long: it is nobody's wait.
const CONNECT: Duration = Duration::from_secs(2);
/// From one attempt to the next, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// A connection that lived for this long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// A connection is asked this often whether it still is one: nobody else may ask for hours, and the first
/// who does should not wait for a peer that is gone.
const BEAT: Duration = Duration::from_secs(5);
/// Failures to connect are told this often, besides the first.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Backend {
    /// Waits until it is known whether Redis answers, and no longer than this.
    pub async fn settle(&self, longest: Duration) {
        let Some(inner) = self.0.as_ref().filter(|inner| inner.mode() != Mode::Local) else { return };
        let mut settled = inner.settled.subscribe();
        let _ = within(longest, settled.wait_for(|settled| *settled)).await;
    }

    /// Connects, and connects again, for as long as it is polled.
    pub async fn keep(self, dialer: Dialer) {
        let Some(inner) = self.0 else { return };
        let mut pause = FIRST;
        let mut told: Option<Instant> = None;
        loop {
            let Some(options) = inner.options.load_full() else {
                inner.set(Mode::Local);
                inner.changed.notified().await;
                continue;
            };
            let opened = within(CONNECT, open(&dialer, &options)).await;
            let began = Instant::now();
            match opened.unwrap_or_else(|| Err(late(CONNECT))) {
                Ok((link, driver)) => {
                    told = None;
                    tracing::info!(redis = %options.url, "rate limits are shared");
                    inner.hold(link, driver, &options).await;
                }
                Err(failure) => {
                    inner.series.failed(failure.kind);
                    if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                        told = Some(Instant::now());
                        tell_lost(&options, &failure);
                    }
                }
            }
            inner.settled.send_replace(true);
            if began.elapsed() >= GOOD {
                pause = FIRST;
            }
            // Many that lost it in one moment do not come back in one.
            let jittered = pause.mul_f64(0.5 + random::fraction() / 2.0);
            pause = (pause * 2).min(LONGEST);
            let is_same = |now: &Option<Arc<Options>>| now.as_ref().is_some_and(|now| now.url == options.url);
            tokio::select! {
                () = sleep(jittered) => {}
                () = inner.otherwise(is_same) => pause = FIRST,
            }
        }
    }
}

impl Inner {
    /// Waits until the options are others.
    async fn otherwise(&self, is_same: impl Fn(&Option<Arc<Options>>) -> bool) {
        while is_same(&self.options.load()) {
            self.changed.notified().await;
        }
    }

    /// Has requests ask on this link until it is lost or no longer the right one.
    async fn hold(&self, link: Link, mut driver: Driver, options: &Arc<Options>) {
        let is_same = || {
            let now = self.options.load();
            now.as_ref()
                .is_some_and(|now| now.url == options.url && now.tls.is_some() == options.tls.is_some())
        };
        // They may have changed while it was being opened.
        if !is_same() {
            return;
        }
        let link = Arc::new(link);
        self.link.store(Some(link.clone()));
        self.set(Mode::Shared);
        self.metrics.rate_limit_backend_up(true);
        self.settled.send_replace(true);
        loop {
            let current = self.link.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, &link));
            if !is_same() || !current {
                break;
            }
            tokio::select! {
                biased;
                () = &mut driver => {
                    self.failed(&link, &Failure::new(BackendFailure::Closed, "the connection was closed"));
                }
                () = self.changed.notified() => {}
                () = sleep(BEAT) => {
                    let probe = probe(options);
                    let beat = within(options.timeout, link.ask(&probe));
                    let answer = tokio::select! {
                        biased;
                        () = &mut driver => Some(Err(Failure::new(BackendFailure::Closed, "the connection was closed"))),
                        answer = beat => answer,
                    };
                    if let Err(failure) = answer.unwrap_or_else(|| Err(late(options.timeout))) {
                        self.failed(&link, &failure);
                    }
                }
            }
        }
        // What was put in its place meanwhile is not ours to take.
        self.link.compare_and_swap(&link, None);
        if let Some(options) = &*self.options.load() {
            self.set(options.without());
            self.metrics.rate_limit_backend_up(false);
        }
    }
}

/// A connection that has answered as a request would want it to.
async fn open(dialer: &Dialer, options: &Options) -> Result<(Link, Driver), Failure> {
    let (link, mut driver) = Link::open(dialer, options).await?;
    let probe = probe(options);
    let answered = tokio::select! {
        biased;
        () = &mut driver => return Err(Failure::new(BackendFailure::Closed, "the connection was closed")),
        answered = within(options.timeout, link.ask(&probe)) => answered,
    };
    answered.unwrap_or_else(|| Err(late(options.timeout)))?;
    Ok((link, driver))
}

/// A question that writes, under a name that nobody counts by, and leaves nothing behind.
fn probe(options: &Options) -> Ask {
    let policy = Policy {
        max_requests: 1_000,
        window: Duration::from_secs(1),
        burst: 1_000,
        block: Duration::ZERO,
        max_keys: 1,
    };
    Ask::new(format_args!("{}rl:probe", options.prefix), &policy)
}

/// Says what is done without Redis, and why it is without.
pub(super) fn tell_lost(options: &Options, failure: &Failure) {
    let instead = if options.refuse { "requests are refused" } else { "limits are local" };
    tracing::warn!(
        redis = %options.url,
        kind = failure.kind.label(),
        error = %failure.detail,
        "shared rate limits cannot be asked for; {instead}"
    );
}
