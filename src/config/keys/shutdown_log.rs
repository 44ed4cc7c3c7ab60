//! `shutdown.*` and `log.*`

use super::{Key, Kind, TIME_OR_ZERO, TIMEOUT};

pub(super) const SHUTDOWN: &[Key] = &[
    Key::new(
        "shutdown.drain_delay",
        TIME_OR_ZERO,
        "5s",
        "After SIGTERM: not ready, still serving, so that load balancers notice before connections close.",
        |config, value| value.put(&mut config.shutdown.drain_delay),
    )
    .env(&["DRAIN_DELAY"]),
    Key::new(
        "shutdown.drain_timeout",
        TIMEOUT,
        "30s",
        "After the delay: how long work in flight may run before it is cut off.",
        |config, value| value.put(&mut config.shutdown.drain_timeout),
    )
    .env(&["SHUTDOWN_TIMEOUT", "SHUTDOWN_DRAIN_TIMEOUT_SECONDS"]),
];

pub(super) const LOG: &[Key] = &[
    Key::new(
        "log.level",
        Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        "info",
        "Least severe level that is written.",
        |config, value| value.put(&mut config.log.level),
    )
    .env(&["LOG_LEVEL"])
    .live(),
    Key::new(
        "log.format",
        Kind::Choice(&["json", "console"]),
        "auto",
        "How a line looks.",
        |config, value| value.put(&mut config.log.format),
    )
    .env(&["LOG_FORMAT"])
    .or_auto("console on a terminal, else json"),
    Key::new(
        "log.access",
        Kind::Choice(&["all", "errors", "off"]),
        "all",
        "Requests that are written: all, refusals and answers of 400 and above, or none. \
         Probes only where they fail.",
        |config, value| value.put(&mut config.log.access),
    )
    .env(&["ACCESS_LOG"])
    .live(),
];
