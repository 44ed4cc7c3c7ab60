//! How far a client gets while it is the one who is waited for: what tells, when room is short, who can
//! be spared.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::stamp::Stamp;

/// What is known of one connection.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bodies whose next bytes somebody waits for.
    uploads: AtomicU32,
    uploaded: AtomicU64,
    /// Some HTTP/2 stream has bytes that its window does not let go.
    held_up: AtomicBool,
    /// Its task waits for its turn.
    stands: AtomicBool,
    /// When it was last looked at, and what had moved by then.
    looked: Stamp,
    moved: AtomicU64,
}

impl Progress {
    /// Somebody waits for more of a request body; or does no longer.
    pub fn waits_for_upload(&self, waits: bool) {
        match waits {
            true => self.uploads.fetch_add(1, Ordering::Relaxed),
            false => self.uploads.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Whether somebody does.
    pub fn awaits_upload(&self) -> bool {
        self.uploads.load(Ordering::Relaxed) > 0
    }

    /// Bytes of a request body came.
    pub fn uploaded(&self, bytes: usize) {
        self.uploaded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether an HTTP/2 stream waits for its client to open the window.
    pub fn holds_up(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::Relaxed);
    }

    /// Its task waits for its turn, and so nobody waits for its client; or does no longer.
    pub fn stand_in_line(&self, stands: bool) {
        self.stands.store(stands, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn stands_in_line(&self) -> bool {
        self.stands.load(Ordering::Relaxed)
    }

    /// Whether a body or a stream waits for the client.
    pub fn waits(&self) -> bool {
        self.held_up.load(Ordering::Relaxed) || self.awaits_upload()
    }

    /// Bytes a second that moved since the last look, if that was `span` milliseconds ago or more. `written`
    /// is what the client has taken in all, and `now` milliseconds. A client that nobody waits for is not
    /// judged, and by nothing that came before; nor is one by a look of long ago.
    pub fn pace(&self, waited_for: bool, span: u64, now: u64, written: u64) -> Option<u64> {
        if !waited_for || self.stands_in_line() {
            self.looked.clear();
            return None;
        }
        let moved = self.uploaded.load(Ordering::Relaxed) + written;
        let before = self.looked.get();
        let elapsed = before.map_or(0, |looked| now.saturating_sub(looked));
        if before.is_some() && elapsed < span {
            return None;
        }
        self.looked.set(now);
        let moved_then = self.moved.swap(moved, Ordering::Relaxed);
        // Looked at again when room is short again.
        before
            .filter(|_| elapsed < 2 * span)
            .map(|_| moved.saturating_sub(moved_then) * 1000 / elapsed.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_that_of_the_last_second_in_which_the_client_was_waited_for() {
        let progress = Progress::default();
        progress.uploaded(1 << 20);
        assert_eq!(progress.pace(true, 1_000, 10, 0), None);
        progress.uploaded(500);
        assert_eq!(progress.pace(true, 1_000, 1_009, 0), None);
        // What came before the first look pays for nothing.
        assert_eq!(progress.pace(true, 1_000, 1_010, 500), Some(1_000));
        assert_eq!(progress.pace(true, 1_000, 3_009, 500), Some(0));
        assert_eq!(progress.pace(true, 1_000, 60_000, 500), None);
        // Not waited for, it is judged afresh.
        assert_eq!(progress.pace(false, 1_000, 3_100, 500), None);
        assert_eq!(progress.pace(true, 1_000, 9_000, 500), None);
        assert_eq!(progress.pace(true, 1_000, 10_000, 500), Some(0));
    }
}
