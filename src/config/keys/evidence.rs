//! `evidence.*`

use super::{DAY, Key, Kind, StorePart, TEBIBYTE};

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
        "First bytes of a body that are hashed, and shown where they are a form or JSON, without secrets; 0: none. Times limits.max_in_flight they count toward limits.memory.",
        |config, value| value.put(&mut config.evidence.body_bytes),
    ),
    Key::new(
        "evidence.storage",
        Kind::Store(StorePart::Place),
        "off",
        "Where entries are written on to, in compressed batches: a folder, or s3://bucket/prefix.",
        |config, value| value.put(&mut config.evidence.storage),
    )
    .or_off(),
    Key::new(
        "evidence.storage_max_bytes",
        Kind::Size { min: 1 << 20, max: TEBIBYTE },
        "256MiB",
        "Bytes of batches in a folder; the oldest are removed.",
        |config, value| value.put(&mut config.evidence.storage_max_bytes),
    ),
    Key::new(
        "evidence.flush_interval",
        Kind::Time { min: 100, max: DAY },
        "5s",
        "How often what is new is written to evidence.storage. Failures are tried again after pauses that grow.",
        |config, value| value.put(&mut config.evidence.flush_interval),
    )
    .env(&["TRACEHOUND_SCHEDULER_TICK_MS"]),
    Key::new(
        "evidence.s3_bucket",
        Kind::Store(StorePart::Bucket),
        "off",
        "The bucket, where evidence.storage does not name one.",
        |config, value| value.put(&mut config.evidence.s3_bucket),
    )
    .env(&["TRACEHOUND_COLD_STORAGE_BUCKET"])
    .or_off(),
    Key::new(
        "evidence.s3_prefix",
        Kind::Store(StorePart::Prefix),
        "off",
        "What keys in evidence.s3_bucket begin with.",
        |config, value| value.put(&mut config.evidence.s3_prefix),
    )
    .env(&["TRACEHOUND_COLD_STORAGE_PREFIX"])
    .or_off(),
    Key::new(
        "evidence.s3_region",
        Kind::Store(StorePart::Region),
        "us-east-1",
        "The bucket's region.",
        |config, value| value.put(&mut config.evidence.s3_region),
    )
    .env(&["TRACEHOUND_COLD_STORAGE_REGION"]),
    Key::new(
        "evidence.s3_endpoint",
        Kind::Store(StorePart::Endpoint),
        "off",
        "The server that has the bucket; off: AWS, in evidence.s3_region.",
        |config, value| value.put(&mut config.evidence.s3_endpoint),
    )
    .or_off(),
    Key::new(
        "evidence.s3_ca",
        Kind::File,
        "off",
        "A file of CAs that the server's certificate is checked by, in place of the public ones.",
        |config, value| value.put(&mut config.evidence.s3_ca),
    )
    .or_off(),
    Key::new(
        "evidence.s3_access_key_id",
        Kind::Store(StorePart::Key),
        "off",
        "Whose key requests to the bucket are signed with.",
        |config, value| value.put(&mut config.evidence.s3_access_key_id),
    )
    .env(&["AWS_ACCESS_KEY_ID"])
    .or_off()
    .secret(),
    Key::new(
        "evidence.s3_secret_access_key",
        Kind::Store(StorePart::Key),
        "off",
        "The key itself.",
        |config, value| value.put(&mut config.evidence.s3_secret_access_key),
    )
    .env(&["AWS_SECRET_ACCESS_KEY"])
    .or_off()
    .secret(),
    Key::new(
        "evidence.s3_session_token",
        Kind::Store(StorePart::Key),
        "off",
        "What goes with a key that is good for a while only.",
        |config, value| value.put(&mut config.evidence.s3_session_token),
    )
    .env(&["AWS_SESSION_TOKEN"])
    .or_off()
    .secret(),
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
