//! HTTP/2 frames that break a rule: the connection has to end, or the stream to be reset.

use std::time::Duration;

use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE, PADDED, PING, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, code_name,
    fields, frame, frame_head, get, post, reset, settings, window_update,
};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "http2-frames";

const STRICT: Cure = Cure {
    advice: "Use an HTTP/2 library that ends the connection where RFC 9113 wants it, and keep it current.",
    keys: &["http2.enabled"],
};

type Frames = fn(&Target) -> Vec<u8>;

/// Name, what is sent, the bytes, and whether enduring them harms nobody.
const FAULTS: [(&str, &str, Frames, bool); 27] = [
    ("http2-data-on-0", "sends DATA on stream 0", |_| frame(DATA, 0, 0, b"a"), false),
    (
        "http2-headers-on-0",
        "sends HEADERS on stream 0",
        |t| frame(HEADERS, END_STREAM | END_HEADERS, 0, &fields(t, "GET", t.path(), &[])),
        false,
    ),
    ("http2-settings-on-1", "sends SETTINGS on stream 1", |_| frame(SETTINGS, 0, 1, &[]), true),
    ("http2-ping-on-1", "sends PING on stream 1", |_| frame(PING, 0, 1, b"nessen!!"), true),
    ("http2-ping-of-7", "sends PING of 7 bytes", |_| frame(PING, 0, 0, b"nessen!"), false),
    ("http2-settings-of-5", "sends SETTINGS of 5 bytes", |_| frame(SETTINGS, 0, 0, &[0; 5]), false),
    ("http2-settings-ack-of-6", "acknowledges with bytes", |_| frame(SETTINGS, ACK, 0, &[0; 6]), true),
    (
        "http2-reset-of-3",
        "sends RST_STREAM of 3 bytes",
        |t| [post(t, 1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        false,
    ),
    ("http2-reset-on-0", "resets stream 0", |_| reset(0, 8), false),
    ("http2-reset-idle", "resets a stream that was never opened", |_| reset(99, 8), false),
    ("http2-data-idle", "sends DATA on a stream that was never opened", |_| frame(DATA, 0, 99, b"a"), false),
    (
        "http2-window-idle",
        "opens the window of a stream that was never opened",
        |_| window_update(99, 1),
        true,
    ),
    ("http2-window-of-3", "sends WINDOW_UPDATE of 3 bytes", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]), false),
    ("http2-window-zero", "opens the connection's window by 0", |_| window_update(0, 0), false),
    (
        "http2-window-overflow",
        "opens the connection's window past 2^31",
        |_| window_update(0, 0x7fff_ffff),
        false,
    ),
    ("http2-stream-even", "opens stream 2", |t| get(t, 2), false),
    ("http2-stream-backwards", "opens stream 5, then stream 3", |t| [get(t, 5), get(t, 3)].concat(), false),
    ("http2-push", "sends PUSH_PROMISE", |_| frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), false),
    (
        "http2-continuation-alone",
        "sends CONTINUATION without HEADERS",
        |_| frame(CONTINUATION, END_HEADERS, 1, &[0x82]),
        false,
    ),
    (
        "http2-block-interrupted",
        "sends PING within a header block",
        |t| {
            [frame(HEADERS, END_STREAM, 1, &fields(t, "GET", t.path(), &[])), frame(PING, 0, 0, b"nessen!!")]
                .concat()
        },
        false,
    ),
    (
        "http2-padding",
        "sends DATA that is shorter than its padding",
        |t| [post(t, 1), frame(DATA, PADDED, 1, &[200, 0])].concat(),
        false,
    ),
    (
        "http2-settings-window",
        "sets a window of 2^31",
        |_| settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]),
        false,
    ),
    ("http2-settings-frame", "sets a largest frame of 1 byte", |_| settings(&[(MAX_FRAME_SIZE, 1)]), false),
    (
        "http2-hpack-index",
        "names a field that is in no table",
        |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x82, 0xff, 0x80, 0x01]),
        false,
    ),
    (
        "http2-hpack-size",
        "sets the size of the dynamic table past its limit",
        |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0xff, 0x7f, 0x82]),
        false,
    ),
    (
        "http2-hpack-integer",
        "sends an integer without end",
        |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&[0xff][..], &[0xff; 20][..]].concat()),
        false,
    ),
    (
        "http2-hpack-short",
        "sends a field that is cut off",
        |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x82, 0x00, 0x0a, b'a']),
        false,
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = FAULTS
        .iter()
        .map(|(name, what, frames, harmless)| {
            STRICT
                .case(GROUP, name, what, move |target: Target| async move {
                    let h2 = H2::open(&target).await;
                    fault(&target, h2, &frames(&target)).await
                })
                .tolerated(*harmless)
        })
        .collect();
    cases.push(STRICT.case(
        GROUP,
        "http2-frame-oversized",
        "sends DATA over the largest frame",
        |target| async move {
            let h2 = H2::open(&target).await;
            let known = h2.as_ref().ok().and_then(|h2| h2.settings.as_ref()?.get(&MAX_FRAME_SIZE).copied());
            let over = known.unwrap_or(16_384) + 1;
            if over > 1 << 20 {
                return Outcome::skipped(format!(
                    "frames of {} are allowed",
                    super::judge::bytes(over.into())
                ));
            }
            let data = frame(DATA, 0, 1, &vec![b'a'; usize::try_from(over).unwrap_or(0)]);
            fault(&target, h2, &[post(&target, 1), data].concat()).await
        },
    ));
    cases.push(STRICT.case(GROUP, "http2-frame-16m", "announces HEADERS of 16 MiB", |target| async move {
        let h2 = H2::open(&target).await;
        let head = frame_head(0x00ff_ffff, HEADERS, END_STREAM | END_HEADERS, 1);
        fault(&target, h2, &[&head[..], &[0x82; 1000][..]].concat()).await
    }));
    cases.push(STRICT.case(
        GROUP,
        "http2-preface-wrong",
        "sends a preface with another end",
        |target| async move {
            let wrong = [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".as_slice(), &settings(&[])].concat();
            without_handshake(&target, wrong).await
        },
    ));
    let no_settings = "begins with PING in place of SETTINGS (against section 3.4, and harmless)";
    cases.push(
        STRICT
            .case(GROUP, "http2-no-settings", no_settings, |target| async move {
                without_handshake(&target, PREFACE.to_vec()).await
            })
            .tolerated(true),
    );
    cases.push(
        STRICT
            .case(GROUP, "http2-goaway-on-1", "sends GOAWAY on stream 1", |target| async move {
                let h2 = H2::open(&target).await;
                fault(&target, h2, &frame(GOAWAY, 0, 1, &[0; 8])).await
            })
            .tolerated(true),
    );
    let unknown = STRICT.case(
        GROUP,
        "http2-unknown-frame",
        "sends a frame of a type that is not known, which is to be ignored",
        |target| async move {
            let h2 = H2::open(&target).await;
            match endure(&target, h2, &frame(0xbe, 0, 0, b"nessen")).await {
                Ok(seen) => ignored(&seen),
                Err(outcome) => outcome,
            }
        },
    );
    cases.push(unknown.tolerated(true));
    cases
}

