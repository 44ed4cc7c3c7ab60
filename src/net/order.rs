//! The orders that a connection is given, and whom they wake.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;

/// What a connection can be told to do. Orders add up and are never taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Tell the client that no further request is wanted: GOAWAY, or the end of an upgrade.
    GoAway = 1,
    /// Close once nothing is in flight and nothing is on its way.
    CloseIdle = 2,
    /// Close now.
    Abort = 4,
    /// Make room for another: what has come already is answered, and nothing is waited for.
    MakeRoom = 8,
}

/// Beside the orders: it was woken for its time, and is named no longer.
const LOOK: u8 = 16;

/// What one connection was told. The waker is not in here: there would be a gap, in each of thousands that wait.
#[derive(Debug, Default)]
pub(super) struct Orders(AtomicU8);

impl Orders {
    /// Gives one, and wakes whoever is named.
    pub(super) fn give(&self, order: Order, to: &AtomicWaker) {
        self.0.fetch_or(order as u8, Ordering::AcqRel);
        to.wake();
    }

    /// Whether any of these was given.
    pub(super) fn are(&self, any: u8) -> bool {
        self.0.load(Ordering::Acquire) & any != 0
    }

    /// Keeps a task named: to be woken is to be forgotten for the next time.
    pub(super) fn keep_registered(&self, waker: &Waker, at: &AtomicWaker) {
        let given = self.0.load(Ordering::Acquire);
        if given == 0 {
            return;
        }
        // Before it is named again: who wakes it meanwhile is seen by the next look.
        if given & LOOK != 0 {
            self.0.fetch_and(!LOOK, Ordering::AcqRel);
        }
        at.register(waker);
    }

    /// Wakes whoever is named, for its time is over. The number of a wait outlives it, and may find a connection at
    /// work by then, which must not be deaf from now on.
    pub(super) fn look(&self, whom: &AtomicWaker) {
        self.0.fetch_or(LOOK, Ordering::AcqRel);
        whom.wake();
    }
}
