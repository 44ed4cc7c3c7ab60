//! What is done once a second rather than once a request.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::pulse::Pulse;
use super::stack::Shared;
use crate::config::{TRACKED_CLIENT_COST, Throttling};
use crate::lifecycle::readiness::Readiness;
use crate::telemetry::LogPipe;

const EVERY: Duration = Duration::from_secs(1);

/// Keeps gauges current and histograms small, for as long as it is polled.
pub(super) async fn keep(shared: Shared, readiness: Readiness, pipe: LogPipe) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pulse = Pulse::new(EVERY, Instant::now(), SystemTime::now());
    let throttling = Throttling::here();
    loop {
        ticks.tick().await;
        let metrics = &shared.metrics;
        let beat = pulse.beat(Instant::now(), SystemTime::now());
        if beat.stalled.is_some() {
            metrics.process_stalled();
        }
        if beat.stepped.is_some() {
            metrics.clock_stepped();
        }
        pulse.log(&beat);
        if let Some(periods) = throttling.as_ref().and_then(Throttling::periods) {
            metrics.cpu_throttled(periods);
        }
        metrics.upkeep();
        metrics.set_ready(readiness.is_ready());
        for check in readiness.report() {
            metrics.check(&check.name, check.ok());
        }
        metrics.log_lines_dropped(pipe.dropped());
        if let Some(tracer) = &shared.tracer {
            metrics.traces(&tracer.spans.counts());
        }
        let (keys, blocked) = shared.rate_limiter.census();
        let (more_keys, more_blocked) = shared.route_limiters.census();
        metrics.rate_limit_keys(keys + more_keys);
        let tracked = u64::try_from(keys + more_keys).unwrap_or(u64::MAX).saturating_mul(TRACKED_CLIENT_COST);
        let memory = shared.memory.used().saturating_add(tracked);
        metrics.memory_used(memory);
        metrics.rate_limit_blocked(blocked + more_blocked);
        if let Some(page) = &shared.page {
            page.beat(memory);
        }
    }
}
