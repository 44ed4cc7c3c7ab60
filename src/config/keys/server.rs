//! `server.*` and `admin.*`

use super::{Key, Kind};

pub(super) const SERVER: &[Key] = &[
    Key::new(
        "server.mode",
        Kind::Choice(&["dev", "prod"]),
        "dev",
        "prod: no start with settings that fit one process on a desk and no production (docs/rate-limits.md).",
        |config, value| value.put(&mut config.server.mode),
    )
    .env(&["MODE"])
    .live(),
    Key::new(
        "server.replicas",
        Kind::Count { min: 1, max: 100_000 },
        "1",
        "Processes that serve together; only said, for server.mode to judge by.",
        |config, value| value.put(&mut config.server.replicas),
    )
    .env(&["REPLICAS"])
    .live(),
    Key::new("server.host", Kind::Address, "0.0.0.0", "Address to listen on.", |config, value| {
        value.put(&mut config.server.host)
    })
    .env(&["HOST"]),
    Key::new(
        "server.port",
        Kind::Count { min: 0, max: 65_535 },
        "3000",
        "Port to listen on; 0 lets the system choose, and the bound address is logged.",
        |config, value| value.put(&mut config.server.port),
    )
    .env(&["PORT"]),
    Key::new(
        "server.workers",
        Kind::Count { min: 1, max: 1_024 },
        "auto",
        "Worker threads.",
        |config, value| value.put(&mut config.server.workers),
    )
    .or_auto("the CPUs allowed by affinity and cgroup quota, a part of one counting as one"),
    Key::new(
        "server.trusted_proxies",
        Kind::Networks,
        "none",
        "Peers whose Forwarded, X-Forwarded-* and request id are believed. \
         `private` (or TRUST_PROXY=true) is loopback, link-local and private ranges.",
        |config, value| value.put(&mut config.server.trusted_proxies),
    )
    .env(&["TRUSTED_PROXIES", "TRUST_PROXY"]),
    Key::new(
        "server.proxy_protocol",
        Kind::Choice(&["off", "required", "optional"]),
        "off",
        "PROXY protocol v1 and v2 from server.trusted_proxies: \
         required closes a trusted peer's connection that has no header.",
        |config, value| value.put(&mut config.server.proxy_protocol),
    ),
    Key::new(
        "server.request_id_header",
        Kind::HeaderName,
        "x-request-id",
        "Field of the request id: taken from trusted peers only, else generated; always answered.",
        |config, value| value.put(&mut config.server.request_id_header),
    ),
    Key::new(
        "server.sandbox",
        Kind::Choice(&["off", "on", "required"]),
        "off",
        "Once it listens, the process gives up what serving does not need, by no_new_privs, Landlock and seccomp. \
         On: a warning says what the kernel lacks; required: without files and system calls, no start.",
        |config, value| value.put(&mut config.server.sandbox),
    ),
];

pub(super) const ADMIN: &[Key] = &[
    Key::new("admin.host", Kind::Address, "0.0.0.0", "Address of the admin listener.", |config, value| {
        value.put(&mut config.admin.host)
    }),
    Key::new(
        "admin.port",
        Kind::Count { min: 1, max: 65_535 },
        "off",
        "When set, /metrics, /version and /api/health move to this port, and / is the status page there; \
         probes answer on both.",
        |config, value| value.put(&mut config.admin.port),
    )
    .env(&["ADMIN_PORT"])
    .or_off(),
    Key::new(
        "admin.allowed_hosts",
        Kind::Hosts,
        "auto",
        "Hosts by which the status page and what it shows are read, besides those of auto; another is answered 421.",
        |config, value| value.put(&mut config.admin.allowed_hosts),
    )
    .or_auto("what no stranger can point to this server: addresses, localhost, names without a dot, and those under .internal, .svc and .cluster.local"),
];
