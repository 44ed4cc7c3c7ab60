//! What is seen on a connection, in words, and what it is worth.

use std::time::Duration;

use tokio::time::Instant;

use super::Target;
use crate::audit::Outcome;
use crate::audit::target::{Baseline, TargetError};
use crate::audit::wire::http1::{Answer, NoAnswer};
use crate::audit::wire::{Conn, End, Sent};

/// How long a second answer may come after a first one that came at once.
const QUIET: Duration = Duration::from_secs(1);

/// What came back on a connection to bytes that should get one or two answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The status of each answer.
    pub(super) answers: Vec<u16>,
    /// How the connection ended.
    pub(super) end: Option<End>,
    /// What came that is no HTTP/1.
    pub(super) garbage: Option<String>,
    /// Whether a further GET on the same connection was answered; none where it was not sent.
    pub(super) went_on: Option<bool>,
    /// Until the end, or until nothing more was waited for.
    pub(super) took: Duration,
}

impl Seen {
    /// What was seen, in words.
    pub(super) fn words(&self) -> String {
        let answers = match self.answers.as_slice() {
            [] => "no answer".to_owned(),
            [one] => one.to_string(),
            many if many.len() > 4 => format!("{} answers", many.len()),
            many => many.iter().map(u16::to_string).collect::<Vec<_>>().join(" and "),
        };
        let garbage = self.garbage.as_ref().map(|what| format!(", then {what}")).unwrap_or_default();
        let end = match (self.end, self.went_on) {
            (Some(End::Reset), _) => ", reset",
            (Some(_), _) => ", closed",
            (None, Some(true)) => ", and the connection serves on",
            (None, Some(false)) => ", open, and silent from then on",
            (None, None) => ", still open",
        };
        format!("{answers}{garbage}{end} after {}", seconds(self.took))
    }
}

/// `10.0 s`, or `3 ms`.
pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// `1.5 MiB`, or `300 bytes`.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..1_048_576 => format!("{} KiB", count >> 10),
        // Tenths of a MiB.
        _ => format!("{}.{} MiB", count >> 20, (count >> 10) % 1024 * 10 / 1024),
    }
}

/// No connection, no verdict.
pub(super) fn unreached(error: TargetError) -> Outcome {
    Outcome::unclear(error.0)
}

/// Sends bytes and collects answers: one more than `expected`, or what comes.
pub(super) async fn exchange(
    target: &Target,
    raw: impl AsRef<[u8]>,
    expected: usize,
) -> Result<Seen, Outcome> {
    let mut conn = target.connect().await.map_err(unreached)?;
    conn.send(raw, target.patience()).await;
    let mut seen = Seen::default();
    collect(target, &mut conn, &mut seen, expected + 1).await;
    if seen.end.is_none()
        && seen.garbage.is_none()
        && !seen.answers.is_empty()
        && seen.answers.len() <= expected
    {
        conn.send(target.get(), target.patience()).await;
        seen.went_on = Some(conn.answer(target.patience().min(QUIET)).await.is_ok());
        seen.end = conn.end;
    }
    seen.took = conn.opened.elapsed();
    Ok(seen)
}

async fn collect(target: &Target, conn: &mut Conn, seen: &mut Seen, most: usize) {
    let mut patience = target.patience();
    while seen.answers.len() < most {
        match conn.answer(patience).await {
            Ok(answer) => seen.answers.push(answer.status),
            Err(NoAnswer::Ended(end)) => return seen.end = Some(end),
            Err(NoAnswer::Silence) => return,
            Err(NoAnswer::Garbage(what)) => {
                seen.garbage = Some(what);
                return seen.end = conn.end;
            }
        }
        // The first tells how fast the server is.
        patience = target.patience().min(QUIET + conn.opened.elapsed());
    }
}

/// Whether a status is a refusal, and not what honest requests get as well.
pub(super) fn is_refusal(status: u16, honest: u16) -> bool {
    status >= 400 && status != honest
}

/// Bytes that two readers would read differently: refused, or answered once with the connection closed.
pub(super) fn conflict(seen: &Seen, honest: u16) -> Outcome {
    let words = seen.words();
    match seen.answers.as_slice() {
        [] if seen.end.is_some() => Outcome::held(words),
        [] => Outcome::unclear(words),
        [first] if is_refusal(*first, honest) || seen.end.is_some() => Outcome::held(words),
        [400, ..] => {
            Outcome::unclear(format!("{words}: as honest requests are; name a path that takes POST"))
        }
        [_] if seen.went_on == Some(true) => {
            Outcome::open(format!("{words}: one reading was taken, and a neighbour may take the other"))
        }
        [_] => Outcome::unclear(words),
        [first, second, ..] if is_refusal(*first, honest) && is_refusal(*second, honest) => {
            Outcome::unclear(format!("{words}: refused, and what follows was read as a request"))
        }
        _ => Outcome::open(format!("{words}: a part of the body was answered as a request")),
    }
}

