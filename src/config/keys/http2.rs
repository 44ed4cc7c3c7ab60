//! `http2.*`

use super::{Key, Kind};

/// The largest window of RFC 9113 section 6.9.1.
const LARGEST_WINDOW: u64 = (1 << 31) - 1;

pub(super) const HTTP2: &[Key] = &[
    Key::new(
        "http2.enabled",
        Kind::Bool,
        "true",
        "Whether the HTTP/2 preface is understood at all.",
        |config, value| value.put(&mut config.http2.enabled),
    ),
    Key::new(
        "http2.max_concurrent_streams",
        Kind::Count { min: 1, max: 100_000 },
        "100",
        "Streams open at a time on one connection.",
        |config, value| value.put(&mut config.http2.max_concurrent_streams),
    ),
    Key::new(
        "http2.max_local_error_resets",
        Kind::Count { min: 1, max: 1_000_000 },
        "100",
        "Streams of one connection that broke the protocol, before the connection goes.",
        |config, value| value.put(&mut config.http2.max_local_error_resets),
    ),
    Key::new(
        "http2.max_cancelled_streams",
        Kind::Count { min: 1, max: 1_000_000_000 },
        "100",
        "Streams of one connection cancelled before they were answered, before the connection goes. A trusted proxy may cancel as many more as it lets finish.",
        |config, value| value.put(&mut config.http2.max_cancelled_streams),
    ),
    Key::new(
        "http2.stream_window",
        Kind::Size { min: 1, max: LARGEST_WINDOW },
        "64KiB",
        "Bytes of one stream that a client may send unread.",
        |config, value| value.put(&mut config.http2.stream_window),
    ),
    Key::new(
        "http2.connection_window",
        // A connection begins with 65535, and no SETTINGS can take that back.
        Kind::Size { min: 65_535, max: LARGEST_WINDOW },
        "1MiB",
        "Bytes of one connection that a client may send unread.",
        |config, value| value.put(&mut config.http2.connection_window),
    ),
    Key::new(
        "http2.send_buffer",
        Kind::Size { min: 1 << 10, max: 1 << 30 },
        "64KiB",
        "Bytes of one stream buffered for sending.",
        |config, value| value.put(&mut config.http2.send_buffer),
    ),
];
