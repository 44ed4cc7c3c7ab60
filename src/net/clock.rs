//! One timer for all deadlines of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer counts whole milliseconds, and must not fire a hair before its deadline.
const GRAIN: Duration = Duration::from_millis(1);

pin_project! {
    /// Set anew only for an earlier deadline: a later one is found when it fires, so that requests
    /// which come and go never touch the timer.
    #[derive(Debug, Default)]
    pub struct Clock {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Clock {
    /// Whether it is armed and will fire by `at`, so that nothing need be done until then.
    pub(super) fn covers(self: Pin<&mut Self>, at: Instant) -> bool {
        let sleep = self.project().sleep.as_pin_mut();
        sleep.is_some_and(|sleep| !sleep.is_elapsed() && sleep.deadline() <= at + GRAIN)
    }

    /// Ready at `at` or earlier; the caller then looks again at what is due.
    pub(crate) fn wait_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = at + GRAIN;
        let mut this = self.project();
        match this.sleep.as_mut().as_pin_mut() {
            None => this.sleep.set(Some(sleep_until(at))),
            Some(sleep) if sleep.is_elapsed() || at < sleep.deadline() => sleep.reset(at),
            // Armed already, with the same task to wake.
            Some(_) => return Poll::Pending,
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}
