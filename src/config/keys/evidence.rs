//! `evidence.*`

use super::{DAY, Key, Kind, TEBIBYTE};

pub(super) const EVIDENCE: &[Key] = &[
    Key::new(
        "evidence.enabled",
        Kind::Bool,
        "false",
        "Whether what is refused is kept: head without secrets, first bytes and hash of the body. \
         Listed at /evidence on the admin port.",
        |config, value| value.put(&mut config.evidence.enabled),
    ),
    Key::new(
        "evidence.max_count",
        Kind::Count { min: 1, max: 1_000_000 },
        "10000",
        "Entries kept; duplicates are counted in one.",
        |config, value| value.put(&mut config.evidence.max_count),
    )
    .env(&["TRACEHOUND_QUARANTINE_MAX_COUNT"]),
    Key::new(
        "evidence.max_bytes",
        Kind::Size { min: 64 << 10, max: TEBIBYTE },
        "16MiB",
        "Bytes that entries may take. They count toward limits.memory, with 4MiB for what is on its way.",
        |config, value| value.put(&mut config.evidence.max_bytes),
    )
    .env(&["TRACEHOUND_QUARANTINE_MAX_BYTES"]),
    Key::new(
        "evidence.eviction",
        Kind::Choice(&["priority", "oldest"]),
        "priority",
        "Which entry makes room for another: of the least severe reasons the oldest, or the oldest of all.",
        |config, value| value.put(&mut config.evidence.eviction),
    )
    .env(&["TRACEHOUND_QUARANTINE_EVICTION"]),
    Key::new(
        "evidence.body_bytes",
        Kind::Size { min: 0, max: 64 << 10 },
        "1KiB",
        "First bytes of a body that are hashed, and shown where they are a form or JSON, without secrets; 0: none.",
        |config, value| value.put(&mut config.evidence.body_bytes),
    ),
    Key::new(
        "evidence.panic_threshold",
        Kind::Count { min: 1, max: 10_000 },
        "10",
        "Internal faults of the evidence code within evidence.panic_window that switch it off.",
        |config, value| value.put(&mut config.evidence.panic_threshold),
    )
    .env(&["TRACEHOUND_FAILSAFE_PANIC_THRESHOLD"]),
    Key::new(
        "evidence.panic_window",
        Kind::Time { min: 1, max: DAY },
        "60s",
        "See evidence.panic_threshold.",
        |config, value| value.put(&mut config.evidence.panic_window),
    )
    .env(&["TRACEHOUND_FAILSAFE_WINDOW_MS"]),
];
