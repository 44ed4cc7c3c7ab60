//! The same limits over HTTP/2 by prior knowledge, and the floods that only HTTP/2 has.

mod clocks;
mod connections;
mod fields;
mod floods;
mod honest;
mod requests;
mod windows;

use crate::support::http2::{Answer, DATA, END_STREAM, frame};
use crate::support::problem::assert_document;

/// Fails unless `answer` is the refusal `code`.
#[track_caller]
fn assert_refusal(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, Some(status), "{answer:?}");
    assert_document(&answer.body, status, code);
}

/// DATA, the last of its stream or not.
fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, if end { END_STREAM } else { 0 }, stream, bytes)
}
