//! `/ready`: whether the process wants traffic, and which check says no.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{AdminState, JSON};
use crate::lifecycle::Phase;

/// Characters of a check's error that are shown: it may quote a whole answer of a dependency.
const LONGEST_ERROR: usize = 200;

pub(super) fn answer(state: &AdminState) -> (StatusCode, HeaderValue, Bytes) {
    // Read once, so that the status and the body cannot disagree.
    let phase = state.lifecycle.phase();
    let report = state.readiness.report();
    let mut failing = Vec::new();
    let mut checks = Map::new();
    for check in &report {
        let told = match &check.result {
            Some(Ok(())) => json!({"status": "ok"}),
            Some(Err(error)) => {
                json!({"status": "failing", "error": error.chars().take(LONGEST_ERROR).collect::<String>()})
            }
            None => json!({"status": "pending"}),
        };
        if !check.ok() {
            failing.push(&*check.name);
        }
        checks.insert(check.name.to_string(), told);
    }
    let ready = phase == Phase::Running && failing.is_empty();
    let body = json!({
        "status": if ready { "ready" } else { "not_ready" },
        "state": phase.as_str(),
        "reason": why_not(phase, &failing),
        "checks": Value::Object(checks),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, JSON, body.to_string().into())
}

fn why_not(phase: Phase, failing: &[&str]) -> Option<String> {
    match phase {
        Phase::Starting => Some("the server is starting".into()),
        Phase::Draining => Some("the server is draining".into()),
        Phase::Stopping => Some("the server is stopping".into()),
        Phase::Running if failing.is_empty() => None,
        Phase::Running => Some(format!("failing or not yet answered: {}", failing.join(", "))),
    }
}
