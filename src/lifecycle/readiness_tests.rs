use std::collections::VecDeque;

use super::super::{Event, begin};
use super::*;

const EVERY: Duration = Duration::from_secs(1);

/// A check that answers as its script says: `+` well, `-` failing, the last for ever.
fn scripted(script: &str) -> Check {
    let script = Mutex::new(script.chars().collect::<VecDeque<_>>());
    let probe = move || {
        let mut script = script.lock().unwrap();
        let letter = if script.len() > 1 { script.pop_front() } else { script.front().copied() };
        std::future::ready(if letter == Some('+') { Ok(()) } else { Err("refused") })
    };
    Check::new("database", probe).interval(EVERY)
}

/// What [`Readiness::is_ready`] says after each answer, in the letters of the script.
async fn seen(check: Check, answers: usize) -> (String, Readiness) {
    let (writer, lifecycle) = begin();
    writer.apply(Event::Listening);
    let readiness = Readiness::new(lifecycle, vec![check]);
    assert!(!readiness.is_ready(), "nothing has been answered yet");
    let watcher = readiness.clone();
    let watch = watcher.watch();
    tokio::pin!(watch);
    let mut seen = String::new();
    // In the middle between two answers, which come at once at the full seconds.
    let mut after = tokio::time::interval_at(Instant::now() + EVERY / 2, EVERY);
    while seen.len() < answers {
        tokio::select! {
            () = &mut watch => break,
            _ = after.tick() => seen.push(if readiness.is_ready() { '+' } else { '-' }),
        }
    }
    (seen, readiness)
}

async fn readiness_of(check: Check, script: &str) -> String {
    seen(check, script.len()).await.0
}

#[tokio::test(start_paused = true)]
async fn by_default_every_answer_counts() {
    let script = "+-+--++-";
    assert_eq!(readiness_of(scripted(script), script).await, script);
}

#[tokio::test(start_paused = true)]
async fn flapping_below_the_threshold_changes_nothing() {
    let script = "+--+--+-+--+";
    assert_eq!(readiness_of(scripted(script).fall(3), script).await, "++++++++++++");
    let script = "-++-+-++-";
    assert_eq!(readiness_of(scripted(script).rise(3), script).await, "---------");
}

#[tokio::test(start_paused = true)]
async fn at_the_threshold_it_changes() {
    let script = "+---++-++-----++";
    assert_eq!(readiness_of(scripted(script).fall(3).rise(2), script).await, "+++--++++++----+");
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_decides_at_once() {
    assert_eq!(readiness_of(scripted("+").fall(5).rise(5), "+").await, "+");
    assert_eq!(readiness_of(scripted("-").fall(5).rise(5), "-").await, "-");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_yet_believed_is_told() {
    let (_, readiness) = seen(scripted("+--").fall(3), 3).await;
    let report = &readiness.report()[0];
    assert!(report.ok() && report.doubts == 2);
    assert_eq!(report.doubt.as_deref(), Some("refused"));
    assert_eq!((report.age, report.took), (Some(EVERY / 2), Some(Duration::ZERO)));

    let (_, readiness) = seen(scripted("-+").rise(3), 2).await;
    let report = &readiness.report()[0];
    assert_eq!((&report.result, report.doubts), (&Some(Err("refused".into())), 1));
    assert_eq!(report.doubt, None);

    let (_, readiness) = seen(scripted("+-+").fall(2), 3).await;
    let report = &readiness.report()[0];
    assert_eq!((report.ok(), report.doubts, &report.doubt), (true, 0, &None), "a good answer ends the doubt");
}

#[tokio::test(start_paused = true)]
async fn silence_fails_after_the_time_out() {
    let silent = Check::new("silent", std::future::pending::<Result<(), String>>);
    let (seen, readiness) = seen(silent.interval(EVERY * 2).timeout(EVERY), 2).await;
    assert_eq!(seen, "--");
    let report = &readiness.report()[0];
    assert_eq!(report.result, Some(Err("no answer within 1000 ms".into())));
    assert_eq!(report.took, Some(EVERY));
}
