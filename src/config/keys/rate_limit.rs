//! `rate_limit.*`

use super::{Key, Kind, TIME_OR_ZERO, TIMEOUT};

pub(super) const RATE_LIMIT: &[Key] = &[
    Key::new(
        "rate_limit.enabled",
        Kind::Bool,
        "true",
        "Master switch: false switches all rate limits off, those of routes as well.",
        |config, value| value.put(&mut config.rate_limit.enabled),
    )
    .env(&["RATE_LIMIT_ENABLED"])
    .live(),
    Key::new(
        "rate_limit.max_requests",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "off",
        "Requests of one client per window: 429 with RateLimit, RateLimit-Policy and Retry-After.",
        |config, value| value.put(&mut config.rate_limit.max_requests),
    )
    .env(&["RATE_LIMIT_MAX_REQUESTS", "TRACEHOUND_RATE_LIMIT_MAX_REQUESTS"])
    .or_off()
    .live(),
    Key::new("rate_limit.window", TIMEOUT, "60s", "The window.", |config, value| {
        value.put(&mut config.rate_limit.window)
    })
    .env(&["RATE_LIMIT_WINDOW_MS", "TRACEHOUND_RATE_LIMIT_WINDOW_MS"])
    .live(),
    Key::new(
        "rate_limit.per_second",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "off",
        "Requests of one client per second, in place of rate_limit.max_requests and rate_limit.window.",
        |config, value| value.put(&mut config.rate_limit.per_second),
    )
    .env(&["RATE_LIMIT_DEFAULT_RPS"])
    .or_off()
    .live(),
    Key::new(
        "rate_limit.burst",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "auto",
        "Requests that may come at once.",
        |config, value| value.put(&mut config.rate_limit.burst),
    )
    .or_auto("rate_limit.max_requests")
    .env(&["RATE_LIMIT_DEFAULT_BURST"])
    .live(),
    Key::new(
        "rate_limit.block",
        TIME_OR_ZERO,
        "0s",
        "A client that exceeded its allowance is refused for this long; 0: until it has a token again.",
        |config, value| value.put(&mut config.rate_limit.block),
    )
    .env(&["RATE_LIMIT_BLOCK_MS", "TRACEHOUND_RATE_LIMIT_BLOCK_MS"])
    .live(),
    Key::new(
        "rate_limit.max_keys",
        Kind::Count { min: 1, max: 10_000_000 },
        "10000",
        "Clients tracked at a time; the least recently seen goes first.",
        |config, value| value.put(&mut config.rate_limit.max_keys),
    )
    .env(&["RATE_LIMIT_MAX_KEYS"])
    .live(),
    Key::new(
        "rate_limit.key",
        Kind::RateKey,
        "address",
        "What tells one client from another: its address (IPv6: per /64), the value of a field, or a segment \
         of the path; where there is none, the address.",
        |config, value| value.put(&mut config.rate_limit.key),
    )
    .live(),
    Key::new(
        "rate_limit.backend",
        Kind::Choice(&["local", "redis"]),
        "local",
        "Where the buckets are: in each process by itself, or in Redis or Valkey, for all processes together.",
        |config, value| value.put(&mut config.shared_limit.backend),
    )
    .env(&["RATE_LIMIT_BACKEND"])
    .live(),
    Key::new(
        "rate_limit.redis_url",
        Kind::RedisUrl,
        "none",
        "Where Redis is, with user, password and database where it needs them; rediss:// speaks TLS.",
        |config, value| value.put(&mut config.shared_limit.redis_url),
    )
    .env(&["REDIS_URL"])
    .or_off()
    .secret()
    .live(),
    Key::new(
        "rate_limit.redis_ca",
        Kind::File,
        "none",
        "CAs for rediss:// in place of the public ones: a PEM file.",
        |config, value| value.put(&mut config.shared_limit.redis_ca),
    )
    .or_off()
    .live(),
    Key::new(
        "rate_limit.redis_timeout",
        Kind::Time { min: 1, max: 10_000 },
        "50ms",
        "Longest time that a request waits for Redis. Beyond it nobody asks until Redis has answered again.",
        |config, value| value.put(&mut config.shared_limit.redis_timeout),
    )
    .live(),
    Key::new(
        "rate_limit.redis_prefix",
        Kind::Text,
        "nessen:",
        "What the name of every key in Redis begins with: the same for all that share limits.",
        |config, value| value.put(&mut config.shared_limit.redis_prefix),
    )
    .live(),
    Key::new(
        "rate_limit.on_redis_failure",
        Kind::Choice(&["local", "refuse"]),
        "local",
        "While Redis does not answer: local limits stand in, or requests are refused (503 rate_limit_unavailable).",
        |config, value| value.put(&mut config.shared_limit.on_redis_failure),
    )
    .live(),
];
