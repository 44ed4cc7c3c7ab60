//! Who goes first when there is more to do than can be done at once.
//!
//! Tasks of a runtime take turns. Where hundreds of connections ask without a pause, whoever asks once
//! in a while waits for a turn of each of them: a lap. So when laps get long, connections that come again
//! and again wait in a line of their own, some of which is let into each lap, and those that had
//! nothing to do for a moment go past it. It is what routers do for flows that are sparse (FQ-CoDel, RFC
//! 8290 section 4.2). Nobody gets less done by it: the line moves as fast as there is time for it.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::state::ConnState;

/// A lap that is longer than this is long.
const LONG: Duration = Duration::from_millis(4);
/// How often a lap is measured while there is work, and while there is none.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_IDLE: Duration = Duration::from_millis(250);
/// How long there is a line, at least.
const HOLD: Duration = Duration::from_secs(1);
/// After a pause of this length a connection goes past the line,
const PAUSE: Duration = Duration::from_millis(50);
/// and has so many turns, and works for so long, before it stands in it.
const TURNS: u8 = 3;
const BURST: Duration = Duration::from_micros(50);
/// How many of the line are let into a lap: an eighth, and so many at least.
const AT_LEAST: usize = 16;
const PART: usize = 8;

/// The line. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// There is a line. It changes under the line's lock, so that nobody stands in one that has ended.
    crowded: AtomicBool,
    /// Somebody had a turn since this was last looked at.
    busy: AtomicBool,
    line: Mutex<VecDeque<(Arc<AtomicBool>, Waker)>>,
    came: Notify,
}

impl Turns {
    /// Has `task`, which serves `connection`, take part.
    pub fn fair<F: Future>(&self, connection: Arc<ConnState>, task: F) -> Fair<F> {
        let turns = self.clone();
        Fair { task, connection, turns, record: None }
    }

    /// Measures laps, and moves the line.
    pub async fn run(self) {
        // However this ends, nobody is left standing.
        let _end = End(&self);
        loop {
            self.until_crowded().await;
            self.0.crowded.store(true, Ordering::Release);
            while self.serve_line(Instant::now() + HOLD).await {}
            self.disband();
        }
    }

    async fn until_crowded(&self) {
        loop {
            let busy = self.0.busy.swap(false, Ordering::Relaxed);
            tokio::time::sleep(if busy { LOOK } else { LOOK_IDLE }).await;
            // Twice: one handler that keeps a thread for itself is no crowd.
            if lap().await > LONG && lap().await > LONG {
                return;
            }
        }
    }

    /// Whether somebody had to wait for more than a lap until then.
    async fn serve_line(&self, until: Instant) -> bool {
        let mut waited = false;
        while let Ok(()) = tokio::time::timeout_at(until, self.0.came.notified()).await {
            loop {
                lap().await;
                let length = self.line().len();
                if length == 0 {
                    break;
                }
                let part = AT_LEAST.max(length / PART);
                waited |= length > part;
                let first = self.line().drain(..part.min(length)).collect();
                admit(first);
                if Instant::now() >= until {
                    self.0.came.notify_one();
                    return waited;
                }
            }
        }
        waited
    }

    fn disband(&self) {
        let mut line = self.line();
        self.0.crowded.store(false, Ordering::Release);
        let all = line.drain(..).collect();
        drop(line);
        admit(all);
    }

    /// Whether there is a line to stand in.
    fn stand(&self, turn: &Arc<AtomicBool>, waker: &Waker) -> bool {
        let mut line = self.line();
        if !self.0.crowded.load(Ordering::Acquire) {
            return false;
        }
        line.push_back((turn.clone(), waker.clone()));
        if line.len() == 1 {
            self.0.came.notify_one();
        }
        true
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<(Arc<AtomicBool>, Waker)>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'a>(&'a Turns);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.disband();
    }
}

/// Wakes outside the lock: a task may have its turn at once, on another thread.
fn admit(first: Vec<(Arc<AtomicBool>, Waker)>) {
    for (turn, waker) in first {
        turn.store(true, Ordering::Release);
        waker.wake();
    }
}

/// Lets all that is ready have a turn, and tells how long that took.
///
/// A task that wakes itself goes to the end of its queue. `yield_now` would not do: it waits until the
/// runtime looks at its sockets, and goes first then.
async fn lap() -> Duration {
    let begun = Instant::now();
    let mut had_turn = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut had_turn, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    begun.elapsed()
}

pin_project! {
    /// A task that stands in line when others have had less.
    #[derive(Debug)]
    pub struct Fair<F> {
        #[pin]
        task: F,
        connection: Arc<ConnState>,
        turns: Turns,
        // Kept from the first crowd on: most connections are never in one.
        record: Option<Box<Record>>,
    }
}

