//! `limits.max_body_size`, `limits.body_timeout`, `limits.min_body_rate` and the bodies' part of
//! `limits.memory`: how much of a request body, how long a gap, how slow, how much in all.
//!
//! They are one layer since they watch the same bytes go by. What the watch finds goes two ways:
//! to the handler, as an error of the body; and into a [`Verdict`], which overrules whatever the
//! handler answers, so that half a body never ends in a 200. An answer that is already under way
//! is cut off instead.

mod verdict;
mod watched;

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};

use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::memory::MemoryAccount;
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::units::Rate;

pub use verdict::{Verdict, VerdictBody, VerdictFuture};
pub use watched::WatchedBody;

/// What a request body may cost.
#[derive(Debug, Clone)]
pub struct BodyLimitsLayer {
    /// Bytes.
    pub max_size: u64,
    /// Longest gap between two of them.
    pub timeout: Duration,
    /// Slowest pace; `None` is off.
    pub min_rate: Option<Rate>,
    /// What all bodies together may take; `None` is off.
    pub memory: Option<MemoryAccount>,
}

impl BodyLimitsLayer {
    /// What a route asks for. A body that is only passed on is not held, and charged to nobody.
    fn of(&self, policy: &Policy) -> Self {
        Self {
            max_size: policy.max_body_size,
            timeout: policy.body_timeout,
            min_rate: policy.min_body_rate,
            memory: self.memory.clone().filter(|_| policy.holds_bodies),
        }
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(Reason::BodyTooLarge, format!("the request body is over {} bytes", self.max_size))
            .limit("limits.max_body_size")
    }
}

impl<S> Layer<S> for BodyLimitsLayer {
    type Service = BodyLimits<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyLimits { inner, limits: self.clone() }
    }
}

/// A service whose request bodies are watched.
#[derive(Debug, Clone)]
pub struct BodyLimits<S> {
    inner: S,
    limits: BodyLimitsLayer,
}

impl<S, B, R> Service<Request<B>> for BodyLimits<S>
where
    S: Service<Request<WatchedBody<B>>, Response = Response<R>, Error = Refusal>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<VerdictBody<R>>;
    type Error = Refusal;
    type Future = VerdictFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.body().is_end_stream() {
            return VerdictFuture::unwatched(self.inner.call(request.map(WatchedBody::empty)));
        }
        // The declared length is judged before a byte of the body is read, and so before a
        // client that expects 100 Continue is told to send it.
        let exchange = Exchange::of(&request).cloned();
        let policy = exchange.as_ref().and_then(|exchange| exchange.policy());
        let limits = policy.map_or_else(|| self.limits.clone(), |policy| self.limits.of(policy));
        if request.body().size_hint().lower() > limits.max_size {
            return VerdictFuture::refused(limits.too_large());
        }
        let share = exchange.as_ref().and_then(|exchange| exchange.share.clone());
        let verdict = Verdict::new(limits.memory.as_ref().map(|memory| memory.open(share)));
        let request = request.map(|body| WatchedBody::new(body, limits, verdict.clone(), exchange));
        VerdictFuture::watched(self.inner.call(request), verdict)
    }
}

#[cfg(test)]
mod tests;
