//! `rate_limit.*`: requests per client, 429 beyond it.
//!
//! A client is an address, or what a field or the path of its requests says ([`KeyBy`]). Buckets are kept
//! here, or in Redis for several processes ([`Backend`]): then a request waits for the answer, and no longer
//! than a set time.
//!
//! Every answer carries `RateLimit-Policy` and `RateLimit`
//! ([draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/))
//! while the limit is on.

mod backend;
mod bucket;
mod key;
mod limiter;
mod rule;

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, mem};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use self::backend::{Mode, Question};
use self::key::Key;
use self::limiter::Tables;
use crate::body::BoxError;
use crate::quota::Quota;
use crate::refusal::{Reason, Refusal, whole_seconds};
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

pub use backend::{Backend, Options, RedisUrl};
pub use bucket::{Allowance, Policy};
pub use key::KeyBy;
pub use limiter::RateLimiter;
pub use rule::Rule;

/// Asks a [`RateLimiter`] before each request: that of its route, or the common one.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    /// For routes without one of their own.
    pub common: RateLimiter,
    /// By the route's index in the metrics.
    pub routes: RouteLimiters,
    /// Who is asked where limits are shared.
    pub backend: Backend,
}

/// The rate limits that routes have of their own. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RouteLimiters(Arc<ArcSwap<HashMap<u32, RateLimiter>>>);

