//! `limits.*`

use super::{Key, Kind, TEBIBYTE, TIMEOUT};

pub(super) const LIMITS: &[Key] = &[
    Key::new(
        "limits.max_body_size",
        Kind::Size { min: 1, max: TEBIBYTE },
        "1MiB",
        "Bytes of a request body: 413.",
        |config, value| value.put(&mut config.limits.max_body_size),
    )
    .env(&["MAX_BODY_SIZE", "TRACEHOUND_MAX_PAYLOAD_SIZE"])
    .live(),
    Key::new(
        "limits.max_url_length",
        // The HTTP/1 parser has its own wall at 65534.
        Kind::Size { min: 16, max: 65_534 },
        "8KiB",
        "Bytes of a request target: 414.",
        |config, value| value.put(&mut config.limits.max_url_length),
    )
    .env(&["MAX_URL_LENGTH"]),
    Key::new(
        "limits.max_header_size",
        Kind::Size { min: 1 << 10, max: 1 << 20 },
        "16KiB",
        "Bytes of all header fields together: 431.",
        |config, value| value.put(&mut config.limits.max_header_size),
    )
    .env(&["MAX_HEADER_SIZE"]),
    Key::new(
        "limits.max_header_count",
        Kind::Count { min: 1, max: 1_000 },
        "100",
        "Header fields of a request: 431.",
        |config, value| value.put(&mut config.limits.max_header_count),
    )
    .env(&["MAX_HEADER_COUNT"]),
    Key::new(
        "limits.max_response_size",
        Kind::Size { min: 1, max: TEBIBYTE },
        "10MiB",
        "Bytes of an answer of the app's own router. Known ahead: 502; else the stream is aborted.",
        |config, value| value.put(&mut config.limits.max_response_size),
    )
    .env(&["MAX_RESPONSE_SIZE"])
    .or_off()
    .live(),
    Key::new(
        "limits.request_timeout",
        TIMEOUT,
        "30s",
        "From the request head to the response head: 504.",
        |config, value| value.put(&mut config.limits.request_timeout),
    )
    .env(&["REQUEST_TIMEOUT"])
    .live(),
    Key::new(
        "limits.headers_timeout",
        TIMEOUT,
        "10s",
        "From the first byte of a request head to its end: 408, close.",
        |config, value| value.put(&mut config.limits.headers_timeout),
    )
    .env(&["HEADERS_TIMEOUT"]),
    Key::new(
        "limits.idle_timeout",
        TIMEOUT,
        "75s",
        "A connection with nothing in flight is closed, up to 0.25 s late. Keep it longer than the keep-alive of the proxy in front.",
        |config, value| value.put(&mut config.limits.idle_timeout),
    )
    .env(&["IDLE_TIMEOUT"]),
    Key::new(
        "limits.body_timeout",
        TIMEOUT,
        "10s",
        "Longest gap between bytes of a request body: 408, close.",
        |config, value| value.put(&mut config.limits.body_timeout),
    )
    .env(&["BODY_TIMEOUT"])
    .live(),
    Key::new(
        "limits.min_body_rate",
        Kind::Rate,
        "500 B/s after 5s",
        "Slowest upload: 408, close.",
        |config, value| value.put(&mut config.limits.min_body_rate),
    )
    .or_off()
    .live(),
    Key::new(
        "limits.write_timeout",
        TIMEOUT,
        "30s",
        "A client that takes no byte of its answer for this long is reset.",
        |config, value| value.put(&mut config.limits.write_timeout),
    )
    .env(&["WRITE_TIMEOUT"])
    .live(),
    Key::new(
        "limits.min_send_rate",
        Kind::Rate,
        "500 B/s after 5s",
        "A client that reads its answer slower than this is reset.",
        |config, value| value.put(&mut config.limits.min_send_rate),
    )
    .or_off()
    .live(),
    Key::new(
        "limits.max_connections",
        Kind::Count { min: 1, max: 1_000_000 },
        "auto",
        "Open connections. An idle one makes room for the next; else 503, close.",
        |config, value| value.put(&mut config.limits.max_connections),
    )
    .env(&["MAX_CONNECTIONS"])
    .or_auto("what half of limits.memory and RLIMIT_NOFILE allow, at most 10000"),
    Key::new(
        "limits.max_connections_per_ip",
        Kind::Count { min: 1, max: 1_000_000 },
        "256",
        "Open connections of one client address (IPv6: /64), trusted proxies excepted: 429, close.",
        |config, value| value.put(&mut config.limits.max_connections_per_ip),
    )
    .env(&["MAX_CONNECTIONS_PER_IP"])
    .or_off(),
    Key::new(
        "limits.max_requests_per_connection",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "10000",
        "Requests answered on one connection; then `Connection: close` or GOAWAY.",
        |config, value| value.put(&mut config.limits.max_requests_per_connection),
    ),
    Key::new(
        "limits.max_connection_age",
        TIMEOUT,
        "1h",
        "Age, give or take 10 %, at which a connection is asked to close.",
        |config, value| value.put(&mut config.limits.max_connection_age),
    ),
    Key::new(
        "limits.max_in_flight",
        Kind::Count { min: 1, max: 1_000_000 },
        "auto",
        "Requests served at a time, held to the end of the response body: 503 with Retry-After.",
        |config, value| value.put(&mut config.limits.max_in_flight),
    )
    .env(&["MAX_IN_FLIGHT"])
    .or_auto("1024, fewer where limits.memory does not hold as many"),
    Key::new(
        "limits.allowed_methods",
        Kind::Methods,
        "GET HEAD POST PUT PATCH DELETE OPTIONS",
        "Methods served; another is answered 405 with Allow, an unknown one 501.",
        |config, value| value.put(&mut config.limits.allowed_methods),
    )
    .live(),
    Key::new(
        "limits.allowed_hosts",
        Kind::Hosts,
        "any",
        "Hosts served; another is answered 421.",
        |config, value| value.put(&mut config.limits.allowed_hosts),
    )
    .env(&["ALLOWED_HOSTS"])
    .live(),
    Key::new(
        "limits.memory",
        Kind::Size { min: 1 << 20, max: TEBIBYTE },
        "auto",
        "Bytes that clients may make the server hold.",
        |config, value| value.put(&mut config.limits.memory),
    )
    .env(&["MEMORY_BUDGET"])
    .or_auto("70 % of the cgroup limit (else of the machine's memory), less 16MiB for the process itself"),
];
