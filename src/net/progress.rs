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
}

/// When a client was last looked at, and what had moved by then.
#[derive(Debug, Default)]
pub(super) struct Pace {
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

    /// Bytes of request bodies that came.
    pub(super) fn uploaded_so_far(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }
}

impl Pace {
    /// Nobody waits for the client: it is not judged, and later by nothing that came before.
    pub(super) fn forget(&self) {
        self.looked.clear();
    }

    /// Bytes a second that moved since the last look, if that was `span` milliseconds ago or more. `moved` is
    /// all that did, and `now` milliseconds. Nobody is judged by a look of long ago.
    pub(super) fn since_last_look(&self, span: u64, now: u64, moved: u64) -> Option<u64> {
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
        let (progress, pace) = (Progress::default(), Pace::default());
        let look = |now, written| pace.since_last_look(1_000, now, progress.uploaded_so_far() + written);
        progress.uploaded(1 << 20);
        assert_eq!(look(10, 0), None);
        progress.uploaded(500);
        assert_eq!(look(1_009, 0), None);
        // What came before the first look pays for nothing.
        assert_eq!(look(1_010, 500), Some(1_000));
        assert_eq!(look(3_009, 500), Some(0));
        assert_eq!(look(60_000, 500), None);
        // Not waited for, it is judged afresh.
        pace.forget();
        assert_eq!(look(9_000, 500), None);
        assert_eq!(look(10_000, 500), Some(0));
    }
}
