//! `security_headers.*`

use super::{Key, Kind};

pub(super) const SECURITY_HEADERS: &[Key] = &[
    Key::new(
        "security_headers.enabled",
        Kind::Bool,
        "true",
        "Master switch. A field that the app set itself is never touched.",
        |config, value| value.put(&mut config.security_headers.enabled),
    )
    .live(),
    Key::new(
        "security_headers.nosniff",
        Kind::Bool,
        "true",
        "X-Content-Type-Options: nosniff",
        |config, value| value.put(&mut config.security_headers.nosniff),
    )
    .live(),
    Key::new(
        "security_headers.frame_options",
        Kind::HeaderValue,
        "DENY",
        "X-Frame-Options",
        |config, value| value.put(&mut config.security_headers.frame_options),
    )
    .or_off()
    .live(),
    Key::new(
        "security_headers.referrer_policy",
        Kind::HeaderValue,
        "strict-origin-when-cross-origin",
        "Referrer-Policy",
        |config, value| value.put(&mut config.security_headers.referrer_policy),
    )
    .or_off()
    .live(),
    Key::new(
        "security_headers.content_security_policy",
        Kind::HeaderValue,
        "default-src 'self'",
        "Content-Security-Policy. Added to proxied and static answers only where it is set, since it breaks pages.",
        |config, value| value.put(&mut config.security_headers.content_security_policy),
    )
    .or_off()
    .live(),
    Key::new(
        "security_headers.permissions_policy",
        Kind::HeaderValue,
        "camera=(), geolocation=(), microphone=()",
        "Permissions-Policy. Added to proxied and static answers only where it is set, since it breaks pages.",
        |config, value| value.put(&mut config.security_headers.permissions_policy),
    )
    .or_off()
    .live(),
    Key::new(
        "security_headers.hsts",
        Kind::HeaderValue,
        "off",
        "Strict-Transport-Security, as in max-age=31536000; includeSubDomains. Added where tls.cert is set, and never to plain HTTP.",
        |config, value| value.put(&mut config.security_headers.hsts),
    )
    .or_off()
    .live(),
];
