//! The table, and how what was seen is judged. The cases themselves are tried on servers in `tests/it/audit`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::judge::{Seen, bounded, bytes, conflict, must_refuse, one_reading, seconds};
use super::{all, body, connection, crowd, head, http2_fields, http2_floods, http2_frames, http2_resets};
use super::{http2_sizes, http2_slow, method, path, slow, slow_read};
use crate::audit::Outcome;
use crate::audit::Verdict::{Held, Open, Unclear};
use crate::audit::run::{Ended, Honest, honest_outcome};
use crate::audit::wire::End;
use crate::audit::wire::http1::{Answer, NoAnswer};
use crate::audit::wire::http2::Stream;

#[test]
fn the_table_has_a_case_for_each_attack_and_a_name_for_each_case() {
    let cases = all();
    assert!(cases.len() >= 60, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is there twice");
    let mut groups: Vec<_> = cases.iter().map(|case| case.group).collect();
    groups.dedup();
    assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), groups.len(), "a group is in two pieces");
    for case in &cases {
        let plain = |text: &str| {
            text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        assert!(plain(case.name) && plain(case.group), "{}", case.name);
        assert!(
            !case.what.is_empty() && !case.what.contains('|') && case.advice.ends_with('.'),
            "{}",
            case.name
        );
        assert_eq!(case.group.starts_with("http2"), case.name.starts_with("http2"), "{}", case.name);
    }
}

fn seen(answers: &[u16], end: Option<End>, went_on: Option<bool>) -> Seen {
    Seen { answers: answers.to_vec(), end, went_on, ..Seen::default() }
}

const CLOSED: Option<End> = Some(End::Closed);

#[test]
fn a_conflict_is_refused_or_answered_once_and_closed() {
    for (answers, end, went_on, verdict) in [
        (&[400][..], CLOSED, None, Held),
        (&[501], None, Some(true), Held),
        (&[], Some(End::Reset), None, Held),
        (&[200], CLOSED, None, Held),
        (&[200], None, Some(true), Open),
        (&[200, 200], None, None, Open),
        (&[200, 400], CLOSED, None, Open),
        (&[400, 405], None, None, Unclear),
        (&[200], None, Some(false), Unclear),
        (&[], None, None, Unclear),
    ] {
        let outcome = conflict(&seen(answers, end, went_on), 200);
        assert_eq!(outcome.verdict, verdict, "{answers:?} {end:?} {went_on:?}: {}", outcome.what);
    }
    // What honest requests get as well says nothing of the conflict.
    assert_eq!(conflict(&seen(&[405], None, Some(true)), 405).verdict, Open);
    assert_eq!(conflict(&seen(&[400], None, Some(true)), 400).verdict, Unclear);
}

#[test]
fn one_reading_answers_the_canary_or_closes() {
    for (answers, end, verdict) in [
        (&[200, 200][..], None, Held),
        (&[200], CLOSED, Held),
        (&[400], None, Held),
        (&[], CLOSED, Held),
        (&[200], None, Open),
        (&[200, 200, 200], None, Open),
        (&[], None, Unclear),
    ] {
        let outcome = one_reading(&seen(answers, end, None), 200);
        assert_eq!(outcome.verdict, verdict, "{answers:?} {end:?}: {}", outcome.what);
    }
}

#[test]
fn what_has_to_be_refused_is_open_where_it_is_served() {
    assert_eq!(must_refuse(&seen(&[400], CLOSED, None), 200).verdict, Held);
    assert_eq!(must_refuse(&seen(&[], CLOSED, None), 200).verdict, Held);
    assert_eq!(must_refuse(&seen(&[200], CLOSED, None), 200).verdict, Open);
    assert_eq!(must_refuse(&seen(&[], None, None), 200).verdict, Unclear);
    assert_eq!(head::taken(&seen(&[431], CLOSED, None), 200).verdict, Held);
    assert_eq!(head::taken(&seen(&[200], None, None), 200).verdict, Open);
    assert_eq!(head::taken(&seen(&[], None, None), 200).verdict, Open);
}