impl RouteLimiters {
    /// Holds these rules from now on. A route that had a limit before keeps what its clients
    /// have spent of it.
    pub fn replace(&self, rules: impl IntoIterator<Item = (u32, Rule)>) {
        let before = self.0.load();
        let limiters = rules.into_iter().map(|(route, rule)| match before.get(&route) {
            Some(limiter) => {
                limiter.replace(Some(rule));
                (route, limiter.clone())
            }
            None => (route, RateLimiter::by(Some(rule))),
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

/// What is kept of a request.
#[derive(Debug, Default)]
pub enum Standing {
    /// There is no limit, or nothing is known yet.
    #[default]
    Unknown,
    /// For its answer.
    Told(Quota),
    /// It is to be asked for. Boxed: most servers share no limit.
    Asking(Box<Asking>),
}

/// A question on its way, and what it is about.
pub struct Asking {
    tables: Arc<Tables>,
    key: Key,
    /// When, by the clock of the tables.
    asked: Duration,
    question: Question,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("key", &self.key).finish_non_exhaustive()
    }
}

impl RateLimitLayer {
    /// Where limits are shared, or would be.
    fn enter_shared(
        &self,
        held: &mut Standing,
        mode: Mode,
        tables: &Arc<Tables>,
        key: &Key,
    ) -> Result<(), Stop> {
        if mode == Mode::Shared {
            let asked = tables.now();
            if let Some(certain) = tables.foresee(key, asked) {
                return settle(held, tables, Some(certain));
            }
            if let Some(question) = self.backend.ask(&tables.rule, key) {
                let (tables, key) = (tables.clone(), *key);
                *held = Standing::Asking(Box::new(Asking { tables, key, asked, question }));
                return Err(Stop::Later);
            }
        }
        self.without(held, tables, key)
    }

    /// Where nobody answered.
    fn without(&self, held: &mut Standing, tables: &Tables, key: &Key) -> Result<(), Stop> {
        if self.backend.refuses() {
            let detail = "the shared rate limit cannot be asked for";
            let refusal = Refusal::new(Reason::RateLimitUnavailable, detail)
                .limit("rate_limit.on_redis_failure")
                .retry_after(Duration::from_secs(1));
            return Err(refusal.into());
        }
        self.backend.falls_back();
        settle(held, tables, tables.take(key))
    }
}

/// What the answer says.
fn told(policy: &Policy, remaining: u64, reset: Duration) -> Quota {
    let (requests, window) = (policy.max_requests, whole_seconds(policy.window));
    Quota { requests, window, remaining, reset: whole_seconds(reset) }
}

/// The refusal of who has asked for too much.
fn refusal(policy: &Policy, retry_after: Duration, blocked: bool) -> Refusal {
    let (quota, window) = (policy.max_requests, policy.window.as_millis());
    let mut refusal = Refusal::new(Reason::RateLimited, format!("over {quota} requests in {window} ms"))
        .limit(if blocked { "rate_limit.block" } else { "rate_limit.max_requests" })
        .retry_after(retry_after);
    refusal.fields.get_or_insert_default().extend(told(policy, 0, retry_after).fields());
    refusal
}

/// Acts on what was said of a request.
fn settle(held: &mut Standing, tables: &Tables, said: Option<Allowance>) -> Result<(), Stop> {
    let policy = tables.rule.policy();
    match said {
        None => {}
        Some(Allowance::Granted { remaining, reset }) => {
            *held = Standing::Told(told(policy, remaining, reset));
        }
        Some(Allowance::Refused { retry_after, blocked }) => {
            return Err(refusal(policy, retry_after, blocked).into());
        }
    }
    Ok(())
}

impl Stage for RateLimitLayer {
    type Held = Standing;

    fn enter<B: Body>(
        &self,
        held: &mut Standing,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        // Without an exchange there is no client to count.
        let Some(exchange) = exchange else { return Ok(()) };
        let routes;
        let limiter = if exchange.policy().is_some_and(|policy| policy.own_rate_limit) {
            routes = self.routes.0.load();
            routes.get(&exchange.route())
        } else if self.common.is_off() {
            None
        } else {
            Some(&self.common)
        };
        let Some(limiter) = limiter else { return Ok(()) };
        let tables = limiter.tables();
        let Some(tables) = &*tables else { return Ok(()) };
        let key = tables.rule.by().key(exchange.client, request);
        match self.backend.mode() {
            Mode::Local => settle(held, tables, tables.take(&key)),
            mode => self.enter_shared(held, mode, tables, &key),
        }
    }

    fn resume<B: Body>(
        &self,
        held: &mut Standing,
        _: Shared<'_>,
        _: &mut Request<Inbound<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        let Standing::Asking(asking) = held else { return Poll::Ready(Ok(())) };
        let said = ready!(asking.question.as_mut().poll(cx));
        let Standing::Asking(asking) = mem::take(held) else { return Poll::Ready(Ok(())) };
        let Asking { tables, key, asked, .. } = *asking;
        Poll::Ready(match said {
            Some(said) => {
                let said = said.within(tables.rule.policy());
                tables.learn(&key, asked, said);
                settle(held, &tables, Some(said))
            }
            None => self.without(held, &tables, &key),
        })
    }

    fn leave<B>(
        &self,
        held: &mut Standing,
        exchange: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Standing::Told(quota) = *held else { return Ok(()) };
        let headers = response.headers_mut();
        if Quota::is_in(headers) || !exchange.is_some_and(|exchange| exchange.put_quota_beside(quota)) {
            quota.fields().into_iter().for_each(|(name, value)| drop(headers.insert(name, value)));
        }
        Ok(())
    }

    fn refused(&self, held: &mut Standing, refusal: &mut Refusal) {
        if let Standing::Told(quota) = held {
            refusal.fields.get_or_insert_default().extend(quota.fields());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use http_body_util::Empty;
    use tokio::time::Instant;
    use tower::{Layer, Service};

    use super::*;
    use crate::exchange::Exchange;
    use crate::protocol::Protocol;
    use crate::stage::Asked;

    /// What the map of an answer says of rate limits, and what is beside it, for an app that sets this field.
    async fn said(takes_beside: bool, set: &'static str) -> (Vec<String>, bool) {
        let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut exchange = Exchange::new(SocketAddr::new(nobody, 1), nobody, Protocol::Http1, Instant::now());
        exchange.takes_beside = takes_beside;
        let exchange = Arc::new(exchange);
        let app = tower::service_fn(move |_: Request<Inbound<Empty<Bytes>>>| async move {
            let answer = Response::builder().header(set, "the app's").header(set, "twice");
            Ok::<_, Refusal>(answer.body(Empty::<Bytes>::new()).unwrap())
        });
        let second = Duration::from_secs(1);
        let policy = Policy { max_requests: 9, window: second, burst: 9, block: Duration::ZERO, max_keys: 1 };
        let layer = RateLimitLayer {
            common: RateLimiter::new(Some(policy)),
            routes: RouteLimiters::default(),
            backend: Backend::default(),
        };
        let asked = Asked { request: Request::new(Empty::new()), exchange: exchange.clone() };
        let response = layer.layer(app).call(asked).await.unwrap();
        let ours = response.headers().iter().filter(|(name, _)| name.as_str().starts_with("ratelimit"));
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        (ours.map(line).collect(), exchange.beside().quota.is_some())
    }

    #[tokio::test]
    async fn an_answer_says_once_where_its_client_stands_whatever_the_app_says() {
        let both = ["ratelimit-policy: \"default\";q=9;w=1", "ratelimit: \"default\";r=8;t=1"];
        assert_eq!(said(true, "x-a").await, (vec![], true));
        assert_eq!(said(false, "x-a").await, (both.map(str::to_owned).into(), false));
        for takes_beside in [true, false] {
            for own in ["ratelimit", "ratelimit-policy"] {
                let (mut map, beside) = said(takes_beside, own).await;
                map.sort();
                assert_eq!((map, beside), (both.map(str::to_owned).into(), false), "{own}");
            }
        }
    }
}
