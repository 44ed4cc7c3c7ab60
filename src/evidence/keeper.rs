//! The task that reads what came in.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Evidence;

/// Refusals that are read in a turn, and how long after it the next is. To read one takes a dozen microseconds:
/// SECURITY: so this is what a flood can make the server spend, whatever it sends.
const A_TURN: usize = 128;
const REST: Duration = Duration::from_millis(100);

/// How often the metrics are told.
const TELL: Duration = Duration::from_secs(1);

impl Evidence {
    /// Reads what comes in, for as long as it is polled.
    pub async fn keep(self) {
        let inner = &*self.0;
        inner.tell();
        let mut told = Instant::now();
        loop {
            tokio::select! {
                () = inner.came.notified() => {}
                () = sleep_until(told + TELL) => {}
            }
            while inner.read_a_turn().await {
                sleep(REST).await;
            }
            if inner.fuse.is_blown() {
                inner.give_up();
            }
            inner.tell();
            told = Instant::now();
        }
    }
}

impl super::Inner {
    /// Whether there may be more. Others have their turn between two entries.
    async fn read_a_turn(&self) -> bool {
        for _ in 0..A_TURN {
            if self.fuse.guard(|| self.read(1)) != Some(true) {
                return false;
            }
            tokio::task::yield_now().await;
        }
        true
    }

    /// It is off: what is held is held for nothing.
    fn give_up(&self) {
        while self.intake.next().is_some() {}
        self.store().clear();
    }
}
