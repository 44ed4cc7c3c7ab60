//! `rate_limit.*`: requests per client address, 429 beyond it.
//!
//! Every answer carries `RateLimit-Policy` and `RateLimit`
//! ([draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/))
//! while the limit is on.

mod bucket;
mod limiter;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;

use crate::body::BoxError;
use crate::refusal::{Reason, Refusal, whole_seconds};
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

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

alone!(RateLimitLayer);

/// The two fields that tell a client where it stands.
#[derive(Debug)]
pub struct Fields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Fields {
    fn new(policy: &Policy, remaining: u64, reset: Duration) -> Self {
        Self {
            policy: value("q", policy.max_requests, "w", whole_seconds(policy.window)),
            limit: value("r", remaining, "t", whole_seconds(reset)),
        }
    }
}

/// `"default";first=number;second=number`
fn value(first: &str, number: u64, second: &str, other: u64) -> HeaderValue {
    // Written for every answer while the limit is on, and so without the machinery of `format!`.
    let mut text = Vec::with_capacity(56);
    text.extend_from_slice(b"\"default\"");
    for (name, number) in [(first, number), (second, other)] {
        text.push(b';');
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
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

impl Stage for RateLimitLayer {
    /// Boxed: most servers have no such limit.
    type Held = Option<Box<Fields>>;

    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        _: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        // Without an exchange there is no client to count.
        let Some(exchange) = exchange else { return Ok(()) };
        let said = if exchange.policy().is_some_and(|policy| policy.own_rate_limit) {
            let routes = self.routes.0.load();
            routes.get(&exchange.route()).and_then(|limiter| limiter.ask(exchange.client))
        } else if self.common.is_off() {
            None
        } else {
            self.common.ask(exchange.client)
        };
        match said {
            None => {}
            Some((policy, Allowance::Granted { remaining, reset })) => {
                *held = Some(Box::new(Fields::new(&policy, remaining, reset)));
            }
            Some((policy, Allowance::Refused { retry_after, blocked })) => {
                return Err(refusal(&policy, retry_after, blocked).into());
            }
        }
        Ok(())
    }

    fn leave<B>(
        &self,
        held: &mut Self::Held,
        _: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if let Some(fields) = held.take() {
            response.headers_mut().insert(POLICY, fields.policy);
            response.headers_mut().insert(LIMIT, fields.limit);
        }
        Ok(())
    }

    fn refused(&self, held: &mut Self::Held, refusal: &mut Refusal) {
        if let Some(fields) = held.take() {
            let all = refusal.fields.get_or_insert_default();
            all.push((POLICY, fields.policy));
            all.push((LIMIT, fields.limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_tell_quota_window_rest_and_reset() {
        let policy = Policy {
            max_requests: u64::MAX,
            window: Duration::from_millis(60_001),
            burst: 1,
            block: Duration::ZERO,
            max_keys: 1,
        };
        let fields = Fields::new(&policy, 0, Duration::from_secs(10));
        assert_eq!(fields.policy, "\"default\";q=18446744073709551615;w=61");
        assert_eq!(fields.limit, "\"default\";r=0;t=10");
    }
}