#[test]
fn what_grows_is_bounded_by_a_refusal_or_an_end() {
    let bounded = |answers: &[u16], end, all| bounded(&seen(answers, end, None), 200, 1 << 20, all).verdict;
    assert_eq!(bounded(&[413], None, false), Held);
    assert_eq!(bounded(&[], CLOSED, false), Held);
    assert_eq!(bounded(&[200], CLOSED, false), Held);
    assert_eq!(bounded(&[200], CLOSED, true), Open);
    assert_eq!(bounded(&[], None, true), Open);
    let of_any_post = super::judge::bounded(&seen(&[405], None, None), 405, 9, true);
    assert_eq!(of_any_post.verdict, Unclear);
}

#[test]
fn what_is_held_for_too_long_is_open() {
    let held = |end| slow::judge(&slow::Held { status: Some(408), end, took: Duration::from_secs(10) });
    assert_eq!(held(CLOSED), Outcome::held("408, closed after 10.0 s"));
    assert_eq!(held(Some(End::Reset)).verdict, Held);
    assert_eq!(held(None), Outcome::open("408, still open after 10.0 s"));
    let unread = |came, early, end| {
        let took = Duration::from_secs(35);
        slow_read::judge(&slow_read::Stalled { asked: 12 << 20, came, early, end, took }).verdict
    };
    assert_eq!(unread(4096, true, None), Held);
    assert_eq!(unread(1 << 20, false, CLOSED), Held);
    assert_eq!(unread(8 << 20, false, None), Open);
    assert_eq!(unread(1 << 20, false, None), Unclear);
}

#[test]
fn a_stream_that_is_held_for_too_long_is_open() {
    let took = Duration::from_secs(35);
    let judge =
        |goaway, end, stream| http2_slow::judge(&http2_slow::Held { goaway, end, stream, took }).verdict;
    let stream = |ended, reset| Some(Stream { ended, reset, ..Stream::default() });
    assert_eq!(judge(Some(11), CLOSED, None), Held);
    assert_eq!(judge(Some(11), None, None), Unclear);
    assert_eq!(judge(None, CLOSED, None), Held);
    assert_eq!(judge(None, None, stream(false, Some(8))), Held);
    assert_eq!(judge(None, None, stream(true, None)), Held);
    assert_eq!(judge(None, None, stream(false, None)), Open);
    assert_eq!(judge(None, None, None), Open);
}

fn answer(status: u16, body: &str, fields: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Answer { status, fields, body: body.into(), length: body.len() as u64, whole: true })
}

#[test]
fn answers_are_looked_into() {
    let secret = "root:x:0:0:root:/root:/bin/sh";
    assert_eq!(path::outside(&answer(200, secret, &[])).verdict, Open);
    assert_eq!(path::outside(&answer(200, ":root: no such user", &[])).verdict, Held);
    assert_eq!(path::outside(&answer(500, "", &[])).verdict, Open);
    assert_eq!(path::outside(&answer(400, "", &[])).verdict, Held);
    assert_eq!(path::outside(&Err(NoAnswer::Silence)).verdict, Unclear);
    assert_eq!(path::is_split(&answer(200, "", &[("X-Nessen-Probe", "split")])).verdict, Open);
    assert_eq!(path::is_split(&answer(404, "x-nessen-probe", &[])).verdict, Held);
    for (location, verdict) in [
        ("//nessen-probe.invalid/x", Open),
        ("https://nessen-probe.invalid", Open),
        ("/nessen-probe.invalid/", Held),
    ] {
        assert_eq!(
            path::sent_away(&answer(301, "", &[("Location", location)])).verdict,
            verdict,
            "{location}"
        );
    }
    let large = "a".repeat(5000);
    assert_eq!(path::ranged(&answer(206, &large, &[]), 1000).verdict, Open);
    assert_eq!(path::ranged(&answer(206, &large, &[]), 5000).verdict, Held);
    assert_eq!(method::reflected(&answer(200, "Cookie: a=nessen-probe-mark", &[])).verdict, Open);
    assert_eq!(method::reflected(&answer(405, "", &[])).verdict, Held);
}

