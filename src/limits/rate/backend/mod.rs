//! Limits that several processes share, in Redis or Valkey.
//!
//! A request asks, and waits for the answer no longer than `rate_limit.redis_timeout`. Where there is none,
//! nobody asks again: the circuit is open, and one load of an atomic tells a request to make do with local
//! limits. [`keeper`](Backend::keep) closes it, once it has asked Redis itself and had an answer in time.
//!
//! What Redis says of a client is noted in the local buckets. So a client that is certain to be refused is
//! refused without a question, which keeps a flood from Redis; and where Redis goes away, local limits go on
//! where the shared ones were.

mod keeper;
mod link;
mod script;
#[cfg(test)]
mod test_server;
mod url;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use tokio::sync::{Notify, watch};

use self::link::{Failure, Link};
use self::script::Ask;
use super::bucket::Allowance;
use super::key::Key;
use super::rule::Rule;
use crate::deadline::within;
use crate::telemetry::{BackendFailure, BackendSeries, Metrics};

pub use url::RedisUrl;

/// Questions without an answer, of all requests together. Beyond them requests are not kept waiting.
const MOST_ASKED: usize = 1024;

/// Where the shared limits are, and what to do without them.
#[derive(Clone)]
pub struct Options {
    /// Where Redis is.
    pub url: RedisUrl,
    /// How TLS is spoken with it, where it is.
    pub tls: Option<Arc<ClientConfig>>,
    /// Longest time that a request waits for it.
    pub timeout: Duration,
    /// What the name of every key in it begins with.
    pub prefix: Arc<str>,
    /// Whether requests are refused while it does not answer.
    pub refuse: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a request is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// Limits are local.
    Local,
    /// Ask.
    Shared,
    /// Nobody is there to be asked: local limits stand in.
    FallBack,
    /// Likewise, and that is a reason to refuse.
    Refuse,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Local, Self::Shared, Self::FallBack, Self::Refuse];
}

/// Asks on behalf of requests. Clones are one.
///
/// The default is never anything but local.
#[derive(Debug, Clone, Default)]
pub struct Backend(Option<Arc<Inner>>);

struct Inner {
    mode: AtomicU8,
    link: ArcSwapOption<Link>,
    options: ArcSwapOption<Options>,
    /// For the keeper: there are other options, or the connection was given up.
    changed: Notify,
    asked: AtomicUsize,
    /// Whether a first attempt to connect is over.
    settled: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    series: BackendSeries,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("mode", &self.mode()).finish_non_exhaustive()
    }
}

/// The answer to a question; nothing where there is none.
pub(super) type Question = Pin<Box<dyn Future<Output = Option<Allowance>> + Send>>;

impl Backend {
    /// Local until it is [`configure`](Self::configure)d.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self(Some(Arc::new(Inner {
            mode: AtomicU8::new(Mode::Local as u8),
            link: ArcSwapOption::empty(),
            options: ArcSwapOption::empty(),
            changed: Notify::new(),
            asked: AtomicUsize::new(0),
            settled: watch::Sender::new(false),
            metrics: metrics.clone(),
            series: metrics.rate_limit_backend(),
        })))
    }

    /// Shares limits as `options` say, or keeps them local. Where what leads to Redis is the same as before,
    /// so is the connection.
    pub fn configure(&self, options: Option<Options>) {
        let Some(inner) = &self.0 else { return };
        let before = inner.options.swap(options.map(Arc::new));
        let now = inner.options.load_full();
        match (&now, &before) {
            (None, None) => {}
            (None, Some(_)) => {
                inner.link.store(None);
                inner.set(Mode::Local);
                inner.metrics.rate_limit_backend_up(true);
                inner.changed.notify_one();
            }
            (Some(new), Some(old)) if new.url == old.url && new.tls.is_some() == old.tls.is_some() => {
                if inner.mode() != Mode::Shared {
                    inner.set(new.without());
                }
                inner.changed.notify_one();
            }
            (Some(new), _) => {
                inner.link.store(None);
                inner.set(new.without());
                inner.metrics.rate_limit_backend_up(false);
                inner.changed.notify_one();
            }
        }
    }

    /// What requests are to do at this moment.
    pub(super) fn mode(&self) -> Mode {
        self.0.as_ref().map_or(Mode::Local, |inner| inner.mode())
    }

    /// Asks for one token; `None` where it cannot be asked for.
    pub(super) fn ask(&self, rule: &Rule, key: &Key) -> Option<Question> {
        let inner = self.0.as_ref()?;
        let link = inner.link.load_full()?;
        let options = inner.options.load_full()?;
        let Some(place) = Asked::begin(inner) else {
            inner.series.failed(BackendFailure::Overflow);
            return None;
        };
        inner.series.asked();
        let ask = Ask::new(format_args!("{}rl:{:016x}:{key}", options.prefix, rule.scope()), rule.policy());
        Some(Box::pin(async move {
            let said = within(options.timeout, link.ask(&ask)).await;
            match said.unwrap_or_else(|| Err(late(options.timeout))) {
                Ok(said) => Some(said),
                Err(failure) => {
                    place.0.failed(&link, &failure);
                    None
                }
            }
        }))
    }

    /// Local limits stand in for a request.
    pub(super) fn falls_back(&self) {
        if let Some(inner) = &self.0 {
            inner.series.fell_back();
        }
    }

    /// Whether a request that had no answer is refused.
    pub(super) fn refuses(&self) -> bool {
        let options = self.0.as_ref().map(|inner| inner.options.load());
        options.is_some_and(|options| options.as_ref().is_some_and(|options| options.refuse))
    }
}

fn late(timeout: Duration) -> Failure {
    Failure::new(BackendFailure::Timeout, format!("no answer within {} ms", timeout.as_millis()))
}

impl Options {
    /// What requests do while Redis does not answer.
    fn without(&self) -> Mode {
        if self.refuse { Mode::Refuse } else { Mode::FallBack }
    }
}

impl Inner {
    fn mode(&self) -> Mode {
        let mode = self.mode.load(Ordering::Acquire);
        Mode::ALL.get(usize::from(mode)).copied().unwrap_or(Mode::Local)
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// Opens the circuit, if it is this link that closes it and the failure is one to do so for.
    fn failed(&self, link: &Arc<Link>, failure: &Failure) {
        self.series.failed(failure.kind);
        if !link.is_lost(failure.kind) {
            return;
        }
        let before = self.link.compare_and_swap(link, None);
        // Somebody else was first, or it was another link's.
        if before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, link)) {
            return;
        }
        if let Some(options) = &*self.options.load() {
            self.set(options.without());
            self.metrics.rate_limit_backend_up(false);
            keeper::tell_lost(options, failure);
        }
        self.changed.notify_one();
    }
}

/// One of the questions that are on their way.
struct Asked(Arc<Inner>);

impl Asked {
    fn begin(inner: &Arc<Inner>) -> Option<Self> {
        let asked = Self(inner.clone());
        (inner.asked.fetch_add(1, Ordering::Relaxed) < MOST_ASKED).then_some(asked)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::Relaxed);
    }
}