/// What one who was in a crowd has had.
#[derive(Debug, Default)]
struct Record {
    last: Option<Instant>,
    had: u8,
    burst: Duration,
    turn: Arc<AtomicBool>,
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
        let stands = this.connection.progress.stands_in_line();
        if !stands && !turns.crowded.load(Ordering::Acquire) {
            return this.task.poll(cx);
        }
        let begun = Instant::now();
        let record = this.record.get_or_insert_default();
        // To be told to go needs no turn.
        let goes = this.connection.is_to_leave();
        if stands {
            // What wakes it meanwhile is looked at when its turn comes.
            if !goes && !record.turn.swap(false, Ordering::Acquire) {
                return Poll::Pending;
            }
            this.connection.progress.stand_in_line(false);
        } else {
            if record.last.is_none_or(|last| begun - last >= PAUSE) {
                (record.had, record.burst) = (0, Duration::ZERO);
            }
            let is_greedy = record.had >= TURNS && record.burst >= BURST;
            if !goes && is_greedy && this.turns.stand(&record.turn, cx.waker()) {
                this.connection.progress.stand_in_line(true);
                return Poll::Pending;
            }
        }
        let polled = this.task.poll(cx);
        let now = Instant::now();
        // To have stood in line is no pause.
        record.last = Some(now);
        record.had = record.had.saturating_add(1);
        record.burst += now - begun;
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::net::admission::Permits;
    use crate::net::registry::Registry;
    use crate::net::state::Order;

    const GREEDY: usize = 400;

    fn connection() -> Arc<ConnState> {
        Registry::default().enter(|entry| ConnState::new(([127, 0, 0, 1], 1).into(), Permits::none(), entry))
    }

    /// As long as a request keeps a thread busy, about.
    const WORK: Duration = Duration::from_micros(50);

    /// Keeps the thread busy for that time.
    fn work() {
        let begun = std::time::Instant::now();
        while begun.elapsed() < WORK {
            std::hint::spin_loop();
        }
    }

    /// Turns of greedy tasks between the wake of one that was quiet and its own turn, at most. On a clock that moves
    /// by their work alone: what else the machine does is no crowd.
    async fn overtaken(turns: Turns) -> usize {
        let had = Arc::new(AtomicUsize::new(0));
        for _ in 0..GREEDY {
            let had = had.clone();
            tokio::spawn(turns.fair(connection(), async move {
                loop {
                    had.fetch_add(1, Ordering::Relaxed);
                    // Woken by itself as by a socket: at the end of the runtime's queue.
                    tokio::time::advance(WORK).await;
                }
            }));
        }
        let quiet = tokio::spawn(turns.fair(connection(), async move {
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

    #[tokio::test(start_paused = true)]
    async fn whoever_was_quiet_goes_past_those_who_come_again_and_again() {
        let turns = Turns::default();
        let runs = tokio::spawn(turns.clone().run());
        let waited = overtaken(turns).await;
        assert!(waited <= 3 * GREEDY / PART, "{waited}");
        runs.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_line_it_waits_for_a_lap() {
        assert!(overtaken(Turns::default()).await >= GREEDY / 2);
    }

    async fn until_the_crowd_is_gone(turns: &Turns) {
        while turns.0.crowded.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK).await;
        }
        assert!(turns.line().is_empty());
    }

    async fn everybody_has_a_turn(rounds: usize) {
        let turns = Turns::default();
        let runs = tokio::spawn(turns.clone().run());
        for _ in 0..rounds {
            let tasks: Vec<_> = (0..GREEDY)
                .map(|_| {
                    tokio::spawn(turns.fair(connection(), async {
                        for _ in 0..20 {
                            work();
                            lap().await;
                        }
                    }))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            until_the_crowd_is_gone(&turns).await;
        }
        runs.abort();
    }

    #[tokio::test]
    async fn everybody_has_a_turn_and_the_line_ends_with_the_crowd() {
        everybody_has_a_turn(1).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_several_threads_too() {
        everybody_has_a_turn(2).await;
    }

    /// A task that stands in a line that nobody serves.
    async fn one_who_stands(turns: &Turns, state: &Arc<ConnState>) -> tokio::task::JoinHandle<()> {
        turns.0.crowded.store(true, Ordering::Release);
        let task = tokio::spawn(turns.fair(state.clone(), async {
            for _ in 0..100 {
                work();
                lap().await;
            }
        }));
        while !state.progress.stands_in_line() {
            lap().await;
        }
        task
    }

    #[tokio::test]
    async fn nobody_is_left_standing_when_it_ends() {
        let (turns, state) = (Turns::default(), connection());
        let task = one_who_stands(&turns, &state).await;
        drop(End(&turns));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn who_is_told_to_go_needs_no_turn() {
        for order in [Order::Abort, Order::MakeRoom] {
            let (turns, state) = (Turns::default(), connection());
            let task = one_who_stands(&turns, &state).await;
            state.order(order);
            // The order wakes whoever registered; the task of this test did not.
            turns.line().pop_front().unwrap().1.wake();
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn while_laps_are_short_nobody_stands_in_line() {
        let turns = Turns::default();
        let task = turns.fair(connection(), async {
            for _ in 0..1000 {
                lap().await;
            }
        });
        task.await;
        assert!(turns.line().is_empty() && !turns.0.crowded.load(Ordering::Acquire));
    }
}
