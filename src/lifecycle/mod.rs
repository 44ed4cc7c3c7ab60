//! The life of the process: its phase, the signals that move it, and whether it wants traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

mod phase;
pub mod readiness;
pub mod service_manager;
pub mod signals;

pub use phase::{Event, Phase};

/// How long after the drain delay a request is still served that was on its way.
pub const LAST_CALL: Duration = Duration::from_secs(2);

/// A reader of the phase. Cheap to clone; every part of the server holds one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    watch: watch::Receiver<Phase>,
    shared: Arc<Shared>,
}

/// What is read on the way of every request, without a lock.
#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    /// Milliseconds of life, plus one, at which new requests began to be refused; zero before.
    refusing: AtomicU64,
    started: Instant,
}

/// The one writer of the phase.
#[derive(Debug)]
pub struct LifecycleWriter {
    watch: watch::Sender<Phase>,
    shared: Arc<Shared>,
}

/// A life that begins now.
pub fn begin() -> (LifecycleWriter, Lifecycle) {
    let (sender, receiver) = watch::channel(Phase::Starting);
    let shared = Arc::new(Shared {
        phase: AtomicU8::new(Phase::Starting as u8),
        refusing: AtomicU64::new(0),
        started: Instant::now(),
    });
    (LifecycleWriter { watch: sender, shared: shared.clone() }, Lifecycle { watch: receiver, shared })
}

impl LifecycleWriter {
    /// Moves the phase on, logs the step, and returns where it is now.
    pub fn apply(&self, event: Event) -> Phase {
        let before = *self.watch.borrow();
        let after = before.next(event);
        if after != before {
            self.shared.phase.store(after as u8, Ordering::Release);
            self.watch.send_replace(after);
            tracing::info!(from = before.as_str(), to = after.as_str(), "phase");
        }
        after
    }

    /// Ends the drain delay: from now on new requests are refused.
    pub fn refuse_new_requests(&self) {
        let now = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.shared.refusing.store(now + 1, Ordering::Release);
    }
}

impl Lifecycle {
    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        let phase = self.shared.phase.load(Ordering::Acquire);
        Phase::ALL.get(usize::from(phase)).copied().unwrap_or(Phase::Stopping)
    }

    /// Whether new requests are refused: the drain delay has been over for [`LAST_CALL`].
    ///
    /// A client that had nothing to ask during the delay was never told to go, and may be asking
    /// at the very moment in which its connection is looked at and found idle.
    pub fn refuses_new_requests(&self) -> bool {
        match self.shared.refusing.load(Ordering::Acquire) {
            0 => false,
            since => self.shared.started.elapsed() >= Duration::from_millis(since) + LAST_CALL,
        }
    }

    /// When this life began.
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Waits until the phase is `phase` or later.
    pub async fn reached(&mut self, phase: Phase) {
        // The writer only goes away with the process; then there is nothing left to wait for.
        let _ = self.watch.wait_for(|now| *now >= phase).await;
    }
}
