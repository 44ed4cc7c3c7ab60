//! The series of a rate limit that several processes share.

use metrics::Counter;

/// Why a question about a shared rate limit had no answer, or there was nobody to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendFailure {
    /// No answer in time.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection was lost.
    Closed,
    /// The server did not accept user or password, or asked for them.
    Auth,
    /// The server answered with an error.
    Error,
    /// Too many questions were waiting for their answers.
    Overflow,
}

impl BackendFailure {
    /// Every one of them.
    pub const ALL: [Self; 6] =
        [Self::Timeout, Self::Connect, Self::Closed, Self::Auth, Self::Error, Self::Overflow];

    /// The value of `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Auth => "auth",
            Self::Error => "error",
            Self::Overflow => "overflow",
        }
    }
}

/// What is counted of the questions. Every method is lock-free.
#[derive(Debug)]
pub struct BackendSeries {
    pub(super) errors: [Counter; BackendFailure::ALL.len()],
    pub(super) asked: Counter,
    pub(super) fallback: Counter,
}

impl BackendSeries {
    /// A question went unanswered, or nobody could be asked.
    pub fn failed(&self, failure: BackendFailure) {
        if let Some(errors) = self.errors.get(failure as usize) {
            errors.increment(1);
        }
    }

    /// A question was asked.
    pub fn asked(&self) {
        self.asked.increment(1);
    }

    /// A request was judged by local limits in place of the shared ones.
    pub fn fell_back(&self) {
        self.fallback.increment(1);
    }
}
