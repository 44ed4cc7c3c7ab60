use http::{Method, StatusCode};

use super::*;
use crate::telemetry::{BuildInfo, Finished, RouteId};

fn finish(metrics: &Metrics, status: u16, millis: u64, probe: bool) {
    metrics.request_started();
    metrics.request_finished(&Finished {
        method: &Method::GET,
        status: (status > 0).then(|| StatusCode::from_u16(status).unwrap()),
        route: RouteId::NONE,
        duration: Duration::from_millis(millis),
        bytes_in: 1,
        bytes_out: 10,
        spoken: None,
        probe,
    });
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_sample_is_what_happened_since_the_last() {
    let metrics = Metrics::new(&[], BuildInfo::current());
    let begin = Instant::now();
    finish(&metrics, 200, 7000, false);
    let history = History::new(&metrics, begin);
    for (status, millis, probe) in [
        (200, 10, false),
        (204, 10, false),
        (404, 10, false),
        (503, 900, false),
        (0, 10, false),
        (200, 5000, true),
    ] {
        finish(&metrics, status, millis, probe);
    }
    metrics.rejected(Reason::RateLimited);
    metrics.request_started();
    metrics.connection_opened(Protocol::Http2);
    assert_eq!(history.take(&metrics, begin + SECOND / 10, UNIX_EPOCH, 1), None);
    let first = history.take(&metrics, begin + SECOND * 2, UNIX_EPOCH + SECOND * 1000, 77).unwrap();
    assert_eq!(first.requests, [0, 2, 0, 1, 1, 1], "without the one before, and without the probe's");
    assert_eq!((first.at, first.seconds, first.memory, first.active), (1_000_000, 2.0, 77, 1));
    assert_eq!((first.bytes, first.connections, first.refused()), ([6, 60], [0, 0, 1], 1));
    assert_eq!(first.refusals[Reason::RateLimited as usize], 1);
    assert!((first.rate(first.finished()) - 2.5).abs() < 1e-6);
    let [p50, _, p99] = first.latency;
    assert!((9_500..10_500).contains(&p50) && (850_000..950_000).contains(&p99), "{:?}", first.latency);
    let second = history.take(&metrics, begin + SECOND * 3, UNIX_EPOCH + SECOND * 1001, 0).unwrap();
    assert_eq!((second.finished(), second.timed, second.latency, second.refused()), (0, 0, [0; 3], 0));
    assert_eq!(history.last(), Some(second));
}

#[test]
fn half_minutes_are_kept_when_their_seconds_are_gone_and_nothing_grows() {
    let metrics = Metrics::new(&[], BuildInfo::current());
    let begin = Instant::now();
    let history = History::new(&metrics, begin);
    let mut now = begin;
    let all = COARSE * PER_COARSE as usize + 3 * FINE;
    for number in 0..all {
        now += SECOND;
        finish(&metrics, 200, if number % 30 == 0 { 800 } else { 20 }, false);
        metrics.upkeep();
        history.take(&metrics, now, UNIX_EPOCH + SECOND * u32::try_from(number).unwrap(), number as u64);
    }
    let Samples { coarse, fine } = history.samples();
    assert_eq!((fine.len(), coarse.len()), (FINE, COARSE));
    assert_eq!(fine.last().unwrap().memory, all as u64 - 1);
    let last = coarse.last().unwrap();
    assert_eq!((last.finished(), last.timed, last.seconds), (30, 30, 30.0));
    assert_eq!(last.memory, all as u64 - 1, "the most of its seconds");
    let [p50, _, p99] = last.latency;
    assert!((19_000..21_000).contains(&p50) && p99 > 760_000, "of all its requests: {:?}", last.latency);
    assert!(coarse.is_sorted_by_key(|sample| sample.at));
    // What the head of the file says.
    let held = (FINE + COARSE) * size_of::<Sample>();
    assert!(held < 160 * 1024, "{held} bytes");
}
