//! Rate limits, from the configuration to what holds them.

use crate::config::{Config, OnRedisFailure, RateLimitBackend, RateLimitConfig};
use crate::limits::rate::{Options, Policy, Rule};
use crate::tls::TlsError;
use crate::tls::client::ClientOptions;

/// `rate_limit.*` as the limiter knows it; `route` is what the metrics call it, and nothing for all others.
pub(super) fn rule(config: &RateLimitConfig, route: &str) -> Option<Rule> {
    let policy = Policy {
        max_requests: config.max_requests?,
        window: config.window,
        burst: config.burst,
        block: config.block,
        max_keys: config.max_keys,
    };
    Some(Rule::new(policy, config.key.clone(), route))
}

/// Where limits are shared; nothing where they are local, or where there are none.
///
/// # Errors
/// The CA cannot be read.
pub(super) fn shared_limits(config: &Config) -> Result<Option<Options>, TlsError> {
    let shared = &config.shared_limit;
    let own = config.routes.iter().filter_map(|route| route.rate_limit.as_ref());
    let limited = own.chain([&config.rate_limit]).any(|limit| limit.max_requests.is_some());
    let (RateLimitBackend::Redis, Some(url), true) = (shared.backend, &shared.redis_url, limited) else {
        return Ok(None);
    };
    let tls = match url.tls {
        true => Some(ClientOptions { ca: shared.redis_ca.clone(), identity: None }.config(&[])?),
        false => None,
    };
    Ok(Some(Options {
        url: url.clone(),
        tls,
        timeout: shared.redis_timeout,
        prefix: shared.redis_prefix.as_str().into(),
        refuse: shared.on_redis_failure == OnRedisFailure::Refuse,
    }))
}
