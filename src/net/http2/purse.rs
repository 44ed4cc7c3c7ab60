//! What the client takes of all answers together, against what it should take of those that wait.
//!
//! Streams share a socket and a window, and take turns in both. One that waits for its turn is not
//! read slowly, as long as the others are read as fast as all of them should be: the client pays
//! the slowest pace once for each answer that it keeps waiting, on whichever stream.

use std::time::Duration;

use tokio::time::Instant;

/// What was taken beyond what was due.
#[derive(Debug, Default)]
pub(super) struct Purse {
    /// Bytes ahead of what was due; never less than none.
    ahead: f64,
    delivered: u64,
    looked: Option<Instant>,
}

impl Purse {
    /// Whether `delivered` bytes in all pay for streams that should have moved at `due` bytes a second
    /// together since the last look. What came early counts for a later pause, up to `most`.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53 between two looks")]
    pub(super) fn pays(&mut self, now: Instant, due: f64, most: f64, delivered: u64) -> bool {
        let time = self.looked.replace(now).map_or(Duration::ZERO, |looked| now - looked);
        let came = delivered.saturating_sub(self.delivered) as f64;
        self.delivered = delivered;
        self.ahead = ((self.ahead + came).min(most) - due * time.as_secs_f64()).max(0.0);
        self.ahead > 0.0
    }
}
