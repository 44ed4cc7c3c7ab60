//! How things stand, and how they stood, for the script.

use serde_json::{Map, Value, json};

use super::Inner;
use crate::lifecycle::Phase;
use crate::protocol::Protocol;
use crate::refusal::Reason;
use crate::telemetry::history::{FINE, PER_COARSE, Sample};

/// Upstreams and checks that are shown.
pub(super) const MOST_ROWS: usize = 100;
/// Characters of a check's error that are shown, as on `/ready`.
const LONGEST_ERROR: usize = 200;

/// The phase as people say it, and how good that is.
pub(super) fn phase(page: &Inner) -> (&'static str, &'static str) {
    match page.admin.lifecycle.phase() {
        Phase::Running if page.admin.readiness.is_ready() => ("ok", "Running, ready"),
        Phase::Running => ("warn", "Running, not ready"),
        Phase::Starting => ("warn", "Starting"),
        Phase::Draining => ("warn", "Draining"),
        Phase::Stopping => ("bad", "Stopping"),
    }
}

/// A sample in short names, of which there are many: see `status.js`.
pub(super) fn sample(sample: &Sample) -> Value {
    let refusals: Map<String, Value> = Reason::ALL
        .iter()
        .zip(sample.refusals)
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.label().to_owned(), count.into()))
        .collect();
    json!({
        "t": sample.at,
        "s": thousandths(sample.seconds).max(0.001),
        "r": sample.requests,
        "n": sample.timed,
        "l": sample.latency,
        "x": refusals,
        "b": sample.bytes,
        "cpu": thousandths(sample.cpu),
        "a": sample.active,
        "c": sample.connections,
        "m": sample.memory,
        "rss": sample.resident,
    })
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn thousandths(number: f32) -> f64 {
    (f64::from(number) * 1000.0).round() / 1000.0
}

/// All samples that are kept.
pub(super) fn history(page: &Inner) -> Value {
    let all = page.history.samples();
    json!({
        "fine": all.fine.iter().map(sample).collect::<Vec<_>>(),
        "coarse": all.coarse.iter().map(sample).collect::<Vec<_>>(),
        "keep": FINE,
        "per_coarse": PER_COARSE,
        "protocols": Protocol::ALL.map(Protocol::label),
        "state": state(page),
    })
}

/// How things stand.
pub(super) fn state(page: &Inner) -> Value {
    let (class, word) = phase(page);
    let admin = &page.admin;
    let requests = admin.metrics.snapshot();
    let (upstreams, upstream_count) = admin.metrics.upstream_states(MOST_ROWS);
    let upstreams: Vec<_> = upstreams
        .iter()
        .map(|it| {
            json!({
                "label": it.label, "healthy": it.healthy, "active": it.active, "idle": it.idle,
                "attempts": it.attempts, "failures": it.failures, "retries": it.retries,
                "ejections": it.ejections,
            })
        })
        .collect();
    let checks: Vec<_> = checks(page).into_iter().map(Check::into_json).collect();
    let refusals: Vec<_> =
        refusals(page).into_iter().map(|(reason, status, count)| json!([reason, status, count])).collect();
    json!({
        "class": class,
        "phase": word,
        "settings": page.about.settings.generation(),
        "coarse": page.history.last_coarse().as_ref().map(sample),
        "latency": [
            requests.samples,
            micros(requests.p50),
            micros(requests.p95),
            micros(requests.p99),
        ],
        "uptime": admin.uptime_seconds(),
        "requests": requests.requests_total,
        "bound": page.about.memory_bound,
        "limit": page.about.memory_limit,
        "cpus": page.about.cpus,
        "upstreams": upstreams,
        "upstream_count": upstream_count,
        "checks": checks,
        "refusals": refusals,
        "figures": page.figures().iter().map(super::Figure::to_json).collect::<Vec<_>>(),
    })
}

/// One readiness check.
pub(super) struct Check {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) word: &'static str,
    pub(super) error: String,
    pub(super) took_ms: Option<u64>,
}

impl Check {
    fn into_json(self) -> Value {
        json!({"name": self.name, "class": self.class, "word": self.word, "error": self.error, "took": self.took_ms})
    }
}

pub(super) fn checks(page: &Inner) -> Vec<Check> {
    let told = |report: crate::lifecycle::readiness::CheckReport| {
        let (class, word, error) = match report.result {
            Some(Ok(())) => ("ok", "passes", report.doubt),
            Some(Err(error)) => ("bad", "fails", Some(error)),
            None => ("warn", "has not answered yet", None),
        };
        Check {
            name: report.name.to_string(),
            class,
            word,
            error: error.unwrap_or_default().chars().take(LONGEST_ERROR).collect(),
            took_ms: report.took.and_then(|took| u64::try_from(took.as_millis()).ok()),
        }
    };
    page.admin.readiness.report().into_iter().take(MOST_ROWS).map(told).collect()
}

/// What was refused since the start: reason, status, count, the most first.
pub(super) fn refusals(page: &Inner) -> Vec<(&'static str, String, u64)> {
    let mut all: Vec<_> = page
        .admin
        .metrics
        .rejections()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| {
            let status = reason.status().map_or_else(|| "none".to_owned(), |it| it.as_str().to_owned());
            (reason.label(), status, count)
        })
        .collect();
    all.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    all
}
