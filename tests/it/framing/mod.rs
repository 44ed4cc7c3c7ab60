//! Where a request ends: a table of bytes, each sent with a canary request right behind it.
//!
//! A server that misjudges an end answers a part of a body as a request, or swallows the canary. So
//! each case states how many answers come and whether the connection lives on, and holds whole and
//! cut in two at every byte.

mod chunks;
mod fragments;
mod hosts;
mod lengths;
mod limits;
mod run;
mod singles;
mod syntax;

/// One way in which a case may go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    /// The answers before the canary's.
    answers: Vec<u16>,
    /// The code of the problem body of the last of them; empty where it is no refusal.
    code: &'static str,
    /// Whether the canary, and another after it, are answered on the same connection.
    open: bool,
}

/// Bytes, and what may become of them.
struct Case {
    name: &'static str,
    raw: Vec<u8>,
    outcomes: Vec<Outcome>,
}

fn case(name: &'static str, raw: impl Into<Vec<u8>>, outcomes: impl IntoIterator<Item = Outcome>) -> Case {
    Case { name, raw: raw.into(), outcomes: outcomes.into_iter().collect() }
}

/// Answered 200, and the connection lives on.
fn served() -> Outcome {
    Outcome { answers: vec![200], code: "", open: true }
}

/// Answered 200, and the connection closes: the canary is not answered.
fn served_last() -> Outcome {
    Outcome { answers: vec![200], code: "", open: false }
}

/// Refused, and the connection closes.
fn closed(status: u16, code: &'static str) -> Outcome {
    Outcome { answers: vec![status], code, open: false }
}

/// Refused, and the connection lives on.
fn kept(status: u16, code: &'static str) -> Outcome {
    Outcome { answers: vec![status], code, open: true }
}

/// Closed without an answer.
fn dropped() -> Outcome {
    Outcome { answers: vec![], code: "", open: false }
}

/// Refused; whether the connection lives on is the server's choice, as long as it frames well.
fn refused(status: u16, code: &'static str) -> [Outcome; 2] {
    [closed(status, code), kept(status, code)]
}

/// 400 and close, for a target with a fragment.
fn fragment() -> Outcome {
    closed(400, "INVALID_PATH")
}

/// 400 and close, for bytes that are no request.
fn malformed() -> Outcome {
    closed(400, "MALFORMED_REQUEST")
}

/// 400 and close, for a body whose length can be read in two ways.
fn ambiguous() -> Outcome {
    closed(400, "AMBIGUOUS_FRAMING")
}

/// 400 and close, where both codes describe the fault.
fn malformed_or_ambiguous() -> [Outcome; 2] {
    [malformed(), ambiguous()]
}

/// The bytes of every case by its name, for other readers than this server.
pub(crate) fn requests() -> Vec<(&'static str, Vec<u8>)> {
    run::tables().into_iter().map(|case| (case.name, case.raw)).collect()
}

/// A POST to `/echo` with these framing fields and what follows the head.
fn echo(fields: &str, rest: &str) -> String {
    format!("POST /echo?zqx HTTP/1.1\r\nHost: nessen.test\r\nX-Zqx: zqx\r\n{fields}\r\n{rest}")
}

/// A GET with further fields.
fn badge(fields: &str) -> String {
    format!("GET /badge/case/ok.svg?zqx HTTP/1.1\r\nHost: nessen.test\r\nX-Zqx: zqx\r\n{fields}\r\n")
}
