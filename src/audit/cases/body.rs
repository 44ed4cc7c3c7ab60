//! Request bodies: how large, announced or in chunks.

use std::time::Duration;

use super::judge::{ask, bytes, exchange, grow, no_answer};
use super::{Case, Target};
use crate::audit::wire::http1::{Answer, NoAnswer};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "body";

const SIZE: Cure = Cure {
    advice: "Limit the size of request bodies, and refuse one that announces more before it is read: 413.",
    keys: &["limits.max_body_size"],
};
const CHUNKS: Cure = Cure {
    advice: "Bound what stands in chunks beside data: extensions, digits, trailers.",
    keys: &["limits.max_body_size", "limits.max_header_size"],
};

const TEN_GIB: u64 = 10 << 30;

pub(super) fn cases() -> Vec<Case> {
    vec![
        SIZE.case(
            GROUP,
            "body-claims-10g",
            "announces a body of 10 GiB, and sends a byte",
            |target| async move {
                let raw = target.post(&format!("Content-Length: {TEN_GIB}\r\n")) + "a";
                match ask(&target, raw).await {
                    Ok(answer) => claim(&answer.map(|answer| answer.status), target.patience()),
                    Err(outcome) => outcome,
                }
            },
        ),
        SIZE.case(
            GROUP,
            "body-expects-10g",
            "announces a body of 10 GiB, and asks whether to send it",
            |target| async move {
                let fields = format!("Content-Length: {TEN_GIB}\r\nExpect: 100-continue\r\n");
                let mut conn = match target.connect().await {
                    Ok(conn) => conn,
                    Err(error) => return super::judge::unreached(error),
                };
                conn.send(target.post(&fields), target.patience()).await;
                let head = conn.answer_head(tokio::time::Instant::now() + target.patience()).await;
                claim(&head.map(|head| head.status), target.patience())
            },
        ),
        SIZE.case(
            GROUP,
            "body-claims-beyond-64-bits",
            "announces a body of more bytes than 64 bits count",
            |target| async move {
                let raw = target.post("Content-Length: 18446744073709551617\r\n") + "a";
                match exchange(&target, raw, 1).await {
                    Ok(seen) => super::judge::conflict(&seen, target.baseline.post),
                    Err(outcome) => outcome,
                }
            },
        ),
        SIZE.case(
            GROUP,
            "body-chunks-4m",
            "sends chunks of 4 MiB together (the limit is a matter of choice)",
            |target| async move {
                let head = target.post("Transfer-Encoding: chunked\r\n").into_bytes();
                let chunk = [b"10000\r\n".as_slice(), &[b'a'; 64 << 10], b"\r\n"].concat();
                let outcome = grow(
                    &target,
                    [head].into_iter().chain(vec![chunk; 63]).chain([b"0\r\n\r\n".to_vec()]),
                    |honest| honest.post,
                );
                outcome.await
            },
        )
        .tolerated(true),
        grows(
            "chunk-extension-1m",
            "sends a chunk with an extension of 1 MiB (nothing has to be kept of it)",
            |target| {
                let head = target.post("Transfer-Encoding: chunked\r\n") + "5;a=";
                let end = b"\r\nhello\r\n0\r\n\r\n".to_vec();
                [vec![head.into_bytes()], vec![vec![b'a'; 16 << 10]; 64], vec![end]].concat()
            },
        ),
        grows(
            "chunk-extensions-1m",
            "sends 4096 chunks of a byte, each with an extension of 256 (nothing has to be kept of it)",
            |target| {
                let head = target.post("Transfer-Encoding: chunked\r\n").into_bytes();
                let chunk = format!("1;a={}\r\na\r\n", "a".repeat(256)).repeat(32).into_bytes();
                [vec![head], vec![chunk; 128], vec![b"0\r\n\r\n".to_vec()]].concat()
            },
        ),
        grows(
            "chunk-zeros-1m",
            "sends a chunk's size with a million zeros in front (nothing has to be kept of them)",
            |target| {
                let head = target.post("Transfer-Encoding: chunked\r\n").into_bytes();
                let end = b"5\r\nhello\r\n0\r\n\r\n".to_vec();
                [vec![head], vec![vec![b'0'; 16 << 10]; 64], vec![end]].concat()
            },
        ),
        grows("trailers-5000", "sends 5000 trailers (nothing has to be kept of them)", |target| {
            let head = target.post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n";
            let trailers = "X-A: a\r\n".repeat(50).into_bytes();
            [vec![head.into_bytes()], vec![trailers; 100], vec![b"\r\n".to_vec()]].concat()
        }),
        grows("trailers-1m", "sends a trailer of 1 MiB (nothing has to be kept of it)", |target| {
            let head = target.post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\nX-A: ";
            [vec![head.into_bytes()], vec![vec![b'a'; 16 << 10]; 64], vec![b"\r\n\r\n".to_vec()]].concat()
        }),
    ]
}

fn grows(name: &'static str, what: &'static str, pieces: fn(&Target) -> Vec<Vec<u8>>) -> Case {
    CHUNKS
        .case(GROUP, name, what, move |target: Target| async move {
            grow(&target, pieces(&target), |honest| honest.post).await
        })
        // RFC 9112 section 7.1.1 only says that a server ought to limit it.
        .tolerated(true)
}

/// What a server says to a body that is far too large.
pub(super) fn claim(answer: &Result<u16, NoAnswer>, waited: Duration) -> Outcome {
    match answer {
        Ok(100) => Outcome::open("100: it asks for all of it"),
        Ok(status) if *status >= 400 => Outcome::held(format!("{status}, before the body")),
        Ok(status) => Outcome::unclear(format!("{status} without the body: it does not read it")),
        Err(NoAnswer::Silence) => Outcome::open(format!(
            "no refusal within {}: the body is waited for",
            super::judge::seconds(waited)
        )),
        Err(none) => Outcome::held(no_answer(none)),
    }
}

/// What reached a client that sent its whole body before it read.
pub(super) fn upload(answer: &Result<Answer, NoAnswer>, sent: u64) -> Outcome {
    let after = format!("after {} had been sent", bytes(sent));
    match answer {
        Ok(answer) if answer.whole => Outcome::held(format!("{} could be read {after}", answer.status)),
        Ok(answer) => Outcome::open(format!("{}, cut off {after}", answer.status)),
        Err(NoAnswer::Silence) => Outcome::unclear(format!("no answer {after}")),
        Err(none) => Outcome::open(format!("{} {after}", no_answer(none))),
    }
}
