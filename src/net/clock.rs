//! One timer for all deadlines of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::deadline::Looks;

/// The timer counts whole milliseconds, and must not fire a hair before its deadline.
const GRAIN: Duration = Duration::from_millis(1);

pin_project! {
    /// Set anew only for an earlier deadline: a later one is found when it fires, so that requests
    /// which come and go never touch the timer.
    #[derive(Debug, Default)]
    pub struct Clock {
        #[pin]
        sleep: Option<Sleep>,
        looks: Looks,
    }
}

impl Clock {
    /// Whether it is armed and will fire by `at`, so that nothing need be done until then.
    pub(super) fn covers(self: Pin<&mut Self>, at: Instant) -> bool {
        let sleep = self.project().sleep.as_pin_mut();
        sleep.is_some_and(|sleep| !sleep.is_elapsed() && sleep.deadline() <= at + GRAIN)
    }

    /// Ready once `at` is over, and has been looked at again if it was found to be overdue: whoever
    /// asks reads what has come before each call (see [`crate::deadline`]).
    pub(crate) fn wait_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let now = Instant::now();
            let wake = if now < at {
                *this.looks = Looks::default();
                at + GRAIN
            } else if this.looks.begun()
                && this.sleep.as_ref().as_pin_ref().is_some_and(|it| !it.is_elapsed())
            {
                return Poll::Pending;
            } else {
                // SECURITY: late is the timer that was set, if one was. What is overdue without one, since
                // a client wakes the connection again and again, must not be put off each time.
                let set = this.sleep.as_ref().as_pin_ref().filter(|sleep| sleep.is_elapsed());
                let due = set.map_or(now, |sleep| sleep.deadline());
                match this.looks.again(due, now) {
                    Some(next) => next,
                    None => return Poll::Ready(()),
                }
            };
            match this.sleep.as_mut().as_pin_mut() {
                None => this.sleep.set(Some(sleep_until(wake))),
                Some(sleep) if sleep.is_elapsed() || wake < sleep.deadline() || this.looks.begun() => {
                    sleep.reset(wake);
                }
                // Armed already, with the same task to wake.
                Some(_) => return Poll::Pending,
            }
            match this.sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                Some(Poll::Ready(())) => {}
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }
}
