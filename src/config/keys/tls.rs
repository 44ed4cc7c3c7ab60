//! `tls.*`

use super::{Key, Kind, TIMEOUT};

pub(super) const TLS: &[Key] = &[
    Key::new(
        "tls.cert",
        Kind::Files,
        "off",
        "Certificate with its chain (PEM): server.port then speaks HTTPS alone. Of several, the first is for clients that \
         ask for no name of another. Changes of the file are taken over.",
        |config, value| value.put(&mut config.tls.cert),
    )
    .env(&["TLS_CERT"])
    .or_off()
    .live(),
    Key::new(
        "tls.key",
        Kind::Files,
        "off",
        "Private key of tls.cert (PEM, not encrypted); of several, in the same order.",
        |config, value| value.put(&mut config.tls.key),
    )
    .env(&["TLS_KEY"])
    .or_off()
    .live(),
    Key::new(
        "tls.min_version",
        Kind::Choice(&["1.2", "1.3"]),
        "1.2",
        "The oldest version that is spoken.",
        |config, value| value.put(&mut config.tls.min_version),
    )
    .live(),
    Key::new(
        "tls.handshake_timeout",
        TIMEOUT,
        "10s",
        "From the accept to the end of the handshake.",
        |config, value| value.put(&mut config.tls.handshake_timeout),
    ),
    Key::new(
        "tls.client_auth",
        Kind::Choice(&["off", "optional", "required"]),
        "off",
        "Whether clients are asked for a certificate, of a CA of tls.client_ca; optional: one that is sent has to be good.",
        |config, value| value.put(&mut config.tls.client_auth),
    )
    .live(),
    Key::new(
        "tls.client_ca",
        Kind::Files,
        "off",
        "CAs of clients (PEM).",
        |config, value| value.put(&mut config.tls.client_ca),
    )
    .or_off()
    .live(),
    Key::new(
        "tls.redirect_port",
        Kind::Count { min: 1, max: 65_535 },
        "off",
        "A second port, for plain HTTP: answers probes, and 308 to https for everything else.",
        |config, value| value.put(&mut config.tls.redirect_port),
    )
    .or_off(),
    Key::new(
        "tls.public_port",
        Kind::Count { min: 1, max: 65_535 },
        "443",
        "The port that clients are redirected to: where they reach server.port.",
        |config, value| value.put(&mut config.tls.public_port),
    ),
];
