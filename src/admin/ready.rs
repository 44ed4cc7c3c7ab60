//! `/ready`: whether the process wants traffic, and which check says no.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{AdminState, JSON};
use crate::lifecycle::Phase;
use crate::lifecycle::readiness::CheckReport;

/// Characters of a check's error that are shown: it may quote a whole answer of a dependency.
const LONGEST_ERROR: usize = 200;

pub(super) fn answer(state: &AdminState) -> (StatusCode, HeaderValue, Bytes) {
    // Read once, so that the status and the body cannot disagree.
    let phase = state.lifecycle.phase();
    let report = state.readiness.report();
    let mut failing = Vec::new();
    let mut checks = Map::new();
    for check in &report {
        checks.insert(check.name.to_string(), told(check));
        if !check.ok() {
            failing.push(&*check.name);
        }
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

fn told(check: &CheckReport) -> Value {
    let (status, error) = match &check.result {
        Some(Ok(())) => ("ok", check.doubt.as_deref()),
        Some(Err(error)) => ("failing", Some(&**error)),
        None => ("pending", None),
    };
    let mut told = json!({"status": status});
    let mut add = |name: &str, value: Option<Value>| {
        if let (Some(value), Some(fields)) = (value, told.as_object_mut()) {
            fields.insert(name.into(), value);
        }
    };
    add("error", error.map(|error| error.chars().take(LONGEST_ERROR).collect::<String>().into()));
    let doubts = (check.doubts > 0).then(|| check.doubts.into());
    add(if check.ok() { "failures" } else { "successes" }, doubts);
    add("last_checked_ms", check.age.map(whole_milliseconds));
    add("duration_ms", check.took.map(whole_milliseconds));
    told
}

fn whole_milliseconds(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
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
