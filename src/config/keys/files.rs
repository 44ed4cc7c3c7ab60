//! `files.*` and `compression.*`

use super::{Key, Kind, TEBIBYTE};

pub(super) const FILES: &[Key] = &[
    Key::new(
        "files.root",
        Kind::Folder,
        "off",
        "A folder whose files answer every request that no other route takes.",
        |config, value| value.put(&mut config.files.root),
    )
    .env(&["ROOT"])
    .or_off()
    .live(),
    Key::new(
        "files.cache_control",
        Kind::HeaderValue,
        "off",
        "Cache-Control of the files.",
        |config, value| value.put(&mut config.files.cache_control),
    )
    .or_off()
    .live(),
    Key::new(
        "files.fallback",
        Kind::UrlPath { query: false },
        "off",
        "URL path below the root that is answered where no file is, as in /index.html for a single-page app.",
        |config, value| value.put(&mut config.files.fallback),
    )
    .or_off()
    .live(),
    Key::new(
        "files.precompressed",
        Kind::Bool,
        "true",
        "Whether x.br, x.zst and x.gz are answered for x, to clients that understand them.",
        |config, value| value.put(&mut config.files.precompressed),
    )
    .live(),
];

pub(super) const COMPRESSION: &[Key] = &[
    Key::new("compression.enabled", Kind::Bool, "false", "Master switch.", |config, value| {
        value.put(&mut config.compression.enabled)
    })
    .live(),
    Key::new(
        "compression.algorithms",
        Kind::Algorithms,
        "zstd br gzip",
        "What is offered; of what a client takes alike, the first.",
        |config, value| value.put(&mut config.compression.algorithms),
    )
    .live(),
    Key::new(
        "compression.min_size",
        Kind::Size { min: 0, max: TEBIBYTE },
        "1KiB",
        "Smaller answers go out as they are.",
        |config, value| value.put(&mut config.compression.min_size),
    )
    .live(),
    Key::new(
        "compression.max_concurrent",
        Kind::Count { min: 1, max: 100_000 },
        "64",
        "Answers compressed at a time; beyond it they go out as they are. Fewer where limits.memory holds no more.",
        |config, value| value.put(&mut config.compression.max_concurrent),
    )
    .live(),
];
