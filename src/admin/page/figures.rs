//! Whatever else the metrics know, read from their own text: TLS, shared limits, traces, evidence, and what
//! is added one day. Nothing here knows what there is.

use serde_json::{Value, json};

use crate::telemetry::names::{Kind, definition};

/// Series that are shown of one metric, and in all. The labels come from the configuration.
const MOST_OF_ONE: usize = 40;
const MOST: usize = 400;

/// What the page shows in a place of its own, or not at all.
const ELSEWHERE: &[&str] = &[
    "http_",
    "nessen_rejections_total",
    "nessen_phase",
    "nessen_ready",
    "nessen_build_info",
    "nessen_check_ok",
    "nessen_upstream_",
    "nessen_memory_used_bytes",
    "nessen_memory_bound_bytes",
    "process_start_time_seconds",
];

/// Subjects by how names begin; what fits none is of the process.
const SUBJECTS: &[(&str, &[&str])] = &[
    ("TLS", &["nessen_tls_", "nessen_certificate_", "tls_"]),
    ("Rate limits", &["nessen_rate_limit_", "nessen_redis_", "rate_limit_", "redis_"]),
    ("Traces", &["nessen_trace", "nessen_otel_", "nessen_otlp_", "otel_", "traces_"]),
    (
        "Evidence",
        &[
            "quarantine_",
            "fail_safe_",
            "cold_storage_",
            "nessen_evidence_",
            "nessen_quarantine_",
            "evidence_",
        ],
    ),
];
const REST: &str = "Process";

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) subject: &'static str,
    pub(super) name: String,
    /// As in the text, without braces.
    pub(super) labels: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
    pub(super) counter: bool,
}

impl Figure {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "subject": self.subject, "name": self.name, "labels": self.labels, "value": self.value,
            "unit": self.unit, "help": self.help, "counter": self.counter,
        })
    }
}

fn subject(name: &str) -> &'static str {
    let fits = |(_, begins): &&(&str, &[&str])| begins.iter().any(|begin| name.starts_with(begin));
    SUBJECTS.iter().find(fits).map_or(REST, |(subject, _)| subject)
}

/// The figures in the text of `/metrics`, subject by subject.
pub(super) fn read(text: &str) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    let mut of_one = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if ELSEWHERE.iter().any(|begin| name.starts_with(begin)) || figures.len() >= MOST {
            continue;
        }
        // Parts of a histogram have no definition of their own.
        let Some(known) = definition(name).filter(|known| known.kind != Kind::Histogram) else { continue };
        let (labels, value) = match rest.strip_prefix('{').and_then(|rest| rest.rsplit_once("} ")) {
            Some((labels, value)) => (labels, value),
            None => ("", rest.trim()),
        };
        let Ok(value) = value.parse::<f64>() else { continue };
        of_one = if figures.last().is_some_and(|last| last.name == name) { of_one + 1 } else { 0 };
        if of_one >= MOST_OF_ONE || !value.is_finite() {
            continue;
        }
        figures.push(Figure {
            subject: subject(name),
            name: name.to_owned(),
            labels: labels.to_owned(),
            value,
            unit: known.unit,
            help: known.help,
            counter: known.kind == Kind::Counter,
        });
    }
    let place = |figure: &Figure| SUBJECTS.iter().position(|(subject, _)| *subject == figure.subject);
    figures.sort_by_key(|figure| place(figure).unwrap_or(SUBJECTS.len()));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{BuildInfo, Metrics};

    #[test]
    fn figures_are_read_from_the_text_of_the_metrics() {
        let metrics = Metrics::new(&[], BuildInfo::current());
        metrics.rate_limit_keys(7);
        metrics.check("a", true);
        metrics.sandbox([("files", true), ("a \"} 9", false)]);
        let figures = read(&metrics.render());
        let of = |name: &str| figures.iter().filter(|figure| figure.name == name).collect::<Vec<_>>();
        let keys = of("nessen_rate_limit_keys");
        assert_eq!((keys.len(), keys[0].value, keys[0].subject), (1, 7.0, "Rate limits"));
        assert!(!keys[0].help.is_empty() && !keys[0].counter);
        assert_eq!(of("nessen_sandbox_enforced").len(), 2);
        assert!(of("nessen_sandbox_enforced").iter().any(|one| one.labels == r#"part="files""#));
        assert!(of("process_resident_memory_bytes")[0].value > 0.0);
        for elsewhere in ["nessen_check_ok", "http_requests_active", "nessen_phase"] {
            assert!(of(elsewhere).is_empty(), "{elsewhere}");
        }
        assert!(figures.is_sorted_by_key(|figure| figure.subject == REST));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let text: String =
            (0..5000).map(|n| format!("nessen_sandbox_enforced{{part=\"{n}\"}} 1\n")).collect();
        assert_eq!(read(&text).len(), MOST_OF_ONE);
    }
}