/// Bytes that have one reading, with a canary behind: refused, closed, or read so.
pub(super) fn one_reading(seen: &Seen, honest: u16) -> Outcome {
    let words = seen.words();
    match seen.answers.as_slice() {
        [] if seen.end.is_some() => Outcome::held(words),
        [] => Outcome::unclear(words),
        [first, ..] if is_refusal(*first, honest) => Outcome::held(words),
        [_] if seen.end.is_some() => Outcome::held(words),
        [_] => Outcome::open(format!("{words}: the request behind it was swallowed")),
        [_, _] => Outcome::held(words),
        _ => Outcome::open(format!("{words}: more answers than requests")),
    }
}

/// A request that the standard wants refused, alone on its connection.
pub(super) fn must_refuse(seen: &Seen, honest: u16) -> Outcome {
    let words = seen.words();
    match seen.answers.as_slice() {
        [] if seen.end.is_some() => Outcome::held(words),
        [] => Outcome::unclear(words),
        [first, ..] if is_refusal(*first, honest) => Outcome::held(words),
        _ => Outcome::open(format!("{words}: served")),
    }
}

/// Something that grows without end: refused or closed at some size, or taken.
pub(super) fn bounded(seen: &Seen, honest: u16, sent: u64, all: bool) -> Outcome {
    let words = format!("{}, after {} had been sent", seen.words(), bytes(sent));
    match seen.answers.as_slice() {
        [first, ..] if is_refusal(*first, honest) => Outcome::held(words),
        [] if seen.end.is_some() => Outcome::held(words),
        _ if seen.end.is_some() && !all => Outcome::held(words),
        [first, ..] if *first >= 400 => {
            Outcome::unclear(format!("{words}: as honest requests are; name a path that takes them"))
        }
        _ => Outcome::open(words),
    }
}

/// Sends what grows, and reads what comes of it.
pub(super) async fn grow(
    target: &Target,
    pieces: impl IntoIterator<Item = Vec<u8>>,
    honest: impl Fn(&Baseline) -> u16,
) -> Outcome {
    // What waits in a wide socket has not been taken.
    let mut conn = match target.connect_narrow().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    let mut all = true;
    for piece in pieces {
        let sent = conn.send(piece, target.patience()).await;
        if sent == Sent::Stalled && conn.buffer.is_empty() {
            return Outcome::held(format!("stopped reading after {}", bytes(conn.sent)));
        }
        // An answer in the middle is a refusal: nothing was asked for yet.
        all = sent == Sent::All && conn.buffer.is_empty();
        if !all {
            break;
        }
    }
    let (sent, honest) = (conn.sent, honest(&target.baseline));
    let mut seen = Seen::default();
    collect(target, &mut conn, &mut seen, 1).await;
    // Who answers as always may still let go of the rest.
    let as_always = seen.answers.first().is_some_and(|first| *first >= 400 && *first == honest);
    if seen.end.is_none() && (!all || as_always) {
        seen.end = conn.drain(Instant::now() + target.patience()).await;
    }
    seen.took = conn.opened.elapsed();
    bounded(&seen, honest, sent, all && !as_always)
}

/// The answer to one honest-looking request, with its body.
pub(in crate::audit) async fn ask(
    target: &Target,
    raw: impl AsRef<[u8]>,
) -> Result<Result<Answer, NoAnswer>, Outcome> {
    let mut conn = target.connect().await.map_err(unreached)?;
    conn.send(raw, target.patience()).await;
    Ok(conn.answer(target.patience()).await)
}

/// Why there was no answer, in words.
pub(in crate::audit) fn no_answer(none: &NoAnswer) -> String {
    match none {
        NoAnswer::Ended(End::Reset) => "reset without an answer".to_owned(),
        NoAnswer::Ended(_) => "closed without an answer".to_owned(),
        NoAnswer::Silence => "no answer".to_owned(),
        NoAnswer::Garbage(what) => format!("no HTTP: {what}"),
    }
}
