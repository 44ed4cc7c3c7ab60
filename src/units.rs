//! Sizes, durations and rates as operators write them: `64KiB`, `30s`, `500 B/s after 5s`.

use std::time::Duration;

/// A slowest allowed pace: `bytes_per_second`, not judged before `grace` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Time without judgement.
    pub grace: Duration,
}