/// What came of a frame that breaks a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) goaway: Option<u32>,
    pub(super) closed: bool,
    /// The code of a stream's reset.
    pub(super) reset: Option<u32>,
    /// The status of an answer on a stream.
    pub(super) status: Option<u16>,
    /// Whether the PING behind it was answered.
    pub(super) pong: bool,
}

async fn fault(target: &Target, h2: Result<H2, crate::audit::TargetError>, frames: &[u8]) -> Outcome {
    match endure(target, h2, frames).await {
        Ok(seen) => judge(&seen),
        Err(outcome) => outcome,
    }
}

/// Sends frames and a PING behind them.
async fn endure(
    target: &Target,
    h2: Result<H2, crate::audit::TargetError>,
    frames: &[u8],
) -> Result<Broken, Outcome> {
    let mut h2 = h2.map_err(unreached)?;
    h2.send(target, [frames, &frame(PING, 0, 0, b"nessen??")].concat()).await;
    let over = |h2: &H2| h2.is_over() || h2.resets > 0;
    h2.pump_until(target.patience(), |h2| over(h2) || h2.pongs > 0).await;
    if !over(&h2) {
        // A connection that ends says so soon after.
        h2.pump_until(Duration::from_millis(300), over).await;
    }
    Ok(Broken {
        goaway: h2.goaway,
        closed: h2.conn.end.is_some(),
        reset: h2.streams.values().find_map(|stream| stream.reset),
        status: h2.streams.values().find_map(|stream| stream.status),
        pong: h2.pongs > 0,
    })
}

async fn without_handshake(target: &Target, bytes: Vec<u8>) -> Outcome {
    let mut h2 = match target.connect().await {
        Ok(conn) => H2::raw(conn),
        Err(error) => return unreached(error),
    };
    h2.polite = false;
    h2.send(target, [bytes, frame(PING, 0, 0, b"nessen??")].concat()).await;
    let refused = h2.pump_until(target.patience(), |h2| {
        h2.is_over() || h2.pongs > 0 || h2.conn.buffer.starts_with(b"HTTP/1")
    });
    refused.await;
    let http1 = h2.conn.buffer.starts_with(b"HTTP/1");
    judge(&Broken {
        goaway: h2.goaway,
        closed: h2.conn.end.is_some() || http1,
        pong: h2.pongs > 0,
        ..Broken::default()
    })
}

pub(super) fn judge(seen: &Broken) -> Outcome {
    match *seen {
        Broken { goaway: Some(code), .. } => Outcome::held(format!("GOAWAY({})", code_name(code))),
        Broken { closed: true, .. } => Outcome::held("refused or closed"),
        Broken { reset: Some(code), .. } => {
            Outcome::held(format!("the stream was reset with {}", code_name(code)))
        }
        Broken { status: Some(status), pong: false, .. } => Outcome::unclear(format!("{status}, still open")),
        Broken { pong: true, .. } => Outcome::open("endured: the connection serves on"),
        _ => Outcome::unclear("no reaction, still open"),
    }
}

/// A frame that is to be passed over.
pub(super) fn ignored(seen: &Broken) -> Outcome {
    match *seen {
        Broken { goaway: None, closed: false, pong: true, .. } => Outcome::held("ignored"),
        Broken { goaway: None, closed: false, .. } => Outcome::unclear("no reaction, still open"),
        _ => Outcome::unclear("the connection was ended, against RFC 9113 section 5.5"),
    }
}