#[test]
fn a_status_says_what_was_made_of_a_request() {
    let ended = || Err(NoAnswer::Ended(End::Closed));
    for (judged, verdict) in [
        (method::strange(&Ok(501)), Held),
        (method::strange(&Ok(200)), Unclear),
        (method::strange(&Ok(500)), Open),
        (method::strange(&ended()), Held),
        (method::tunnelled(&Ok(200)), Open),
        (method::tunnelled(&Ok(502)), Open),
        (method::tunnelled(&Ok(405)), Held),
        (head::old_version(&Ok(400)), Held),
        (head::old_version(&Err(NoAnswer::Garbage("<html>".into()))), Unclear),
        (connection::upgraded(&Ok(101)), Unclear),
        (connection::upgraded(&Ok(200)), Held),
        (connection::ended(&Ok(200), true, "1 ms"), Held),
        (connection::ended(&Ok(200), false, "35.0 s"), Open),
        (body::claim(&Ok(413), Duration::ZERO), Held),
        (body::claim(&Ok(100), Duration::ZERO), Open),
        (body::claim(&Ok(200), Duration::ZERO), Unclear),
        (body::claim(&Err(NoAnswer::Silence), Duration::ZERO), Open),
        (body::upload(&answer(413, "", &[]), 9), Held),
        (body::upload(&Ok(Answer { status: 413, ..Answer::default() }), 9), Open),
        (body::upload(&Err(NoAnswer::Ended(End::Reset)), 9), Open),
        (body::upload(&Err(NoAnswer::Silence), 9), Unclear),
    ] {
        assert_eq!(judged.verdict, verdict, "{}", judged.what);
    }
}

#[test]
fn a_pipeline_is_answered_in_order_or_closed() {
    let judge =
        |good, then| connection::judge_pipeline(&connection::Pipelined { sent: 1000, good, then }).verdict;
    assert_eq!(judge(1000, None), Held);
    assert_eq!(judge(10, Some(Err(NoAnswer::Ended(End::Closed)))), Held);
    assert_eq!(judge(10, Some(Ok(429))), Held);
    assert_eq!(judge(1000, Some(Ok(200))), Open);
    assert_eq!(judge(10, Some(Err(NoAnswer::Silence))), Open);
    assert_eq!(judge(10, Some(Err(NoAnswer::Garbage("x".into())))), Open);
}

#[test]
fn an_honest_client_is_served_in_a_crowd_or_told_of_a_limit() {
    let judge = |honest, ended| {
        crowd::judge(&crowd::Crowded { held: 64, ended, honest, took: Duration::ZERO }, 200).verdict
    };
    assert_eq!(judge(Ok(200), 0), Held);
    assert_eq!(judge(Ok(429), 0), Held);
    assert_eq!(judge(Ok(500), 0), Unclear);
    assert_eq!(judge(Err(NoAnswer::Ended(End::Closed)), 0), Held);
    assert_eq!(judge(Err(NoAnswer::Ended(End::Closed)), 64), Unclear);
    assert_eq!(judge(Err(NoAnswer::Silence), 0), Open);
}

