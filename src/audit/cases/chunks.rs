//! Chunked bodies that two readers would cut differently, with a request smuggled in or a canary behind.

use super::judge::{conflict, exchange, one_reading};
use super::{Case, Target};
use crate::audit::Cure;

const GROUP: &str = "chunks";

const STRICT: Cure = Cure {
    advice: "Read chunks strictly, answer 400 to what is no chunk, and close. Never pass such a body on.",
    keys: &[],
};

pub(super) fn cases() -> Vec<Case> {
    let broken = |name, what, body: &'static str| {
        STRICT.case(GROUP, name, what, move |target: Target| async move {
            let raw = target.post("Transfer-Encoding: chunked\r\n") + body + &target.get();
            match exchange(&target, raw, 1).await {
                Ok(seen) => conflict(&seen, target.baseline.post),
                Err(outcome) => outcome,
            }
        })
    };
    let whole = |name, what, body: &'static str| {
        STRICT.case(GROUP, name, what, move |target: Target| async move {
            let raw = target.post("Transfer-Encoding: chunked\r\n") + body + &target.get();
            match exchange(&target, raw, 2).await {
                Ok(seen) => one_reading(&seen, target.baseline.post),
                Err(outcome) => outcome,
            }
        })
    };
    vec![
        broken(
            "chunk-overflow",
            "sends a chunk whose size wraps around 64 bits to 5",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        broken("chunk-huge", "sends a chunk of 2^80 bytes", "100000000000000000000\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-negative", "sends a chunk of -5 bytes", "-5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-plus", "sends a chunk of +5 bytes", "+5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-0x", "sends a chunk of 0x5 bytes", "0x5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-underscore", "sends a chunk of 0_5 bytes", "0_5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-no-size", "sends a chunk without a size", "\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-space-first", "sends a chunk with a space before its size", " 5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-too-long", "sends a chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-no-end", "sends a chunk without a line end", "5\r\nhello0\r\n\r\n"),
        broken("chunk-bare-cr", "ends a chunk's size in a bare CR", "5\rhello\r\n0\r\n\r\n"),
        broken("chunk-size-lf", "ends a chunk's size in a bare LF", "5\nhello\r\n0\r\n\r\n"),
        broken("chunk-end-lf", "ends a chunk in a bare LF", "5\r\nhello\n0\r\n\r\n"),
        broken("chunk-spill", "ends a chunk in two bytes that are no line end", "5\r\nhelloXX0\r\n\r\n"),
        broken("chunk-extension-cr", "sends a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-nul", "sends a chunk's size with a NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        STRICT.case(
            GROUP,
            "chunk-extension-lf",
            "hides a request behind a line feed in an extension",
            |target| async move {
                let smuggled = target.get();
                // To who ends the line at LF: a chunk `xx`, and one that holds the request. To who does not: a
                // chunk that is the size of the next, the last chunk, and then the request.
                let size = format!("{:x}", smuggled.len() + 5);
                let body = format!("{:x};\nxx\r\n{size}\r\n0\r\n\r\n{smuggled}\r\n0\r\n\r\n", size.len());
                let raw = target.post("Transfer-Encoding: chunked\r\n") + &body;
                match exchange(&target, raw, 1).await {
                    Ok(seen) => conflict(&seen, target.baseline.post),
                    Err(outcome) => outcome,
                }
            },
        ),
        whole("chunk-zeros", "sends a chunk's size with zeros in front", "0000000005\r\nhello\r\n0\r\n\r\n"),
        whole("chunk-extension", "sends a chunk extension", "5;name=\"a b\"\r\nhello\r\n0\r\n\r\n"),
        whole(
            "trailer-length",
            "sends Content-Length in a trailer",
            "5\r\nhello\r\n0\r\nContent-Length: 500\r\n\r\n",
        ),
        whole(
            "trailer-coding",
            "sends Transfer-Encoding in a trailer",
            "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        whole(
            "trailer-host",
            "sends Host in a trailer",
            "5\r\nhello\r\n0\r\nHost: nessen-probe.invalid\r\n\r\n",
        ),
    ]
}
