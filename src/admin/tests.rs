use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::lifecycle::readiness::Check;
use crate::lifecycle::{Event, LifecycleWriter, begin};
use crate::telemetry::{Finished, RouteId};

fn state(checks: Vec<Check>) -> (LifecycleWriter, AdminState) {
    let (writer, lifecycle) = begin();
    let build = BuildInfo::current();
    let metrics = Metrics::new(&[], build.clone());
    let readiness = Readiness::new(lifecycle.clone(), checks);
    (writer, AdminState { readiness, lifecycle, metrics, build, texts: Texts::default() })
}

fn get(state: &AdminState, path: &str) -> (u16, Value) {
    let response = state.answer(Endpoint::of(path).unwrap(), &Method::GET).unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[header::CONTENT_LENGTH], response.body().len().to_string());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn every_name_of_the_contract_leads_to_its_endpoint_and_nothing_else_does() {
    for (endpoint, paths) in [
        (Endpoint::Health, &["/health", "/healthz", "/livez", "/health/live"][..]),
        (Endpoint::Ready, &["/ready", "/readyz", "/health/ready"]),
        (Endpoint::Metrics, &["/metrics"]),
        (Endpoint::Version, &["/version"]),
        (Endpoint::ApiHealth, &["/api/health"]),
    ] {
        for path in paths {
            assert_eq!(Endpoint::of(path), Some(endpoint), "{path}");
        }
        assert_eq!(Endpoint::of(endpoint.path()), Some(endpoint));
        assert_eq!(endpoint.is_probe(), matches!(endpoint, Endpoint::Health | Endpoint::Ready));
        assert!(crate::telemetry::metrics::ADMIN_ROUTES.contains(&endpoint.path()));
    }
    for path in ["", "/", "/health/", "/Health", "//health", "/health?x", "/healthz/live", "/api"] {
        assert_eq!(Endpoint::of(path), None, "{path}");
    }
}

#[test]
fn health_and_ready_follow_the_table_of_phases() {
    let (writer, state) = state(vec![]);
    let statuses = |state: &AdminState| (get(state, "/health").0, get(state, "/ready").0);
    assert_eq!(statuses(&state), (200, 503));
    writer.apply(Event::Listening);
    assert_eq!(statuses(&state), (200, 200));
    assert_eq!(
        get(&state, "/ready").1,
        json!({"status": "ready", "state": "RUNNING", "reason": null, "checks": {}})
    );
    assert_eq!(
        get(&state, "/health").1,
        json!({"status": "ok", "state": "RUNNING", "uptime_seconds": state.uptime_seconds()})
    );
    writer.apply(Event::Terminate);
    assert_eq!(statuses(&state), (200, 503));
    assert_eq!(get(&state, "/ready").1["reason"], "the server is draining");
    writer.apply(Event::Drained);
    assert_eq!(statuses(&state), (503, 503));
    assert_eq!(get(&state, "/health").1["state"], "STOPPING");
}

#[tokio::test(start_paused = true)]
async fn ready_names_the_check_that_fails() {
    let good = Check::new("cache", || async { Ok::<(), String>(()) });
    let bad = Check::new("database", || async { Err::<(), _>("refused \"x\"") });
    let (writer, state) = state(vec![good, bad]);
    writer.apply(Event::Listening);
    assert_eq!(get(&state, "/ready").1["checks"]["cache"]["status"], "pending");
    let readiness = state.readiness.clone();
    let _ = tokio::time::timeout(Duration::from_secs(1), readiness.watch()).await;
    let (status, body) = get(&state, "/ready");
    assert_eq!(status, 503);
    assert_eq!(
        body,
        json!({"status": "not_ready", "state": "RUNNING", "reason": "failing or not yet answered: database",
            "checks": {"cache": {"status": "ok", "last_checked_ms": 1000, "duration_ms": 0},
                "database": {"status": "failing", "error": "refused \"x\"", "last_checked_ms": 1000, "duration_ms": 0}}})
    );
    assert_eq!(get(&state, "/health").0, 200, "a failing dependency is no reason to restart");
}

#[tokio::test(start_paused = true)]
async fn ready_tells_of_answers_that_are_not_yet_believed() {
    let asked = Arc::new(AtomicU32::new(0));
    let flapping = Check::new("database", move || {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            if nth == 1 { Err("refused") } else { Ok(()) }
        }
    });
    let (writer, state) = state(vec![flapping.interval(Duration::from_secs(1)).fall(2)]);
    writer.apply(Event::Listening);
    let readiness = state.readiness.clone();
    let _ = tokio::time::timeout(Duration::from_millis(1500), readiness.watch()).await;
    let (status, body) = get(&state, "/ready");
    assert_eq!(
        (status, &body["checks"]["database"]),
        (
            200,
            &json!({"status": "ok", "error": "refused", "failures": 1, "last_checked_ms": 470, "duration_ms": 30})
        )
    );
    let metrics = state.answer(Endpoint::Metrics, &Method::GET).unwrap();
    let text = std::str::from_utf8(metrics.body()).unwrap();
    assert!(text.contains("nessen_check_ok{check=\"database\"} 1\n"), "{text}");
}

#[test]
fn head_answers_like_get_without_the_body_and_other_methods_are_refused() {
    let (_writer, state) = state(vec![]);
    for path in ["/health", "/ready", "/version"] {
        let endpoint = Endpoint::of(path).unwrap();
        let get = state.answer(endpoint, &Method::GET).unwrap();
        let head = state.answer(endpoint, &Method::HEAD).unwrap();
        assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
        assert!(head.body().is_empty() && !get.body().is_empty());
        let refusal = state.answer(endpoint, &Method::POST).unwrap_err();
        assert_eq!(refusal.reason, Reason::MethodNotAllowed);
        assert_eq!(refusal.into_response("").headers()[header::ALLOW], "GET, HEAD");
    }
}

#[test]
fn version_tells_what_was_built() {
    let (_writer, state) = state(vec![]);
    let (status, body) = get(&state, "/version");
    assert_eq!((status, &body["version"]), (200, &env!("BUILT_VERSION").into()));
    for field in ["name", "revision", "build_time", "rustc"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[test]
fn api_health_has_the_figures() {
    let (writer, state) = state(vec![]);
    writer.apply(Event::Listening);
    assert_eq!(get(&state, "/api/health").1["latency_ms"]["p50"], Value::Null);
    state.metrics.request_started();
    state.metrics.request_started();
    state.metrics.request_finished(&Finished {
        method: &Method::GET,
        status: Some(StatusCode::OK),
        route: RouteId::NONE,
        duration: Duration::from_millis(10),
        bytes_in: 0,
        bytes_out: 0,
        spoken: None,
        probe: false,
    });
    let (status, body) = get(&state, "/api/health");
    assert_eq!((status, &body["state"], &body["ready"]), (200, &"RUNNING".into(), &true.into()));
    assert_eq!(body["requests"], json!({"total": 1, "active": 1}));
    let p99 = body["latency_ms"]["p99"].as_f64().unwrap();
    assert!((p99 - 10.0).abs() < 0.5, "{p99}");
    assert!(body["memory"]["resident_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(body["cpu"]["seconds_total"].as_f64().is_some());
}

#[test]
fn metrics_show_the_phase_of_this_moment() {
    let (writer, state) = state(vec![]);
    writer.apply(Event::Listening);
    let response = state.answer(Endpoint::Metrics, &Method::GET).unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let text = std::str::from_utf8(response.body()).unwrap();
    assert!(text.contains("nessen_phase{phase=\"RUNNING\"} 1\n") && text.contains("nessen_ready 1\n"));
}
