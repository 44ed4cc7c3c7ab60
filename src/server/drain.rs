//! The way out: not ready but serving, then refusing, then cut off.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Outcome;
use crate::config::ShutdownConfig;
use crate::deadline::within;
use crate::lifecycle::{Event, LifecycleWriter, Phase};
use crate::net::registry::Registry;
use crate::net::state::Order;
use crate::telemetry::Metrics;

/// Longest time that the reports of what was cut off are waited for.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// What a drain acts on.
pub(super) struct Drain<'a> {
    pub(super) writer: &'a LifecycleWriter,
    pub(super) registry: &'a Registry,
    pub(super) metrics: &'a Metrics,
    pub(super) config: &'a ShutdownConfig,
}

impl Drain<'_> {
    /// Drains after `first`. `close_listeners` takes in what is waiting and closes the listeners;
    /// `next` is the next signal that ends the process, if one more comes.
    pub(super) async fn run<N>(
        &self,
        first: Event,
        close_listeners: impl Future<Output = ()>,
        mut next: impl FnMut() -> N,
    ) -> Outcome
    where
        N: Future<Output = Event>,
    {
        let began = Instant::now();
        let delay = if first == Event::Terminate { self.config.drain_delay } else { Duration::ZERO };
        let mut second = pin!(next());
        let hurried = tokio::select! {
            event = &mut second => Some(event),
            () = self.say_goodbye(began + delay) => None,
        };
        self.writer.refuse_new_requests();
        close_listeners.await;
        let event = match hurried {
            Some(event) => event,
            None => {
                self.registry.order(Order::GoAway);
                self.registry.order(Order::CloseIdle);
                tokio::select! {
                    // Asked first: a drain that is done in time is done.
                    biased;
                    drained = within(self.config.drain_timeout, self.registry.emptied()) => match drained {
                        Some(()) => Event::Drained,
                        None => Event::DeadlinePassed,
                    },
                    event = &mut second => event,
                }
            }
        };
        let outcome = self.stop(event);
        // What was cut off is reported when it is dropped, by tasks of its own.
        let _ = timeout(LAST_REPORTS, self.registry.emptied()).await;
        self.metrics.drain_finished(began.elapsed());
        tracing::info!(cut_off = outcome.cut_off(), "drained in {} ms", began.elapsed().as_millis());
        outcome
    }

    /// Tells the connections that are open, one after the other over the delay: all at once, they
    /// would all come back at once. HTTP/1 is told by its next answer; a tunnel right away.
    async fn say_goodbye(&self, until: Instant) {
        let connections: Vec<_> = self.registry.connections().iter().map(std::sync::Arc::downgrade).collect();
        for connection in connections.iter().filter_map(std::sync::Weak::upgrade) {
            if connection.is_upgraded() {
                connection.order(Order::GoAway);
            }
        }
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        // The last is told early enough to have its answer before the gate closes.
        let step = until.saturating_duration_since(Instant::now()) * 3 / 4 / count;
        let mut at = Instant::now();
        for connection in connections {
            if let Some(connection) = connection.upgrade() {
                connection.order(Order::GoAway);
            }
            at += step;
            sleep_until(at).await;
        }
        sleep_until(until).await;
    }

    /// Ends what is left.
    fn stop(&self, event: Event) -> Outcome {
        let left = self.registry.connections();
        // A connection on which nothing happens is no work that is lost.
        let work: u64 =
            left.iter().map(|left| u64::from(left.in_flight()) + u64::from(left.is_upgraded())).sum();
        if work > 0 {
            tracing::warn!(requests = work, "cutting off what is still in flight");
            self.metrics.drain_cut_off(work);
        }
        while self.writer.apply(event) < Phase::Stopping {}
        self.registry.order(Order::Abort);
        if work == 0 { Outcome::Drained } else { Outcome::CutOff(work) }
    }
}
