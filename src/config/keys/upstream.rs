//! `upstream.*`

use super::{Key, Kind, TIMEOUT};

/// Checks and resolutions of a name, which cost others something.
const PAUSE: Kind = Kind::Time { min: 10, max: super::DAY };

pub(super) const UPSTREAM: &[Key] = &[
    Key::new(
        "upstream.url",
        Kind::Upstreams,
        "none",
        "Applications that get every request that no other route takes, one of several that are alike.",
        |config, value| value.put(&mut config.upstream.url),
    )
    .env(&["UPSTREAM"])
    .live(),
    Key::new(
        "upstream.host_header",
        Kind::Choice(&["keep", "upstream"]),
        "keep",
        "The Host that an upstream is sent: the client's own (keep), or the upstream's.",
        |config, value| value.put(&mut config.upstream.host_header),
    )
    .live(),
    Key::new(
        "upstream.connect_timeout",
        TIMEOUT,
        "5s",
        "From nothing to a connection: the next address, or 502.",
        |config, value| value.put(&mut config.upstream.connect_timeout),
    )
    .live(),
    Key::new(
        "upstream.first_byte_timeout",
        TIMEOUT,
        "off",
        "From the request sent to the first byte of the answer: 504. limits.request_timeout holds anyway.",
        |config, value| value.put(&mut config.upstream.first_byte_timeout),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.read_timeout",
        TIMEOUT,
        "5m",
        "Longest gap between bytes of an upstream's answer: it breaks off.",
        |config, value| value.put(&mut config.upstream.read_timeout),
    )
    .live(),
    Key::new(
        "upstream.keepalive_timeout",
        TIMEOUT,
        "30s",
        "An idle connection to an upstream is kept this long. Keep it shorter than the upstream does.",
        |config, value| value.put(&mut config.upstream.keepalive_timeout),
    )
    .live(),
    Key::new(
        "upstream.max_idle",
        Kind::Count { min: 0, max: 100_000 },
        "64",
        "Idle connections kept per address of an upstream; 0 keeps none.",
        |config, value| value.put(&mut config.upstream.max_idle),
    )
    .live(),
    Key::new(
        "upstream.tunnel_idle_timeout",
        TIMEOUT,
        "5m",
        "A tunnel (WebSocket) in which nothing moves in either direction is closed.",
        |config, value| value.put(&mut config.upstream.tunnel_idle_timeout),
    )
    .live(),
    Key::new(
        "upstream.retries",
        Kind::Count { min: 0, max: 10 },
        "2",
        "Further attempts of a request that was never sent, or is idempotent with a body not yet read.",
        |config, value| value.put(&mut config.upstream.retries),
    )
    .live(),
    Key::new(
        "upstream.retry_budget",
        Kind::Count { min: 0, max: 100 },
        "20",
        "Retries in percent of the requests.",
        |config, value| value.put(&mut config.upstream.retry_budget),
    )
    .live(),
    Key::new(
        "upstream.eject_after",
        Kind::Count { min: 1, max: 1_000_000 },
        "5",
        "Failures within eject_window that put an address aside.",
        |config, value| value.put(&mut config.upstream.eject_after),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.eject_window",
        TIMEOUT,
        "10s",
        "The window in which failures of an address are counted.",
        |config, value| value.put(&mut config.upstream.eject_window),
    )
    .live(),
    Key::new(
        "upstream.eject_time",
        TIMEOUT,
        "1s",
        "How long an address is put aside for the first time; each further time doubles it.",
        |config, value| value.put(&mut config.upstream.eject_time),
    )
    .live(),
    Key::new(
        "upstream.max_eject_time",
        TIMEOUT,
        "1m",
        "The longest that an address is put aside.",
        |config, value| value.put(&mut config.upstream.max_eject_time),
    )
    .live(),
    Key::new(
        "upstream.health_path",
        Kind::UrlPath { query: true },
        "off",
        "Path of an active health check of every address.",
        |config, value| value.put(&mut config.upstream.health_path),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.health_interval",
        PAUSE,
        "5s",
        "From one health check to the next.",
        |config, value| value.put(&mut config.upstream.health_interval),
    )
    .live(),
    Key::new("upstream.health_timeout", TIMEOUT, "2s", "Longest time of a health check.", |config, value| {
        value.put(&mut config.upstream.health_timeout)
    })
    .live(),
    Key::new(
        "upstream.health_fall",
        Kind::Count { min: 1, max: 1_000 },
        "3",
        "Failed health checks in a row after which an address is down.",
        |config, value| value.put(&mut config.upstream.health_fall),
    )
    .live(),
    Key::new(
        "upstream.health_rise",
        Kind::Count { min: 1, max: 1_000 },
        "2",
        "Good health checks in a row after which it is up again.",
        |config, value| value.put(&mut config.upstream.health_rise),
    )
    .live(),
    Key::new(
        "upstream.resolve_interval",
        Kind::Time { min: 1_000, max: 3_600_000 },
        "30s",
        "Names are resolved again when their TTL ends, and at the latest after this.",
        |config, value| value.put(&mut config.upstream.resolve_interval),
    )
    .live(),
    Key::new(
        "upstream.ca",
        Kind::File,
        "off",
        "CAs (PEM) that upstreams of https and h2 have to have their certificates of; off: the public ones.",
        |config, value| value.put(&mut config.upstream.ca),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.cert",
        Kind::File,
        "off",
        "Certificate (PEM, its chain behind it) that upstreams of https and h2 are shown.",
        |config, value| value.put(&mut config.upstream.cert),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.key",
        Kind::File,
        "off",
        "The key of upstream.cert (PEM, without a passphrase).",
        |config, value| value.put(&mut config.upstream.key),
    )
    .or_off()
    .live(),
    Key::new(
        "upstream.server_name",
        Kind::ServerName,
        "off",
        "Name or address that the certificates of upstreams have to be for; off: that of the URL.",
        |config, value| value.put(&mut config.upstream.server_name),
    )
    .or_off()
    .live(),
];
