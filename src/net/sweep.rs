//! One timer for all connections that wait: each holds a number for it, and no timer of its own.
//!
//! A timer is 112 bytes of a task, and is entered and taken out under a lock of the runtime each time a
//! connection waits. The number stays: a moment that has been put off is found when it has come, so that
//! requests which come and go change nothing here. That is also why it is kept beside the others, in one
//! row that is read through from end to end in microseconds, and not in an order.

use tokio::time::{Instant, sleep_until};

use super::registry::{Registry, Slots};

/// No moment.
pub(super) const NEVER: u64 = u64::MAX;
/// A connection is woken late by this part of its time at most,
const PART: u64 = 16;
/// and by so many milliseconds. Those who are due together are looked for together.
const LATE: u64 = 256;
/// Connections that are woken before others have a turn.
const AT_ONCE: usize = 32;

/// The moment at which one is woken that is due at `due`, if it is `now`; all in milliseconds.
fn rounded(due: u64, now: u64) -> u64 {
    let late = (due.saturating_sub(now) / PART).clamp(1, LATE);
    due.next_multiple_of(1 << late.ilog2())
}

impl Registry {
    /// Has the connection in `slot` woken once `at` is over, or earlier.
    pub(super) fn wake_at(&self, slot: usize, at: Instant) {
        let now = self.millis(Instant::now());
        // Whole milliseconds must not end a hair before the moment.
        let due = rounded(self.millis(at).saturating_add(1), now);
        let mut slots = self.slots();
        match slots.due.get_mut(slot) {
            Some(earlier) if *earlier > due => *earlier = due,
            _ => return,
        }
        if due >= slots.look {
            return;
        }
        slots.look = due;
        if std::mem::replace(&mut slots.is_swept, true) {
            drop(slots);
            self.sooner().notify_one();
        } else {
            drop(slots);
            tokio::spawn(Sweep { registry: self.clone(), is_over: false }.run());
        }
    }
}

/// Sleeps until somebody is due, for as long as there are connections that will be.
struct Sweep {
    registry: Registry,
    is_over: bool,
}

impl Sweep {
    async fn run(mut self) {
        while let Some(look) = self.next_look() {
            let at = self.registry.at(look);
            tokio::select! {
                () = sleep_until(at) => self.wake().await,
                () = self.registry.sooner().notified() => {}
            }
        }
    }

    fn next_look(&mut self) -> Option<u64> {
        let mut slots = self.registry.slots();
        slots.look = slots.due.iter().copied().min().unwrap_or(NEVER);
        self.is_over = slots.look == NEVER;
        slots.is_swept = !self.is_over;
        (!self.is_over).then_some(slots.look)
    }

