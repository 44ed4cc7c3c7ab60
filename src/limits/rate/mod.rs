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
mod fields;
mod key;
mod limiter;
mod rule;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use self::backend::{Mode, Question};
use self::key::Key;
use self::limiter::Tables;
use crate::body::BoxError;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

pub use backend::{Backend, Options, RedisUrl};
pub use bucket::{Allowance, Policy};
pub use fields::Fields;
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
#[derive(Debug)]
pub enum Standing {
    /// The fields of its answer.
    Told(Fields),
    /// It is to be asked for.
    Asking(Asking),
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

/// Boxed: most servers have no such limit.
type Held = Option<Box<Standing>>;

impl RateLimitLayer {
    /// Where limits are shared, or would be.
    fn enter_shared(&self, held: &mut Held, mode: Mode, tables: &Arc<Tables>, key: &Key) -> Result<(), Stop> {
        if mode == Mode::Shared {
            let asked = tables.now();
            if let Some(certain) = tables.foresee(key, asked) {
                return settle(held, tables, Some(certain));
            }
            if let Some(question) = self.backend.ask(&tables.rule, key) {
                let (tables, key) = (tables.clone(), *key);
                *held = Some(Box::new(Standing::Asking(Asking { tables, key, asked, question })));
                return Err(Stop::Later);
            }
        }
        self.without(held, tables, key)
    }

    /// Where nobody answered.
    fn without(&self, held: &mut Held, tables: &Tables, key: &Key) -> Result<(), Stop> {
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

/// Acts on what was said of a request.
fn settle(held: &mut Held, tables: &Tables, said: Option<Allowance>) -> Result<(), Stop> {
    let policy = tables.rule.policy();
    match said {
        None => {}
        Some(Allowance::Granted { remaining, reset }) => {
            *held = Some(Box::new(Standing::Told(Fields::new(policy, remaining, reset))));
        }
        Some(Allowance::Refused { retry_after, blocked }) => {
            return Err(fields::refusal(policy, retry_after, blocked).into());
        }
    }
    Ok(())
}

impl Stage for RateLimitLayer {
    type Held = Held;

    fn enter<B: Body>(
        &self,
        held: &mut Held,
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
        held: &mut Held,
        _: Shared<'_>,
        _: &mut Request<Inbound<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        let Some(Standing::Asking(asking)) = held.as_deref_mut() else { return Poll::Ready(Ok(())) };
        let said = ready!(asking.question.as_mut().poll(cx));
        let Some(Standing::Asking(Asking { tables, key, asked, .. })) = held.take().map(|held| *held) else {
            return Poll::Ready(Ok(()));
        };
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
        held: &mut Held,
        _: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if let Some(Standing::Told(fields)) = held.take().map(|held| *held) {
            fields.put(response.headers_mut());
        }
        Ok(())
    }

    fn refused(&self, held: &mut Held, refusal: &mut Refusal) {
        if let Some(Standing::Told(fields)) = held.take().map(|held| *held) {
            fields.join(refusal);
        }
    }
}