#[test]
fn a_flood_is_ended_or_stalled_or_open() {
    let whole = http2_floods::Flooded { sent: 100, of: 100, alive: Some(true), ..Default::default() };
    let judge = |flooded| http2_floods::judge(&flooded, "frames").verdict;
    assert_eq!(judge(whole), Open);
    assert_eq!(judge(http2_floods::Flooded { goaway: Some(11), ..whole }), Held);
    assert_eq!(judge(http2_floods::Flooded { closed: true, ..whole }), Held);
    assert_eq!(judge(http2_floods::Flooded { stalled: true, ..whole }), Held);
    assert_eq!(judge(http2_floods::Flooded { sent: 10, ..whole }), Unclear);
    assert_eq!(judge(http2_floods::Flooded { alive: Some(false), ..whole }), Unclear);
    assert_eq!(judge(http2_floods::Flooded { alive: None, ..whole }), Open);
    assert_eq!(http2_resets::judge_provoked(&whole, 100).verdict, Open);
    assert_eq!(http2_resets::judge_provoked(&whole, 10).verdict, Unclear);
    assert_eq!(http2_resets::judge_slow(&whole, 0).verdict, Open);
    assert_eq!(http2_resets::judge_slow(&whole, 90).verdict, Unclear);
    assert_eq!(http2_floods::judge_unread(4 << 20, None).verdict, Open);
    assert_eq!(http2_floods::judge_unread(4 << 20, Some(11)).verdict, Held);
    assert_eq!(http2_floods::judge_unread(9, None).verdict, Unclear);
}

#[test]
fn a_rule_of_http_2_that_is_broken_has_consequences() {
    let none = http2_frames::Broken { pong: true, ..Default::default() };
    let judge = |broken| http2_frames::judge(&broken).verdict;
    assert_eq!(judge(none), Open);
    assert_eq!(judge(http2_frames::Broken { goaway: Some(1), ..none }), Held);
    assert_eq!(judge(http2_frames::Broken { closed: true, ..none }), Held);
    assert_eq!(judge(http2_frames::Broken { reset: Some(1), ..none }), Held);
    assert_eq!(judge(http2_frames::Broken { pong: false, ..none }), Unclear);
    assert_eq!(http2_frames::ignored(&none).verdict, Held);
    assert_eq!(http2_frames::ignored(&http2_frames::Broken { goaway: Some(1), ..none }).verdict, Unclear);
    let stream = |status, reset| Stream { status, reset, ..Stream::default() };
    let fields = |stream: Stream, closed| http2_fields::judge(&stream, None, closed, 200).verdict;
    assert_eq!(fields(stream(Some(400), None), false), Held);
    assert_eq!(fields(stream(None, Some(1)), false), Held);
    assert_eq!(fields(stream(None, None), true), Held);
    assert_eq!(fields(stream(Some(200), None), false), Open);
    assert_eq!(fields(stream(None, None), false), Unclear);
    assert_eq!(http2_fields::judge(&stream(Some(405), None), None, false, 405).verdict, Unclear);
    let streams = |announced, reset, answered, over| {
        let opened = http2_sizes::Opened { announced, opened: 110, reset, answered, over };
        http2_sizes::judge_streams(&opened).verdict
    };
    assert_eq!(streams(Some(100), 10, 0, false), Held);
    assert_eq!(streams(Some(100), 0, 0, true), Held);
    assert_eq!(streams(Some(100), 0, 0, false), Open);
    assert_eq!(streams(None, 0, 0, false), Open);
    assert_eq!(streams(Some(5000), 0, 0, false), Unclear);
    assert_eq!(streams(Some(100), 0, 110, false), Unclear);
}

#[test]
fn a_server_that_falls_silent_is_open_whatever_else_it_did() {
    let outcome = |other| honest_outcome(2, Some(Ended { other, group: "head" }));
    assert_eq!(honest_outcome(17, None).verdict, Held);
    let silent = outcome(Honest::Silent);
    assert!(silent.verdict == Open && silent.what.contains("head"), "{silent:?}");
    assert_eq!(outcome(Honest::Refused(500)).verdict, Open);
    assert_eq!(outcome(Honest::Refused(429)).verdict, Unclear);
    assert_eq!(Outcome::open("x").at_most_unclear().verdict, Unclear);
}

#[test]
fn figures_are_short() {
    assert_eq!(
        (seconds(Duration::from_millis(9)), seconds(Duration::from_millis(10_040))),
        ("9 ms".into(), "10.0 s".into())
    );
    assert_eq!([300, 20 << 10, 3 << 19].map(bytes), ["300 bytes", "20 KiB", "1.5 MiB"]);
}
