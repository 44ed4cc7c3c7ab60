//! Deadlines that a process which stood still does not hold against others.
//!
//! A process that was stopped, or had its CPU taken away, wakes up to timers that are overdue and to
//! sockets that were filled meanwhile; and the timers may speak first. A stop even interrupts the
//! look at the sockets (`epoll_wait(2)` ends with EINTR, signal(7)), so that the runtime knows of
//! nothing that came. A deadline that is found to be overdue is therefore believed only after a few
//! further looks: between two timers the runtime has looked at its sockets, and what came in time is
//! found there. A deadline that ends on time costs nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that fires within this of its moment is on time: it counts whole milliseconds.
const ON_TIME: Duration = Duration::from_millis(5);
/// Further looks. A byte may take a few of them from the socket to whoever waits for it: one task
/// reads a connection of HTTP/2, and another waits for the stream.
const LOOKS: u8 = 3;
/// Time between two of them: on a machine as busy as it takes to be late, a task may wait as long for
/// its turn.
const APART: Duration = Duration::from_millis(20);

/// How often an overdue deadline was looked at again.
#[derive(Debug, Default, Clone, Copy)]
pub struct Looks(u8);

impl Looks {
    /// To be asked when the timer has fired: when to look again at what was due at `due`; `None`
    /// once it is over.
    pub fn again(&mut self, due: Instant, now: Instant) -> Option<Instant> {
        let first = self.0 == 0;
        if self.0 == LOOKS || (first && now.saturating_duration_since(due) <= ON_TIME) {
            self.0 = 0;
            return None;
        }
        self.0 += 1;
        Some(now + APART)
    }

    /// Whether further looks are being taken.
    pub fn begun(self) -> bool {
        self.0 > 0
    }
}

pin_project! {
    /// As Tokio's `Sleep`, with further looks where it is overdue.
    #[derive(Debug)]
    pub struct Deadline {
        #[pin]
        sleep: Sleep,
        due: Instant,
        looks: Looks,
        over: bool,
    }
}

impl Deadline {
    /// At this moment.
    pub fn at(due: Instant) -> Self {
        Self { sleep: sleep_until(due), due, looks: Looks::default(), over: false }
    }

    /// So long from now; at the end of all days where that cannot be counted.
    pub fn after(time: Duration) -> Self {
        const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self::at(Instant::now() + time.min(A_CENTURY))
    }

    /// At another moment.
    pub fn reset(self: Pin<&mut Self>, due: Instant) {
        let this = self.project();
        this.sleep.reset(due);
        (*this.due, *this.looks, *this.over) = (due, Looks::default(), false);
    }

    /// Whether it was found to be overdue, and is being looked at again.
    pub fn is_overdue(&self) -> bool {
        self.looks.begun()
    }

    /// Whether it has been found over.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while !*this.over {
            ready!(this.sleep.as_mut().poll(cx));
            match this.looks.again(*this.due, Instant::now()) {
                Some(next) => this.sleep.as_mut().reset(next),
                None => *this.over = true,
            }
        }
        Poll::Ready(())
    }
}

/// What `future` comes to, or `None` where it takes longer than `time`.
pub async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut deadline = pin!(Deadline::after(time));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_ends_on_time_is_over_at_once() {
        let began = Instant::now();
        assert_eq!(within(SECOND, std::future::pending::<()>()).await, None);
        assert!(began.elapsed() < SECOND + ON_TIME, "{:?}", began.elapsed());
        assert_eq!(within(SECOND, async { 7 }).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_looks_again_before_it_judges() {
        let mut deadline = pin!(Deadline::after(SECOND));
        assert!(poll_fn(|cx| Poll::Ready(deadline.as_mut().poll(cx))).await.is_pending());
        advance(3 * SECOND).await;
        let late = Instant::now();
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            deadline.as_mut().poll(cx)
        })
        .await;
        assert_eq!(polls, 1 + u32::from(LOOKS));
        assert!(deadline.is_over() && late.elapsed() >= APART * LOOKS.into(), "{:?}", late.elapsed());
        // What is over stays over, until it is set anew.
        deadline.as_mut().await;
        deadline.as_mut().reset(Instant::now() + SECOND);
        assert!(!deadline.is_over());
        assert!(poll_fn(|cx| Poll::Ready(deadline.as_mut().poll(cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_meanwhile_is_found_by_the_second_look() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let reading = tokio::spawn(async move { within(SECOND, receiver.recv()).await });
        tokio::task::yield_now().await;
        advance(3 * SECOND).await;
        // Told only once the deadline has been found overdue, as by a runtime that had not looked.
        tokio::task::yield_now().await;
        sender.send(7).await.unwrap();
        assert_eq!(reading.await.unwrap(), Some(Some(7)));
    }
}
