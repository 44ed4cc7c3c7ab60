//! The life of the process: its phase, the signals that move it, and whether it wants traffic.

use std::time::Instant;

use tokio::sync::watch;

mod phase;
pub mod readiness;

pub use phase::{Event, Phase};

/// A reader of the phase. Cheap to clone; every part of the server holds one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    phase: watch::Receiver<Phase>,
    started: Instant,
}

/// The one writer of the phase.
#[derive(Debug)]
pub struct LifecycleWriter {
    phase: watch::Sender<Phase>,
}

/// A life that begins now.
pub fn begin() -> (LifecycleWriter, Lifecycle) {
    let (sender, receiver) = watch::channel(Phase::Starting);
    (LifecycleWriter { phase: sender }, Lifecycle { phase: receiver, started: Instant::now() })
}

impl LifecycleWriter {
    /// Moves the phase on, logs the step, and returns where it is now.
    pub fn apply(&self, event: Event) -> Phase {
        let before = *self.phase.borrow();
        let after = before.next(event);
        if after != before {
            tracing::info!(from = before.as_str(), to = after.as_str(), "phase");
            self.phase.send_replace(after);
        }
        after
    }
}

impl Lifecycle {
    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// When this life began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits until the phase is `phase` or later.
    pub async fn reached(&mut self, phase: Phase) {
        // The writer only goes away with the process; then there is nothing left to wait for.
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }
}
