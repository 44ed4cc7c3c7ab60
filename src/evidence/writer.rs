//! The task that writes on to cold storage, and the last of it at the end.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::cold::Cold;
use super::{Evidence, Inner};

/// Bytes of entries in a batch, as they are held.
const A_BATCH: u64 = 1 << 20;
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Evidence {
    /// Writes to cold storage what is not there, every `interval`, for as long as it is polled.
    pub async fn write_on(self, mut cold: Cold, interval: Duration) {
        let inner = &*self.0;
        inner.metrics.cold_storage_failures(0);
        let mut failures = 0u64;
        let mut in_a_row = 0u32;
        loop {
            let pause = interval.saturating_mul(1 << in_a_row.min(12)).min(LONGEST_PAUSE.max(interval));
            tokio::select! {
                () = sleep(pause) => {}
                () = inner.hurry.notified() => {}
            }
            match inner.write_all(&mut cold).await {
                Ok(()) => {
                    if in_a_row > 0 {
                        tracing::info!("evidence is written to evidence.storage again");
                    }
                    in_a_row = 0;
                }
                Err(error) => {
                    (failures, in_a_row) = (failures + 1, in_a_row.saturating_add(1));
                    inner.metrics.cold_storage_failures(failures);
                    // Once for each time that it begins: a log must not fill up because a disk has.
                    if in_a_row == 1 {
                        tracing::warn!(
                            "evidence cannot be written to evidence.storage, and is kept in memory: {error}"
                        );
                    }
                }
            }
            inner.rounds.send_modify(|(round, failed)| (*round, *failed) = (*round + 1, in_a_row > 0));
        }
    }

    /// What there is, is written soon.
    pub fn hurry(&self) {
        self.0.hurry.notify_one();
    }

    /// Reads and writes the last of it, within `bound`.
    pub async fn finish(&self, bound: Duration) {
        let inner = &*self.0;
        let deadline = Instant::now() + bound;
        let mut rounds = inner.rounds.subscribe();
        while Instant::now() < deadline && inner.fuse.guard(|| inner.read(1)) == Some(true) {
            tokio::task::yield_now().await;
        }
        while inner.stores && !inner.store().unstored(1).is_empty() {
            self.hurry();
            let left = deadline.saturating_duration_since(Instant::now());
            let over = timeout(left, rounds.changed()).await.is_err();
            if over || rounds.borrow().1 {
                let left = inner.store().waiting_for_storage();
                tracing::warn!(
                    entries = left,
                    "evidence that never came to evidence.storage ends with the process"
                );
                return;
            }
        }
    }
}

impl Inner {
    /// Writes batch after batch, until one was not full: what comes meanwhile waits for the next time.
    pub(super) async fn write_all(&self, cold: &mut Cold) -> Result<(), String> {
        loop {
            let batch = self.store().unstored(A_BATCH);
            if batch.is_empty() {
                return Ok(());
            }
            let size: u64 = batch.iter().map(|entry| entry.cost()).sum();
            let ids: Vec<u64> = batch.iter().map(|entry| entry.id).collect();
            cold.put(batch).await?;
            self.store().are_stored(&ids);
            if size < A_BATCH {
                return Ok(());
            }
        }
    }
}
