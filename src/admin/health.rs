//! `/health`: whether the process lives. It asks nobody and allocates once.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{AdminState, JSON};
use crate::lifecycle::Phase;

pub(super) fn answer(state: &AdminState) -> (StatusCode, HeaderValue, Bytes) {
    let phase = state.lifecycle.phase();
    // Not ready is not dead: restarting a process because it drains would drop its requests.
    let (status, word) = match phase {
        Phase::Starting | Phase::Running | Phase::Draining => (StatusCode::OK, "ok"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let body = format!(
        r#"{{"status":"{word}","state":"{}","uptime_seconds":{}}}"#,
        phase.as_str(),
        state.uptime_seconds()
    );
    (status, JSON, body.into())
}
