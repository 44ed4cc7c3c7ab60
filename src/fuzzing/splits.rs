//! However the bytes are cut, they say the same: whole conversations, cut in two at every byte, and
//! everywhere. The PROXY protocol's are in `net/proxy_protocol`.

use std::time::Duration;

use super::connection::{http1, http2, server};
use super::script::Step;
use super::upstream;

/// A pause in which the other side takes in what it has.
const PAUSE: Step = Step::Wait(Duration::from_millis(50));

/// The bytes whole, in two parts at every place, and each on its own.
fn cuts(bytes: &[u8]) -> Vec<Vec<Step>> {
    let send = |bytes: &[u8]| Step::Send(bytes.to_vec());
    let halves = (1..bytes.len()).map(|cut| vec![send(&bytes[..cut]), PAUSE, send(&bytes[cut..])]);
    let everywhere = bytes.iter().flat_map(|byte| [send(&[*byte]), PAUSE]).collect();
    [vec![send(bytes)], everywhere].into_iter().chain(halves).collect()
}

/// What `seen` sees of a conversation is the same for all cuts of it.
fn assert_same<T: PartialEq + std::fmt::Debug>(bytes: &[u8], seen: impl Fn(Vec<Step>) -> T) -> T {
    let mut all = cuts(bytes).into_iter();
    let whole = seen(all.next().unwrap());
    for steps in all {
        let told = format!("{:?}", &steps[..steps.len().min(3)]);
        assert_eq!(seen(steps), whole, "{told}");
    }
    whole
}

const HTTP1: [&str; 6] = [
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nT: x\r\n\r\nHEAD /c HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcdGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /c HTTP/1.0\r\n\r\nGET /d HTTP/1.0\r\n\r\n",
];

#[test]
fn requests_of_http1_are_the_same_however_they_are_cut() {
    let expected: [&[u16]; 6] = [&[200, 200, 200], &[200, 200], &[400], &[400], &[400], &[200, 200]];
    for (text, expected) in HTTP1.iter().zip(expected) {
        let answers = assert_same(text.as_bytes(), |steps| {
            let outcome = server().serve(steps, 1);
            http1::summary(&outcome.far.answered(), text.contains("HEAD").then_some(1))
        });
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, expected, "{text:?}: {answers:?}");
    }
}

#[test]
fn the_preface_and_frames_of_http2_are_the_same_however_they_are_cut() {
    // An upload with trailers between two others; then what is none: DATA on no stream.
    let sound = http2::bytes(&[
        0, 11, 16, 0x80, 11, 14, 0x80, 0, 0, 0x40, 3, b'a', b'b', b'c', 11, 16, 0x80, 0, 0, 3, 2, b'd', b'e',
        6, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 5, 3, 5, 0, 1, b't', 1, b'x',
    ]);
    let summary = assert_same(&sound, |steps| http2::summary(&server().serve(steps, 8).far.answered()));
    let uploaded = (3, b"abcde".to_vec());
    assert!(summary.contents.contains(&uploaded) && summary.ended == [1, 3, 5], "{summary:?}");
    let broken = http2::bytes(&[0, 11, 16, 0x80, 0, 0, 0, 1, b'x', 11, 16, 0x80]);
    for steps in cuts(&broken) {
        // Whether the first is answered before the connection is given up is a matter of time.
        let summary = http2::summary(&server().serve(steps, 8).far.answered());
        assert!(summary.refused && !summary.ended.contains(&3), "{summary:?}");
    }
}

#[test]
fn a_preface_without_settings_is_none() {
    let early = http2::bytes(&[1, 11, 16, 0x80]);
    let summary = assert_same(&early, |steps| http2::summary(&server().serve(steps, 8).far.answered()));
    assert!(summary.refused && summary.ended.is_empty(), "{summary:?}");
}

const ANSWERS: [(&str, u16, &str, bool); 7] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true),
    (
        "HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n01\r\n!\r\n0\r\nT: x\r\n\r\n",
        201,
        "hello!",
        true,
    ),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 204 N\r\n\r\n", 204, "", true),
    ("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", 304, "", true),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false),
    ("HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n", 200, "hi", false),
];

#[test]
fn an_upstreams_answer_is_the_same_however_it_is_cut() {
    for (text, status, body, kept) in ANSWERS {
        // What follows an answer unasked follows it at once, or it is another's.
        let text_bytes = text.as_bytes();
        let whole = if text.contains("hiHTTP") {
            upstream::first(vec![Step::Send(text_bytes.to_vec()), PAUSE])
        } else {
            // The end comes later: it is no part of what is cut.
            assert_same(text_bytes, |steps| upstream::first([steps, vec![PAUSE]].concat()))
        };
        assert_eq!(whole, Some((status, body.as_bytes().to_vec(), true, kept)), "{text:?}");
    }
}

#[test]
fn an_upstreams_answer_that_ends_early_never_looks_whole() {
    for (text, ..) in &ANSWERS[..3] {
        for end in 0..text.len() {
            for last in [Step::End, Step::Fail] {
                let steps = vec![Step::Send(text.as_bytes()[..end].to_vec()), PAUSE, last];
                let whole = upstream::first(steps).is_some_and(|(_, _, whole, _)| whole);
                assert!(!whole, "{:?}", &text[..end]);
            }
        }
    }
}
