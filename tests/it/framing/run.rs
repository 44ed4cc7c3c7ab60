//! Runs the tables.

use std::sync::Mutex;
use std::time::Duration;

use super::{Case, Outcome};
use crate::support::http1::{Conn, End, NoResponse, Response, get};
use crate::support::problem::check_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually, pause};

const CANARY: &str = "/badge/canary/alive.svg";
const LAST: &[u8] = b"GET /badge/last/one.svg HTTP/1.1\r\nHost: nessen.test\r\nConnection: close\r\n\r\n";

pub(super) fn tables() -> Vec<Case> {
    let tables =
        [super::lengths::cases(), super::hosts::cases(), super::syntax::cases(), super::chunks::cases()];
    tables.into_iter().flatten().chain(super::limits::cases()).collect()
}

fn server() -> Server {
    // Many connections at once, each of which may linger for a moment.
    Server::start(&[("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0"), ("NESSEN_LIMITS_MAX_CONNECTIONS", "2000")])
}

/// How the bytes of a case are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    Whole,
    At(usize),
    Everywhere,
}

/// Sends the case and the canary, cut like this, and says what became of it.
fn observe(server: &Server, case: &Case, cut: Cut) -> Result<(Outcome, Vec<Response>), String> {
    let mut conn = Conn::try_open(server.address).map_err(|error| error.to_string())?;
    let bytes = [case.raw.as_slice(), &get(CANARY)].concat();
    // A write may fail: the server may refuse and close before it has seen everything.
    let written = match cut {
        Cut::Whole => conn.try_send(&bytes),
        Cut::Everywhere => bytes.iter().try_for_each(|byte| conn.try_send(&[*byte])),
        Cut::At(cut) => {
            let (first, second) = bytes.split_at(cut);
            let first = conn.try_send(first);
            // What is asserted holds however the bytes arrive; the pause makes it likely that
            // they arrive apart.
            pause(1);
            first.and_then(|()| conn.try_send(second))
        }
    };
    let mut answers = Vec::new();
    let canary = loop {
        match conn.try_read_response(PATIENCE) {
            Ok(answer) if answer.status == 200 && answer.text().contains("canary") => break true,
            Ok(answer) => answers.push(answer),
            Err(NoResponse::Ended(End::Fin, rest)) if rest.is_empty() => break false,
            // Bytes that come after the end of a connection are answered by a reset. The answers
            // were there before it.
            Err(NoResponse::Ended(End::Reset, rest)) if rest.is_empty() && cut != Cut::Whole => break false,
            Err(none) => {
                return Err(format!("{none:?} after {} answers; written: {written:?}", answers.len()));
            }
        }
        if answers.len() > 20 {
            return Err(format!("answers without end, the last {:?}", answers.last()));
        }
    };
    if canary {
        conn.try_send(LAST).map_err(|error| format!("after the canary: {error}"))?;
        match conn.try_read_response(PATIENCE) {
            Ok(answer) if answer.status == 200 && answer.text().contains("last") => {}
            other => return Err(format!("after the canary: {other:?}")),
        }
        let (rest, end) = conn.read_to_end(PATIENCE);
        if !rest.is_empty() || end != End::Fin {
            return Err(format!("after the last answer: {end:?} {:?}", String::from_utf8_lossy(&rest)));
        }
    }
    let code = match answers.last() {
        Some(last) if last.status >= 400 => serde_json::from_slice::<serde_json::Value>(&last.body)
            .ok()
            .and_then(|problem| problem["code"].as_str().map(str::to_owned))
            .unwrap_or_else(|| "(no problem body)".to_owned()),
        _ => String::new(),
    };
    let known = case.outcomes.iter().map(|outcome| outcome.code).find(|known| *known == code);
    let statuses = answers.iter().map(|answer| answer.status).collect();
    let Some(code) = known.or((code.is_empty()).then_some("")) else {
        return Err(format!("answered {statuses:?} {code}, open: {canary}"));
    };
    Ok((Outcome { answers: statuses, code, open: canary }, answers))
}

