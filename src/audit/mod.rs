//! The audit behind `nessen probe`: small, bounded attacks on a server that one runs, each with its verdict.
//!
//! A [`Case`] says what it tries, tries it over a raw connection of its own, and judges what it saw. What it
//! may spend is bounded by [`limits`]. [`run`] runs the cases group by group, and asks an honest request
//! after each group: a server that no longer answers it has failed, whatever else it did.
//!
//! A case says no more than it saw. What the standards permit is never [`Verdict::Open`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub mod report;

mod cases;
mod run;
mod target;
mod wire;

pub use cases::all;
pub use run::{Progress, Unusable, run, select};
pub use target::{Http2, Options, Target, TargetError, Tls, Url};

/// What an audit may spend. `nessen probe --help` and `docs/probe.md` say the same.
pub mod limits {
    /// Bytes that one case sends at most, over all of its connections.
    pub const SENT: u64 = 4 << 20;
    /// Bytes that one case reads at most.
    pub const READ: u64 = 16 << 20;
    /// Connections open at a time, for all cases together.
    pub const CONNECTIONS: usize = 64;
    /// The same for a target on the loopback, where it is asked for.
    pub const CONNECTIONS_LOOPBACK: usize = 512;
    /// Streams that one case opens on an HTTP/2 connection.
    pub const STREAMS: u32 = 2000;
}

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The server held.
    Held,
    /// A client can do that to it.
    Open,
    /// What was seen does not tell, or is a matter of choice.
    Unclear,
    /// It was not tried.
    Skipped,
}

impl Verdict {
    /// Its word in tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Open => "open",
            Self::Unclear => "unclear",
            Self::Skipped => "skipped",
        }
    }
}

/// A verdict and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// What happened, as in `408 after 10.0 s`.
    pub what: String,
}

impl Outcome {
    fn held(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Held, what: what.into() }
    }

    fn open(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Open, what: what.into() }
    }

    fn unclear(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unclear, what: what.into() }
    }

    fn skipped(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, what: what.into() }
    }

    /// The same, where an open end is no more than a matter of choice.
    fn at_most_unclear(self) -> Self {
        match self.verdict {
            Verdict::Open => Self { verdict: Verdict::Unclear, ..self },
            _ => self,
        }
    }
}

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One attack.
#[derive(Clone)]
pub struct Case {
    /// Its name, as in `slow-head`.
    pub name: &'static str,
    /// Its group, as in `slow`.
    pub group: &'static str,
    /// What it tries.
    pub what: &'static str,
    /// What to change where it is open.
    pub advice: &'static str,
    /// The keys of Nessen's configuration that hold it; none where it holds always.
    pub keys: &'static [&'static str],
    /// Whether it is unclear at most: what it tries is permitted, or how far it may go is a matter of choice.
    pub tolerated: bool,
    act: Arc<dyn Fn(Target) -> Running + Send + Sync>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a group of cases has in common where one of them is open.
#[derive(Debug, Clone, Copy)]
struct Cure {
    advice: &'static str,
    keys: &'static [&'static str],
}

impl Cure {
    /// A case of this cure.
    fn case<F>(
        self,
        group: &'static str,
        name: &'static str,
        what: &'static str,
        act: impl Fn(Target) -> F + Send + Sync + 'static,
    ) -> Case
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let act = Arc::new(move |target| Box::pin(act(target)) as Running);
        Case { name, group, what, advice: self.advice, keys: self.keys, tolerated: false, act }
    }
}

impl Case {
    /// The same, never worse than unclear.
    fn tolerated(self, tolerated: bool) -> Self {
        Self { tolerated, ..self }
    }
}

/// What was found by one case.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The case.
    pub case: Case,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: std::time::Duration,
}

/// All that was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The URL that was audited.
    pub url: String,
    /// The addresses of its host; the first that took a connection was audited.
    pub addresses: Vec<std::net::SocketAddr>,
    /// Whether HTTP/2 by prior knowledge is spoken; none where it was not asked.
    pub http2: Option<bool>,
    /// Why it was not taken to its end, where it was not.
    pub cut_off: Option<String>,
    /// What was found, in the order of the table.
    pub findings: Vec<Finding>,
    /// How long all of it took.
    pub took: std::time::Duration,
}

impl Report {
    /// How many findings have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.outcome.verdict == verdict).count()
    }
}
