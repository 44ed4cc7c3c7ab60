//! `/api/health`: the figures a person looks at first.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{AdminState, JSON};
use crate::lifecycle::Phase;
use crate::protocol::Protocol;
use crate::telemetry::process;

pub(super) fn answer(state: &AdminState) -> (StatusCode, HeaderValue, Bytes) {
    let phase = state.lifecycle.phase();
    let stopping = phase == Phase::Stopping;
    let requests = state.metrics.snapshot();
    let process = process::read();
    let connections: serde_json::Map<String, Value> = Protocol::ALL
        .iter()
        .zip(state.metrics.connections_active())
        .map(|(protocol, active)| (protocol.label().to_owned(), active.into()))
        .collect();
    // Without a request in the last minute there is no percentile; 0 would look like a good one.
    let percentile = |latency: Duration| (requests.samples > 0).then(|| milliseconds(latency));
    let body = json!({
        "status": if stopping { "stopping" } else { "ok" },
        "state": phase.as_str(),
        "ready": state.readiness.is_ready(),
        "version": state.build.version,
        "uptime_seconds": state.uptime_seconds(),
        "memory": {
            "resident_bytes": process.resident_bytes,
            "virtual_bytes": process.virtual_bytes,
        },
        "cpu": {
            "seconds_total": process.cpu_seconds,
            "threads": process.threads,
        },
        "connections": connections,
        "requests": {
            "total": requests.requests_total,
            "active": requests.requests_active,
        },
        "latency_ms": {
            "p50": percentile(requests.p50),
            "p95": percentile(requests.p95),
            "p99": percentile(requests.p99),
            "samples": requests.samples,
        },
    });
    let status = if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, JSON, body.to_string().into())
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
