//! `rate_limit.*`: requests per client address, 429 beyond it.
//!
//! Every answer carries `RateLimit-Policy` and `RateLimit`
//! ([draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/))
//! while the limit is on.

mod bucket;
mod limiter;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal, whole_seconds};

pub use bucket::{Allowance, Policy};
pub use limiter::RateLimiter;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Asks a [`RateLimiter`] before each request: that of its route, or the common one.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    /// For routes without one of their own.
    pub common: RateLimiter,
    /// By the route's index in the metrics.
    pub routes: RouteLimiters,
}

/// The rate limits that routes have of their own. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RouteLimiters(Arc<ArcSwap<HashMap<u32, RateLimiter>>>);

impl RouteLimiters {
    /// Holds these policies from now on. A route that had a limit before keeps what its clients
    /// have spent of it.
    pub fn replace(&self, policies: impl IntoIterator<Item = (u32, Policy)>) {
        let before = self.0.load();
        let limiters = policies.into_iter().map(|(route, policy)| match before.get(&route) {
            Some(limiter) => {
                limiter.replace(Some(policy));
                (route, limiter.clone())
            }
            None => (route, RateLimiter::new(Some(policy))),
        });
        self.0.store(Arc::new(limiters.collect()));
    }

    /// Clients tracked and blocked, over all routes.
    pub fn census(&self) -> (usize, usize) {
        let add = |(tracked, blocked), (more, worse)| (tracked + more, blocked + worse);
        self.0.load().values().map(RateLimiter::census).fold((0, 0), add)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, limits: self.clone() }
    }
}

/// A service behind a rate limit.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    limits: RateLimitLayer,
}

/// The two fields that tell a client where it stands.
#[derive(Debug)]
pub struct Fields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Fields {
    fn new(policy: &Policy, remaining: u64, reset: Duration) -> Self {
        let (quota, window) = (policy.max_requests, whole_seconds(policy.window));
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Self {
            policy: value(format!("\"default\";q={quota};w={window}")),
            limit: value(format!("\"default\";r={remaining};t={}", whole_seconds(reset))),
        }
    }
}

fn refusal(policy: &Policy, retry_after: Duration, blocked: bool) -> Refusal {
    let (quota, window) = (policy.max_requests, policy.window.as_millis());
    let fields = Fields::new(policy, 0, retry_after);
    Refusal::new(Reason::RateLimited, format!("over {quota} requests in {window} ms"))
        .limit(if blocked { "rate_limit.block" } else { "rate_limit.max_requests" })
        .retry_after(retry_after)
        .field(POLICY, fields.policy)
        .field(LIMIT, fields.limit)
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
{
    type Response = Response<R>;
    type Error = Refusal;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request);
        let own = exchange.and_then(|exchange| exchange.policy()).is_some_and(|policy| policy.own_rate_limit);
        // Without an exchange there is no client to count.
        let verdict = match exchange {
            Some(exchange) if own => {
                let routes = self.limits.routes.0.load();
                routes.get(&exchange.route()).and_then(|limiter| limiter.ask(exchange.client))
            }
            Some(exchange) if !self.limits.common.is_off() => self.limits.common.ask(exchange.client),
            _ => None,
        };
        match verdict {
            None => RateLimitFuture::Passed { inner: self.inner.call(request), fields: None },
            Some((policy, Allowance::Granted { remaining, reset })) => {
                let fields = Fields::new(&policy, remaining, reset);
                RateLimitFuture::Passed { inner: self.inner.call(request), fields: Some(fields) }
            }
            Some((policy, Allowance::Refused { retry_after, blocked })) => {
                RateLimitFuture::Refused { refusal: Some(refusal(&policy, retry_after, blocked)) }
            }
        }
    }
}

pin_project! {
    /// The answer with its two fields, or the refusal.
    #[project = RateLimitProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum RateLimitFuture<F> {
        /// Allowed.
        Passed { #[pin] inner: F, fields: Option<Fields> },
        /// Over the limit.
        Refused { refusal: Option<Refusal> },
    }
}

impl<F, R> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
{
    type Output = Result<Response<R>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RateLimitProjection::Passed { inner, fields } => {
                let mut answer = ready!(inner.poll(cx));
                if let Some(Fields { policy, limit }) = fields.take() {
                    match &mut answer {
                        Ok(response) => {
                            response.headers_mut().insert(POLICY, policy);
                            response.headers_mut().insert(LIMIT, limit);
                        }
                        Err(refusal) => {
                            let all = refusal.fields.get_or_insert_default();
                            all.push((POLICY, policy));
                            all.push((LIMIT, limit));
                        }
                    }
                }
                Poll::Ready(answer)
            }
            RateLimitProjection::Refused { refusal } => match refusal.take() {
                Some(refusal) => Poll::Ready(Err(refusal)),
                None => Poll::Pending,
            },
        }
    }
}
