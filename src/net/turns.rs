//! Who goes first when there is more to do than can be done at once.
//!
//! Tasks of a runtime take turns. Where hundreds of connections ask without a pause, whoever asks once
//! in a while waits for a turn of each of them: a lap. So when laps get long, connections that come again
//! and again wait in a line of their own, some of which is let into each lap, and those that had
//! nothing to do for a moment go past it. It is what routers do for flows that are sparse (FQ-CoDel, RFC
//! 8290 section 4.2). Nobody gets less done by it: the line moves as fast as there is time for it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A lap that is longer than this is long.
const LONG: Duration = Duration::from_millis(4);
/// How often a lap is measured while there is work, and while there is none.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_IDLE: Duration = Duration::from_millis(250);
/// How long there is a line, at least.
const HOLD: Duration = Duration::from_secs(1);
/// After a pause of this length a connection goes past the line,
const PAUSE: Duration = Duration::from_millis(50);
/// and works for so long before it stands in it: a request and its answer, by way of an upstream.
const BURST: Duration = Duration::from_micros(50);
/// How many of the line are let into a lap: an eighth, and so many at least.
const AT_LEAST: usize = 16;
const PART: usize = 8;

/// The line. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    crowded: AtomicBool,
    /// Somebody had a turn since this was last looked at.
    busy: AtomicBool,
    line: Mutex<VecDeque<(Arc<AtomicBool>, Waker)>>,
    came: Notify,
}

impl Turns {
    /// Has `task` take part.
    pub fn fair<F: Future>(&self, task: F) -> Fair<F> {
        Fair { task, turns: self.clone(), last: None, burst: Duration::ZERO, waits: false, turn: None }
    }

    /// Measures laps, and moves the line. Whoever stands in it stays there once this has ended.
    pub async fn run(self) {
        loop {
            self.until_crowded().await;
            self.0.crowded.store(true, Ordering::Release);
            while self.serve_line(Instant::now() + HOLD).await {}
            self.0.crowded.store(false, Ordering::Release);
            // Nobody comes any more, but for one that was about to.
            while self.admit(usize::MAX) > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn until_crowded(&self) {
        loop {
            let busy = self.0.busy.swap(false, Ordering::Relaxed);
            let due = Instant::now() + if busy { LOOK } else { LOOK_IDLE };
            tokio::time::sleep_until(due).await;
            if due.elapsed() > LONG {
                return;
            }
        }
    }

    /// Whether somebody had to wait for more than a lap until then.
    async fn serve_line(&self, until: Instant) -> bool {
        let mut waited = false;
        while let Ok(()) = tokio::time::timeout_at(until, self.0.came.notified()).await {
            loop {
                // A lap: whoever was ready before has had a turn when it ends.
                tokio::task::yield_now().await;
                let length = self.line().len();
                if length == 0 {
                    break;
                }
                let part = AT_LEAST.max(length / PART);
                waited |= length > part;
                self.admit(part);
                if Instant::now() >= until {
                    self.0.came.notify_one();
                    return waited;
                }
            }
        }
        waited
    }

    fn admit(&self, count: usize) -> usize {
        // Woken outside the lock: a task may have its turn at once, on another thread.
        let first: Vec<_> = {
            let mut line = self.line();
            let count = count.min(line.len());
            line.drain(..count).collect()
        };
        for (turn, waker) in &first {
            turn.store(true, Ordering::Release);
            waker.wake_by_ref();
        }
        first.len()
    }

    fn stand(&self, turn: Arc<AtomicBool>, waker: Waker) {
        let mut line = self.line();
        line.push_back((turn, waker));
        if line.len() == 1 {
            self.0.came.notify_one();
        }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<(Arc<AtomicBool>, Waker)>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// A task that stands in line when others have had less.
    #[derive(Debug)]
    pub struct Fair<F> {
        #[pin]
        task: F,
        turns: Turns,
        last: Option<Instant>,
        burst: Duration,
        waits: bool,
        turn: Option<Arc<AtomicBool>>,
    }
}

impl<F: Future> Future for Fair<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let turns = &this.turns.0;
        // Read first: all connections share it.
        if !turns.busy.load(Ordering::Relaxed) {
            turns.busy.store(true, Ordering::Relaxed);
        }
        if !*this.waits && !turns.crowded.load(Ordering::Acquire) {
            return this.task.poll(cx);
        }
        let begun = Instant::now();
        if *this.waits {
            // What wakes it meanwhile is looked at when its turn comes.
            match this.turn {
                Some(turn) if !turn.swap(false, Ordering::Acquire) => return Poll::Pending,
                _ => *this.waits = false,
            }
        } else {
            if this.last.is_none_or(|last| begun - last >= PAUSE) {
                *this.burst = Duration::ZERO;
            }
            if *this.burst >= BURST {
                *this.waits = true;
                let turn = this.turn.get_or_insert_default().clone();
                this.turns.stand(turn, cx.waker().clone());
                return Poll::Pending;
            }
        }
        let polled = this.task.poll(cx);
        let now = Instant::now();
        // To have stood in line is no pause.
        *this.last = Some(now);
        *this.burst += now - begun;
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const GREEDY: usize = 400;

    /// Keeps the thread busy for about as long as a request does.
    fn work() {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
    }

    /// Turns of greedy tasks between the wake of one that was quiet and its own turn, at most.
    async fn overtaken(turns: Turns) -> usize {
        let had = Arc::new(AtomicUsize::new(0));
        for _ in 0..GREEDY {
            let had = had.clone();
            tokio::spawn(turns.fair(async move {
                loop {
                    had.fetch_add(1, Ordering::Relaxed);
                    work();
                    // Woken by itself as by a socket: at the end of the runtime's queue.
                    let mut woken = false;
                    std::future::poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
            }));
        }
        let quiet = tokio::spawn(turns.fair(async move {
            let mut most = 0;
            for round in 0..12 {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let had = had.clone();
                let counter = had.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PAUSE * 3 / 2).await;
                    sender.send(counter.load(Ordering::Relaxed)).unwrap();
                });
                let before = receiver.await.unwrap();
                // It takes a moment until it is seen that there are too many.
                if round >= 6 {
                    most = most.max(had.load(Ordering::Relaxed) - before);
                }
            }
            most
        }));
        quiet.await.unwrap()
    }

    #[tokio::test]
    async fn whoever_was_quiet_goes_past_those_who_come_again_and_again() {
        let turns = Turns::default();
        let runs = tokio::spawn(turns.clone().run());
        let most = overtaken(turns).await;
        assert!(most <= 3 * GREEDY / PART, "{most}");
        runs.abort();
    }

    #[tokio::test]
    async fn without_a_line_it_waits_for_a_lap() {
        assert!(overtaken(Turns::default()).await >= GREEDY / 2);
    }

    #[tokio::test]
    async fn everybody_has_a_turn_and_the_line_ends_with_the_crowd() {
        let turns = Turns::default();
        let runs = tokio::spawn(turns.clone().run());
        let tasks: Vec<_> = (0..GREEDY)
            .map(|_| {
                tokio::spawn(turns.fair(async {
                    for _ in 0..20 {
                        work();
                        tokio::task::yield_now().await;
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(turns.line().is_empty());
        while turns.0.crowded.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK).await;
        }
        runs.abort();
    }

    #[tokio::test]
    async fn while_laps_are_short_nobody_stands_in_line() {
        let turns = Turns::default();
        let task = turns.fair(async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        });
        task.await;
        assert!(turns.line().is_empty() && !turns.0.crowded.load(Ordering::Acquire));
    }
}