fn judge(server: &Server, case: &Case, cut: Cut) -> Result<Option<Response>, String> {
    let (outcome, answers) = observe(server, case, cut)?;
    if !case.outcomes.contains(&outcome) {
        return Err(format!("{outcome:?}, where only {:?} may be", case.outcomes));
    }
    let refusal = answers.into_iter().last().filter(|answer| answer.status >= 400);
    if let Some(refusal) = &refusal {
        check_problem(refusal, refusal.status, outcome.code)?;
        if refusal.says_close() == outcome.open {
            return Err(format!(
                "connection field {:?}, open: {}",
                refusal.header("connection"),
                outcome.open
            ));
        }
    }
    Ok(refusal)
}

#[test]
fn every_request_ends_where_it_ends() {
    let server = server();
    let mut faults = Vec::new();
    let mut refusals = Vec::new();
    for case in tables() {
        let before: f64 = total_rejections(&server);
        match judge(&server, &case, Cut::Whole) {
            Err(fault) => faults.push(format!("{}: {fault}", case.name)),
            Ok(refusal) => {
                let counted = total_rejections(&server) - before;
                // A connection dropped without an answer may be counted or not, but not twice.
                let silent = refusal.is_none() && case.outcomes.contains(&super::dropped());
                if counted != f64::from(u8::from(refusal.is_some())) && !(silent && counted <= 1.0) {
                    faults.push(format!("{}: counted {counted} times", case.name));
                }
                refusals.extend(refusal.map(|refusal| (case.name, refusal)));
            }
        }
    }
    for (name, refusal) in refusals {
        let id = refusal.header("x-request-id").unwrap_or_default().to_owned();
        let reason = refusal.json()["code"].as_str().unwrap().to_lowercase();
        let lines = || server.log().into_iter().filter(|line| line["request_id"] == *id).collect::<Vec<_>>();
        assert_eventually(PATIENCE, &format!("{name}: a log line for {id}"), || !lines().is_empty());
        let lines = lines();
        if lines.len() != 1 || lines[0]["reason"] != *reason {
            faults.push(format!("{name}: logged as {lines:?}, not once as {reason}"));
        }
        if lines.iter().any(|line| line.to_string().contains("zqx:")) {
            faults.push(format!("{name}: {lines:?}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn total_rejections(server: &Server) -> f64 {
    let metrics = server.metrics();
    metrics
        .iter()
        .filter(|(name, _)| name.starts_with("nessen_rejections_total"))
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn no_cut_between_two_bytes_moves_the_end_of_a_request() {
    let server = server();
    let cases = tables();
    let work: Vec<(usize, Cut)> = cases
        .iter()
        .enumerate()
        .flat_map(|(index, case)| cuts(case.raw.len()).into_iter().map(move |cut| (index, cut)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let faults: Mutex<Vec<(usize, Cut, String)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some((index, cut)) =
                    work.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    // Enough is known of this case; a server that hangs on one cut may hang on all.
                    if faults.lock().unwrap().iter().filter(|(case, ..)| case == index).count() >= 3 {
                        continue;
                    }
                    if let Err(fault) = judge(&server, &cases[*index], *cut) {
                        faults.lock().unwrap().push((*index, *cut, fault));
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    eprintln!("{} cuts of {} cases", work.len(), cases.len());
    let list: Vec<_> = faults
        .iter()
        .map(|(index, cut, fault)| format!("{}, cut {cut:?}: {fault}", cases[*index].name))
        .collect();
    assert!(list.is_empty(), "{} faults:\n{}", list.len(), list.join("\n"));
}

/// Every offset of a short request, and all of them at once; the ends, and steps through the
/// middle, of a long one.
fn cuts(length: usize) -> Vec<Cut> {
    const EDGE: usize = 48;
    if length <= 1000 {
        return (1..=length).map(Cut::At).chain([Cut::Everywhere]).collect();
    }
    let middle = (EDGE..length - EDGE).step_by(length / 16);
    (1..EDGE).step_by(6).chain(middle).chain((length - EDGE..=length).step_by(6)).map(Cut::At).collect()
}

#[test]
fn ten_pipelined_requests_are_answered_in_order() {
    let server = server();
    let mut conn = server.connect();
    let requests: Vec<u8> = (0..10).flat_map(|number| post(&format!("body number {number}"))).collect();
    conn.send(&requests);
    for number in 0..10 {
        let answer = conn.read_response();
        assert_eq!((answer.status, answer.text()), (200, format!("body number {number}")));
    }
    conn.assert_quiet_for(Duration::from_millis(50));
    conn.assert_serves();
}

fn post(body: &str) -> Vec<u8> {
    crate::support::http1::post(body.as_bytes())
}
