//! Request smuggling: heads that two readers would frame differently, with a request in the body.
//!
//! What stands behind the head is a whole body to one reader, and to another the end of an empty one and a
//! request. Who answers twice can be made to answer what a proxy in front never saw; who answers once and
//! serves on has taken one of the readings, and a neighbour may take the other.

use super::judge::{conflict, exchange, one_reading};
use super::{Case, Target};
use crate::audit::Cure;

const GROUP: &str = "framing";

const STRICT: Cure = Cure {
    advice: "Refuse what can be framed in two ways with 400 and close: differing or odd lengths, any transfer \
             coding but a single `chunked`, both together, fields that are no fields.",
    keys: &[],
};

/// What fields frame the request; `{length}` is the length of what follows.
type Fields = &'static str;

const CONFLICTS: [(&str, &str, Fields); 31] = [
    (
        "cl-te",
        "Content-Length, then Transfer-Encoding",
        "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "te-cl",
        "Transfer-Encoding, then Content-Length",
        "Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n",
    ),
    ("cl-cl", "two lengths that differ", "Content-Length: {length}\r\nContent-Length: 5\r\n"),
    ("cl-list", "a list of lengths that differ", "Content-Length: {length}, 5\r\n"),
    ("cl-plus", "a length with a plus", "Content-Length: +{length}\r\n"),
    ("cl-minus", "a negative length", "Content-Length: -{length}\r\n"),
    ("cl-space", "a length with a space in it", "Content-Length: {length} 5\r\n"),
    ("cl-hex", "a length in hexadecimal", "Content-Length: 0x{length}\r\n"),
    ("cl-comma", "a length with a comma behind", "Content-Length: {length},\r\n"),
    ("cl-empty", "an empty length", "Content-Length: \r\n"),
    ("cl-quoted", "a quoted length", "Content-Length: \"{length}\"\r\n"),
    (
        "te-xchunked",
        "a coding that only ends in `chunked`",
        "Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n",
    ),
    (
        "te-chunked-identity",
        "`chunked, identity`",
        "Content-Length: {length}\r\nTransfer-Encoding: chunked, identity\r\n",
    ),
    (
        "te-gzip-chunked",
        "`gzip, chunked`",
        "Content-Length: {length}\r\nTransfer-Encoding: gzip, chunked\r\n",
    ),
    ("te-identity", "`identity`", "Content-Length: {length}\r\nTransfer-Encoding: identity\r\n"),
    (
        "te-twice",
        "two codings in two fields",
        "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ),
    (
        "te-chunked-chunked",
        "`chunked, chunked`",
        "Content-Length: {length}\r\nTransfer-Encoding: chunked, chunked\r\n",
    ),
    ("te-comma", "`,chunked`", "Content-Length: {length}\r\nTransfer-Encoding: ,chunked\r\n"),
    ("te-parameter", "`chunked;q=1`", "Content-Length: {length}\r\nTransfer-Encoding: chunked;q=1\r\n"),
    ("te-quoted", "`chunked` in quotes", "Content-Length: {length}\r\nTransfer-Encoding: \"chunked\"\r\n"),
    ("te-tab", "a tab before `chunked`", "Content-Length: {length}\r\nTransfer-Encoding:\tchunked\r\n"),
    (
        "te-vertical-tab",
        "a vertical tab before `chunked`",
        "Content-Length: {length}\r\nTransfer-Encoding: \x0bchunked\r\n",
    ),
    ("te-nul", "a NUL before `chunked`", "Content-Length: {length}\r\nTransfer-Encoding: \0chunked\r\n"),
    ("te-capitals", "`CHUNKED`", "Content-Length: {length}\r\nTransfer-Encoding: CHUNKED\r\n"),
    (
        "te-space-colon",
        "a space before the colon",
        "Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n",
    ),
    (
        "te-space-first",
        "a space before the name",
        "Content-Length: {length}\r\n Transfer-Encoding: chunked\r\n",
    ),
    (
        "te-folded",
        "a field that folds onto a second line",
        "Content-Length: {length}\r\nTransfer-Encoding:\r\n chunked\r\n",
    ),
    (
        "te-bare-lf",
        "a line feed alone before the field",
        "Content-Length: {length}\r\nX-A: a\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "te-bare-cr",
        "a carriage return alone before the field",
        "Content-Length: {length}\r\nX-A: a\rTransfer-Encoding: chunked\r\n",
    ),
    ("te-nul-in-name", "a NUL in the name", "Content-Length: {length}\r\nTransfer-Encoding\0: chunked\r\n"),
    (
        "cl-space-in-name",
        "a length whose name has a space",
        "Content-Length: {length}\r\nContent Length: 5\r\n",
    ),
];

const SAME: [(&str, &str, Fields); 3] = [
    ("cl-cl-equal", "two lengths that are equal", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("cl-list-equal", "a list of equal lengths", "Content-Length: 5, 5\r\n"),
    ("cl-zeros", "a length with zeros in front", "Content-Length: 0005\r\n"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        CONFLICTS.iter().map(|(name, what, fields)| smuggle(name, what, fields)).collect();
    cases.push(STRICT.case(GROUP, "te-http-1.0", "Transfer-Encoding in HTTP/1.0", |target| async move {
        let (body, fields) = hidden(&target, "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n");
        let line = format!("POST {} HTTP/1.0", target.upload_path());
        let host = format!("Host: {}", target.authority());
        let raw = target.head_of(&line, Some(&host)) + &fields + "Connection: keep-alive\r\n\r\n" + &body;
        match exchange(&target, raw, 1).await {
            Ok(seen) => conflict(&seen, target.baseline.post),
            Err(outcome) => outcome,
        }
    }));
    cases.extend(SAME.iter().map(|(name, what, fields)| {
        STRICT.case(GROUP, name, what, move |target: Target| async move {
            let raw = target.post(fields) + "hello" + &target.get();
            match exchange(&target, raw, 2).await {
                Ok(seen) => one_reading(&seen, target.baseline.post),
                Err(outcome) => outcome,
            }
        })
    }));
    cases.push(STRICT.case(
        GROUP,
        "get-with-body",
        "a GET with a body that looks like a request",
        |target| async move {
            let body = target.get();
            let fields = format!("Content-Length: {}\r\n\r\n", body.len());
            let raw = target.head("GET", target.path()) + &fields + &body + &target.get();
            match exchange(&target, raw, 2).await {
                Ok(seen) => one_reading(&seen, target.baseline.get),
                Err(outcome) => outcome,
            }
        },
    ));
    cases
}

fn smuggle(name: &'static str, what: &'static str, fields: Fields) -> Case {
    STRICT.case(GROUP, name, what, move |target: Target| async move {
        let (body, fields) = hidden(&target, fields);
        match exchange(&target, target.post(&fields) + &body, 1).await {
            Ok(seen) => conflict(&seen, target.baseline.post),
            Err(outcome) => outcome,
        }
    })
}

/// A request behind an empty chunked body, and fields that hide it.
fn hidden(target: &Target, fields: Fields) -> (String, String) {
    // Five bytes in front, which are a body to who takes another length.
    let front = if fields.contains("Transfer-Encoding") { "0\r\n\r\n" } else { "hello" };
    let body = format!("{front}{}", target.get());
    let fields = fields.replace("{length}", &body.len().to_string());
    (body, fields)
}
