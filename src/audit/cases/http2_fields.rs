//! HTTP/2 requests that are malformed (RFC 9113 section 8): a reset or a refusal, never an answer as if all was
//! well. What a proxy translates into HTTP/1 without looking is request smuggling.

use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::hpack::field;
use crate::audit::wire::http2::{
    DATA, END_HEADERS, END_STREAM, H2, HEADERS, Stream, code_name, fields, frame,
};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "http2-fields";

const STRICT: Cure = Cure {
    advice: "Reset streams whose fields are malformed; never turn their bytes into a head of HTTP/1.",
    keys: &["http2.enabled"],
};

/// Further fields, and whether serving them is permitted.
const FURTHER: [(&str, &str, &str, &str, bool); 15] = [
    ("http2-connection", "sends `connection`", "connection", "keep-alive", false),
    ("http2-te-gzip", "sends `te: gzip`", "te", "gzip", false),
    ("http2-transfer-encoding", "sends `transfer-encoding`", "transfer-encoding", "chunked", false),
    ("http2-upgrade", "sends `upgrade`", "upgrade", "h2c", false),
    ("http2-keep-alive", "sends `keep-alive`", "keep-alive", "1", false),
    ("http2-uppercase", "sends a name in capitals", "X-Upper", "a", false),
    ("http2-name-space", "sends a name with a space", "x a", "a", false),
    ("http2-name-colon", "sends a name with a colon", "x:a", "a", false),
    ("http2-name-empty", "sends an empty name", "", "a", false),
    ("http2-name-crlf", "sends a name with a line end", "x: a\r\nx-split", "a", false),
    ("http2-value-crlf", "sends a value with a line end", "x-a", "a\r\nx-split: a", false),
    ("http2-value-lf", "sends a value with a line feed", "x-a", "a\nx-split: a", false),
    ("http2-value-nul", "sends a value with a NUL", "x-a", "a\0b", false),
    ("http2-pseudo-unknown", "sends `:nessen`", ":nessen", "a", false),
    ("http2-pseudo-late", "sends `:path` behind a field", ":path", "/", false),
];

