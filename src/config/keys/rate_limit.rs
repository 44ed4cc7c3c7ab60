//! `rate_limit.*`

use super::{Key, Kind, TIME_OR_ZERO, TIMEOUT};

pub(super) const RATE_LIMIT: &[Key] = &[
    Key::new(
        "rate_limit.max_requests",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "off",
        "Requests of one client per window: 429 with RateLimit, RateLimit-Policy and Retry-After.",
        |config, value| value.put(&mut config.rate_limit.max_requests),
    )
    .env(&["RATE_LIMIT_MAX_REQUESTS"])
    .or_off()
    .live(),
    Key::new("rate_limit.window", TIMEOUT, "60s", "The window.", |config, value| {
        value.put(&mut config.rate_limit.window)
    })
    .env(&["RATE_LIMIT_WINDOW_MS"])
    .live(),
    Key::new(
        "rate_limit.burst",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "auto",
        "Requests that may come at once.",
        |config, value| value.put(&mut config.rate_limit.burst),
    )
    .or_auto("rate_limit.max_requests")
    .live(),
    Key::new(
        "rate_limit.block",
        TIME_OR_ZERO,
        "0s",
        "A client that exceeded its allowance is refused for this long; 0: until it has a token again.",
        |config, value| value.put(&mut config.rate_limit.block),
    )
    .env(&["RATE_LIMIT_BLOCK_MS"])
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
];
