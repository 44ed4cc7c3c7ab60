//! Rate limits, and where their buckets are.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits::rate::{KeyBy, RedisUrl};

/// Token bucket per client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Whether there are rate limits at all, of whatever route.
    pub enabled: bool,
    /// Requests per window; `None` is off.
    pub max_requests: Option<u64>,
    /// The window.
    pub window: Duration,
    /// Requests per second, already written into the two above.
    pub per_second: Option<u64>,
    /// Requests that may come at once, already resolved from its default (`max_requests`).
    pub burst: u64,
    /// How long a client is refused once it exceeded its allowance; zero: only until a token is there.
    pub block: Duration,
    /// Clients tracked at a time.
    pub max_keys: usize,
    /// What tells them apart.
    pub key: KeyBy,
}

/// Where the buckets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLimitConfig {
    /// In the process, or in Redis.
    pub backend: RateLimitBackend,
    /// Where Redis is; there where it is asked.
    pub redis_url: Option<RedisUrl>,
    /// CAs for TLS, in place of the public ones.
    pub redis_ca: Option<PathBuf>,
    /// Longest time that a request waits.
    pub redis_timeout: Duration,
    /// What the name of every key begins with.
    pub redis_prefix: String,
    /// What is done while Redis does not answer.
    pub on_redis_failure: OnRedisFailure,
}

/// `rate_limit.backend`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitBackend {
    /// In each process by itself.
    Local,
    /// In Redis, for all processes together.
    Redis,
}

/// `rate_limit.on_redis_failure`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRedisFailure {
    /// Local limits stand in.
    Local,
    /// Requests are refused.
    Refuse,
}