    /// Wakes who is due. What each finds to do is its own affair: it may have been put off meanwhile.
    async fn wake(&self) {
        let now = self.registry.millis(Instant::now());
        let mut from = 0;
        loop {
            let woken = self.registry.slots().due_from(&mut from, now);
            if woken.is_empty() {
                return;
            }
            for connection in woken {
                connection.wake();
            }
            // Each of them has something to do, and so have others.
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Sweep {
    /// With the runtime, which another may follow.
    fn drop(&mut self) {
        if !self.is_over {
            let mut slots = self.registry.slots();
            (slots.is_swept, slots.look) = (false, NEVER);
        }
    }
}

impl Slots {
    /// Some connections that are due, from this slot on, which are so no longer.
    fn due_from(&mut self, from: &mut usize, now: u64) -> Vec<std::sync::Arc<super::state::ConnState>> {
        let mut woken = Vec::new();
        while let Some(due) = self.due.get_mut(*from)
            && woken.len() < AT_ONCE
        {
            if *due <= now {
                *due = NEVER;
                woken.extend(self.connections.get(*from).and_then(std::sync::Weak::upgrade));
            }
            *from += 1;
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;
    use crate::net::admission::Permits;
    use crate::net::state::ConnState;

    const SECOND: Duration = Duration::from_secs(1);

    fn connection(registry: &Registry) -> Arc<ConnState> {
        registry.enter(|entry| ConnState::new(([127, 0, 0, 1], 1).into(), Permits::none(), entry))
    }

    /// Waits as a parked connection does; returns when, and how often it looked.
    async fn until(state: &ConnState, at: Instant) -> (Instant, usize) {
        let mut looks = 0;
        std::future::poll_fn(|cx| {
            looks += 1;
            state.register(cx.waker());
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            state.wake_at(at);
            Poll::Pending
        })
        .await;
        (Instant::now(), looks)
    }

    #[test]
    fn nobody_is_woken_early_or_much_too_late() {
        for (time, late) in [(0, 0), (1, 0), (15, 0), (40, 1), (500, 15), (75_000, 255), (86_400_000, 255)] {
            for now in [0, 1, 77, 255, 123_456] {
                let woken = rounded(now + time, now);
                assert!((now + time..=now + time + late).contains(&woken), "{time} at {now}: {woken}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_woken_once_in_its_time() {
        let registry = Registry::default();
        let begun = Instant::now();
        let waits: Vec<_> = (1..200_u32)
            .map(|number| {
                let state = connection(&registry);
                let at = begun + SECOND / 10 * number;
                tokio::spawn(async move { (at, until(&state, at).await) })
            })
            .collect();
        for wait in waits {
            let (at, (woken, looks)) = wait.await.unwrap();
            assert!(woken - at <= Duration::from_millis(LATE + 2), "{:?}", woken - at);
            assert_eq!(looks, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_is_put_off_is_found_when_it_has_come_and_one_that_is_brought_forward_at_once() {
        let registry = Registry::default();
        let (state, other) = (connection(&registry), connection(&registry));
        let begun = Instant::now();
        state.wake_at(begun + SECOND);
        let (woken, looks) = until(&state, begun + 10 * SECOND).await;
        assert!(looks == 3 && woken - begun < 11 * SECOND, "{looks} {:?}", woken - begun);
        let begun = Instant::now();
        state.wake_at(begun + 60 * SECOND);
        // By now it sleeps until then.
        tokio::task::yield_now().await;
        let (first, second) = tokio::join!(until(&state, begun + SECOND), until(&other, begun + 2 * SECOND));
        assert!(first.0 - begun < 2 * SECOND && second.0 - begun < 3 * SECOND);
    }

    /// Its number comes up when it has gone to work, which must not make it deaf.
    #[test]
    fn who_is_woken_for_its_time_still_hears_of_orders() {
        #[derive(Default)]
        struct Woken(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let registry = Registry::default();
        let state = connection(&registry);
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let count = || woken.0.load(std::sync::atomic::Ordering::Relaxed);
        state.register(&waker);
        for times in 1..4 {
            state.wake();
            assert_eq!(count(), times);
            state.stay_registered(&waker);
        }
        state.order(crate::net::order::Order::GoAway);
        assert_eq!(count(), 4);
    }

    #[test]
    fn a_runtime_that_ends_leaves_it_to_the_next() {
        let registry = Registry::default();
        let state = connection(&registry);
        for time in [60, 2, 30] {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap().block_on(async {
                let begun = Instant::now();
                let woken = until(&state, begun + time * SECOND);
                let (woken, _) = tokio::time::timeout((time + 1) * SECOND, woken).await.unwrap();
                assert!(woken - begun < (time + 1) * SECOND);
                state.wake_at(Instant::now() + 90 * SECOND);
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_connections() {
        let registry = Registry::default();
        let states: Vec<_> = (0..100).map(|_| connection(&registry)).collect();
        for state in &states {
            state.wake_at(Instant::now() + SECOND);
        }
        assert!(registry.slots().is_swept);
        drop(states);
        tokio::time::sleep(2 * SECOND).await;
        assert!(!registry.slots().is_swept && registry.is_empty());
    }
}
