//! What the metrics are told of one upstream.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use super::balance::Events;
use super::pool::Gauge;
use crate::telemetry::UpstreamSeries;

/// The series of one upstream, as it is configured.
#[derive(Debug)]
pub(super) struct Series(pub(super) Arc<UpstreamSeries>);

impl Gauge for Series {
    fn gauge(&self) -> &AtomicI64 {
        self.0.connections_active()
    }
}

/// Tells the metrics what the balancer finds.
pub(super) struct Told(pub(super) Vec<Arc<Series>>);

impl Events for Told {
    fn healthy(&self, upstream: usize, healthy: bool) {
        if let Some(series) = self.0.get(upstream) {
            series.0.set_healthy(healthy);
        }
    }

    fn ejected(&self, upstream: usize) {
        if let Some(series) = self.0.get(upstream) {
            series.0.ejected();
        }
    }
}
