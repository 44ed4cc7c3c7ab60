//! Streams that are opened and reset, by the client or by a server that was made to.

use super::http2_floods::{Flooded, flood, judge};
use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::http2::{
    CANCEL, DATA, END_HEADERS, END_STREAM, H2, HEADERS, PRIORITY, fields, frame, get, post, reset,
    window_update,
};
use crate::audit::{Cure, Outcome, limits};

const GROUP: &str = "http2-resets";

const RAPID: Cure = Cure {
    advice: "Count streams that are reset before they are answered, and end the connection with \
             GOAWAY(ENHANCE_YOUR_CALM) (CVE-2023-44487).",
    keys: &["http2.max_cancelled_streams"],
};
const MADE: Cure = Cure {
    advice: "Count streams that the server has to reset because the client broke a rule, and end the connection \
             (CVE-2025-8671).",
    keys: &["http2.max_local_error_resets"],
};

/// Streams that make the server reset them.
const PROVOKED: u32 = 1000;

pub(super) fn cases() -> Vec<Case> {
    let rapid = |name, what, pair: fn(&Target, u32) -> Vec<u8>| {
        RAPID.case(GROUP, name, what, move |target: Target| async move {
            let pieces = (0..limits::STREAMS).map(|number| pair(&target, number * 2 + 1)).collect();
            match flood(&target, &[], pieces, limits::STREAMS * 2 + 1).await {
                Ok((_, flooded)) => judge(&flooded, "streams"),
                Err(outcome) => outcome,
            }
        })
    };
    vec![
        rapid("http2-rapid-reset", "asks and resets at once, 2000 times", |target, stream| {
            [get(target, stream), reset(stream, CANCEL)].concat()
        }),
        rapid(
            "http2-rapid-reset-body",
            "opens a stream for a body and resets it, 2000 times",
            |target, stream| [post(target, stream), reset(stream, CANCEL)].concat(),
        ),
        RAPID.case(
            GROUP,
            "http2-slow-reset",
            "asks, waits until it may have begun, and resets, 300 times",
            |target| async move {
                let mut h2 = match H2::open(&target).await {
                    Ok(h2) => h2,
                    Err(error) => return unreached(error),
                };
                let mut sent = 0;
                for number in 0..300 {
                    h2.send(&target, post(&target, number * 2 + 1)).await;
                    h2.pump_until(std::time::Duration::from_millis(1), H2::is_over).await;
                    h2.send(&target, reset(number * 2 + 1, CANCEL)).await;
                    if h2.is_over() {
                        break;
                    }
                    sent += 1;
                }
                let flooded = Flooded::of(&target, &mut h2, sent, 300, 601).await;
                let answered = h2.streams.values().filter(|stream| stream.status.is_some()).count();
                judge_slow(&flooded, answered)
            },
        ),
        provoked(
            "http2-made-reset-window",
            "overflows the window of each of 1000 streams",
            |target, stream| [post(target, stream), window_update(stream, 0x7fff_ffff)].concat(),
        ),
        provoked(
            "http2-made-reset-zero",
            "opens the window of each of 1000 streams by 0",
            |target, stream| [post(target, stream), window_update(stream, 0)].concat(),
        ),
        provoked(
            "http2-made-reset-data",
            "sends DATA on each of 1000 streams that it has ended",
            |target, stream| [get(target, stream), frame(DATA, 0, stream, b"a")].concat(),
        ),
        provoked(
            "http2-made-reset-priority",
            "makes each of 1000 streams depend on itself",
            |target, stream| {
                let own = [&stream.to_be_bytes()[..], &[1]].concat();
                [post(target, stream), frame(PRIORITY, 0, stream, &own)].concat()
            },
        ),
        provoked(
            "http2-made-reset-fields",
            "sends malformed fields on each of 1000 streams",
            |target, stream| {
                let block = fields(target, "GET", target.path(), &[("connection", "close")]);
                frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
            },
        ),
        provoked(
            "http2-made-reset-length",
            "sends more than it announced on each of 1000 streams",
            |target, stream| {
                let block = fields(target, "POST", target.upload_path(), &[("content-length", "1")]);
                [frame(HEADERS, END_HEADERS, stream, &block), frame(DATA, END_STREAM, stream, b"abc")]
                    .concat()
            },
        ),
    ]
}

fn provoked(name: &'static str, what: &'static str, pair: fn(&Target, u32) -> Vec<u8>) -> Case {
    MADE.case(GROUP, name, what, move |target: Target| async move {
        let pieces = (0..PROVOKED).map(|number| pair(&target, number * 2 + 1)).collect();
        match flood(&target, &[], pieces, PROVOKED * 2 + 1).await {
            Ok((h2, flooded)) => judge_provoked(&flooded, h2.resets),
            Err(outcome) => outcome,
        }
    })
}

/// What was answered before it was reset has not been given up.
pub(super) fn judge_slow(flooded: &Flooded, answered: usize) -> Outcome {
    let outcome = judge(flooded, "streams");
    let outcome = Outcome { what: format!("{}; {answered} answered at once", outcome.what), ..outcome };
    if answered * 2 > usize::try_from(flooded.sent).unwrap_or(0) {
        outcome.at_most_unclear()
    } else {
        outcome
    }
}

/// A flood that was endured without resets has provoked none.
pub(super) fn judge_provoked(flooded: &Flooded, resets: u64) -> Outcome {
    let outcome = judge(flooded, "streams");
    let outcome = Outcome { what: format!("{}; {resets} reset by the server", outcome.what), ..outcome };
    if resets * 2 < u64::from(flooded.sent) { outcome.at_most_unclear() } else { outcome }
}