type Block = fn(&Target) -> Vec<(&'static str, String)>;

/// Whole heads, and whether serving them is permitted.
const HEADS: [(&str, &str, Block, bool); 13] = [
    ("http2-no-path", "sends no `:path`", |t| without(t, ":path"), false),
    ("http2-no-method", "sends no `:method`", |t| without(t, ":method"), false),
    ("http2-no-scheme", "sends no `:scheme`", |t| without(t, ":scheme"), false),
    ("http2-no-authority", "sends neither `:authority` nor `host`", |t| without(t, ":authority"), true),
    ("http2-path-empty", "sends an empty `:path`", |t| with(t, ":path", ""), false),
    ("http2-path-relative", "sends a `:path` without a slash", |t| with(t, ":path", "a"), false),
    (
        "http2-path-crlf",
        "sends a `:path` with a line end",
        |t| with(t, ":path", "/ HTTP/1.1\r\nx-split: a"),
        false,
    ),
    ("http2-path-space", "sends a `:path` with a space", |t| with(t, ":path", "/ HTTP/1.1"), false),
    ("http2-method-space", "sends a `:method` with a space", |t| with(t, ":method", "GET / HTTP/1.1"), false),
    (
        "http2-method-crlf",
        "sends a `:method` with a line end",
        |t| with(t, ":method", "GET / HTTP/1.1\r\nx: a"),
        false,
    ),
    (
        "http2-authority-crlf",
        "sends an `:authority` with a line end",
        |t| with(t, ":authority", "a\r\nx-split: a"),
        false,
    ),
    (
        "http2-method-twice",
        "sends two methods",
        |t| [vec![(":method", "POST".into())], all(t)].concat(),
        false,
    ),
    (
        "http2-host-differs",
        "sends a `host` that is not the `:authority`",
        |t| [all(t), vec![("host", "nessen-probe.invalid".into())]].concat(),
        true,
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let further = FURTHER.iter().map(|(name, what, field, value, permitted)| {
        STRICT
            .case(GROUP, name, what, move |target: Target| async move {
                let mut block = fields(&target, "GET", target.path(), &[]);
                if *name == "http2-pseudo-late" {
                    block.extend(crate::audit::wire::hpack::field("x-a", "a"));
                }
                block.extend(crate::audit::wire::hpack::field(field, value));
                malformed(&target, &block).await
            })
            .tolerated(*permitted)
    });
    let heads = HEADS.iter().map(|(name, what, block, permitted)| {
        STRICT
            .case(GROUP, name, what, move |target: Target| async move {
                let block: Vec<u8> =
                    block(&target).iter().flat_map(|(name, value)| field(name, value)).collect();
                malformed(&target, &block).await
            })
            .tolerated(*permitted)
    });
    let lengths = [
        ("http2-body-short", "announces 10 bytes, and sends 5", "10", Some(5)),
        ("http2-body-long", "announces 5 bytes, and sends 10", "5", Some(10)),
        ("http2-body-none", "announces 5 bytes, and ends the stream with its head", "5", None),
        ("http2-body-odd", "announces `+5` bytes, and sends 5", "+5", Some(5)),
    ]
    .into_iter()
    .map(|(name, what, announced, sent)| {
        STRICT.case(GROUP, name, what, move |target: Target| async move {
            let block = fields(&target, "POST", target.upload_path(), &[("content-length", announced)]);
            let end = if sent.is_none() { END_STREAM } else { 0 };
            let mut frames = frame(HEADERS, END_HEADERS | end, 1, &block);
            if let Some(count) = sent {
                frames.extend(frame(DATA, END_STREAM, 1, &vec![b'a'; count]));
            }
            send(&target, &frames, target.baseline.post).await
        })
    });
    let methods = [
        ("http2-trace", "asks by TRACE", "TRACE"),
        ("http2-connect", "asks by CONNECT, with a path", "CONNECT"),
    ]
    .into_iter()
    .map(|(name, what, method)| {
        STRICT
            .case(GROUP, name, what, move |target: Target| async move {
                malformed(&target, &fields(&target, method, target.path(), &[])).await
            })
            .tolerated(method == "TRACE")
    });
    further.chain(heads).chain(lengths).chain(methods).collect()
}

fn all(target: &Target) -> Vec<(&'static str, String)> {
    let pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", target.path()),
        (":authority", target.authority()),
    ];
    pseudo.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

fn without(target: &Target, left_out: &str) -> Vec<(&'static str, String)> {
    all(target).into_iter().filter(|(name, _)| *name != left_out).collect()
}

fn with(target: &Target, changed: &str, to: &str) -> Vec<(&'static str, String)> {
    let change = |(name, value)| (name, if name == changed { to.to_owned() } else { value });
    all(target).into_iter().map(change).collect()
}

async fn malformed(target: &Target, block: &[u8]) -> Outcome {
    let frames = frame(HEADERS, END_STREAM | END_HEADERS, 1, block);
    send(target, &frames, target.baseline.get).await
}

async fn send(target: &Target, frames: &[u8], honest: u16) -> Outcome {
    let mut h2 = match H2::open(target).await {
        Ok(h2) => h2,
        Err(error) => return unreached(error),
    };
    h2.send(target, frames).await;
    h2.pump_until(target.patience(), |h2| {
        let stream = h2.stream(1);
        h2.is_over() || stream.done() || stream.status.is_some_and(|status| status >= 200)
    })
    .await;
    judge(&h2.stream(1), h2.goaway, h2.conn.end.is_some(), honest)
}

pub(super) fn judge(stream: &Stream, goaway: Option<u32>, closed: bool, honest: u16) -> Outcome {
    match (stream.status, stream.reset, goaway) {
        (Some(status), ..) if status >= 400 && status != honest => Outcome::held(status.to_string()),
        (Some(status), ..) if status >= 400 => {
            Outcome::unclear(format!("{status}: as honest requests are; name a path that takes them"))
        }
        (Some(status), ..) => Outcome::open(format!("{status}: served")),
        (None, Some(code), _) => Outcome::held(format!("the stream was reset with {}", code_name(code))),
        (None, None, Some(code)) => Outcome::held(format!("GOAWAY({})", code_name(code))),
        (None, None, None) if closed => Outcome::held("closed"),
        (None, None, None) => Outcome::unclear("no answer, still open"),
    }
}
