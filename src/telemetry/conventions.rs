//! `http_server_request_duration_seconds`: durations as OpenTelemetry's conventions for HTTP have them.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Version;

/// The metric.
pub(super) const NAME: &str = "http_server_request_duration_seconds";

/// The bounds that the conventions advise: in nanoseconds, and as the label `le`.
const BOUNDS: [(u64, &str); 14] = [
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (75_000_000, "0.075"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (750_000_000, "0.75"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (7_500_000_000, "7.5"),
    (10_000_000_000, "10"),
];

/// What a request was asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// The version of HTTP.
    pub version: Version,
    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub secure: bool,
}

const VERSIONS: [&str; 3] = ["1.0", "1.1", "2"];
const SCHEMES: [&str; 2] = ["http", "https"];

impl Spoken {
    fn place(self) -> usize {
        let version = match self.version {
            Version::HTTP_10 => 0,
            Version::HTTP_2 => 2,
            _ => 1,
        };
        usize::from(self.secure) * VERSIONS.len() + version
    }
}

/// The durations of one method, status and route, by what they were asked in. Made when they are first needed.
#[derive(Debug, Default)]
pub(super) struct BySpoken(OnceLock<Box<[Durations; VERSIONS.len() * SCHEMES.len()]>>);

#[derive(Debug, Default)]
struct Durations {
    /// Not cumulative; the last is everything over the last bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl BySpoken {
    pub(super) fn record(&self, spoken: Spoken, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let all = self.0.get_or_init(Box::default);
        let Some(durations) = all.get(spoken.place()) else { return };
        if let Some(count) = durations.counts.get(BOUNDS.partition_point(|(bound, _)| *bound < nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        durations.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The lines of what was recorded, with these labels before their own.
    pub(super) fn render(&self, out: &mut String, labels: &str) {
        let Some(all) = self.0.get() else { return };
        for (place, durations) in all.iter().enumerate() {
            let scheme = SCHEMES.get(place / VERSIONS.len()).copied().unwrap_or_default();
            let version = VERSIONS.get(place % VERSIONS.len()).copied().unwrap_or_default();
            durations.render(
                out,
                &format!("{labels},url_scheme=\"{scheme}\",network_protocol_version=\"{version}\""),
            );
        }
    }
}

impl Durations {
    /// Writing to a String does not fail.
    fn render(&self, out: &mut String, labels: &str) {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let all: u64 = counts.iter().sum();
        if all == 0 {
            return;
        }
        let mut so_far = 0;
        for ((_, bound), count) in BOUNDS.iter().zip(counts) {
            so_far += count;
            let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {so_far}");
        }
        let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {all}");
        let sum = self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        let _ = writeln!(out, "{NAME}_sum{{{labels}}} {sum}");
        let _ = writeln!(out, "{NAME}_count{{{labels}}} {all}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_are_labelled_right() {
        for (bound, label) in BOUNDS {
            assert_eq!(
                Duration::from_nanos(bound),
                Duration::from_secs_f64(label.parse().unwrap()),
                "{label}"
            );
        }
        assert!(BOUNDS.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn each_way_to_ask_is_a_series_of_its_own() {
        let all = BySpoken::default();
        let mut text = String::new();
        all.render(&mut text, "a=\"b\"");
        assert_eq!(text, "");
        all.record(Spoken { version: Version::HTTP_11, secure: false }, Duration::from_millis(75));
        all.record(Spoken { version: Version::HTTP_11, secure: false }, Duration::from_millis(76));
        all.record(Spoken { version: Version::HTTP_2, secure: true }, Duration::from_secs(11));
        all.render(&mut text, "a=\"b\"");
        for line in [
            "{a=\"b\",url_scheme=\"http\",network_protocol_version=\"1.1\",le=\"0.075\"} 1",
            "{a=\"b\",url_scheme=\"http\",network_protocol_version=\"1.1\",le=\"0.1\"} 2",
            "{a=\"b\",url_scheme=\"https\",network_protocol_version=\"2\",le=\"10\"} 0",
            "{a=\"b\",url_scheme=\"https\",network_protocol_version=\"2\",le=\"+Inf\"} 1",
        ] {
            assert!(text.contains(&format!("{NAME}_bucket{line}\n")), "{line} is not in {text}");
        }
        assert_eq!(text.lines().count(), 2 * (BOUNDS.len() + 3));
    }
}
