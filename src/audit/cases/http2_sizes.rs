//! How much HTTP/2 lets a client ask for: fields, what they unfold to, streams at once.

use super::http2_fields::judge;
use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::hpack::{field, indexed_field};
use crate::audit::wire::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, H2, HEADERS, MAX_CONCURRENT_STREAMS, fields, frame, post,
};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "http2-sizes";

const FIELDS: Cure = Cure {
    advice: "Limit the number of fields and their size as they are unfolded, not as they are packed: 431.",
    keys: &["limits.max_header_size", "limits.max_header_count"],
};
const URL: Cure = Cure { advice: "Limit the length of `:path`: 414.", keys: &["limits.max_url_length"] };
const BODY: Cure = Cure {
    advice: "Limit the size of request bodies, and refuse one that announces more before it is read: 413.",
    keys: &["limits.max_body_size"],
};
const STREAMS: Cure = Cure {
    advice: "Announce SETTINGS_MAX_CONCURRENT_STREAMS of about 100, and refuse streams beyond it.",
    keys: &["http2.max_concurrent_streams"],
};

/// Streams opened where no limit was announced.
const MANY: u32 = 1000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        FIELDS.case(
            GROUP,
            "http2-hpack-bomb",
            "names a field of 3000 bytes 10 000 times, in a block of 13 KiB",
            |target| async move {
                let bomb = indexed_field("x-bomb", &"a".repeat(3000));
                block(
                    &target,
                    [fields(&target, "GET", target.path(), &[]), bomb, vec![0xbe; 10_000]].concat(),
                )
                .await
            },
        ),
        FIELDS.case(
            GROUP,
            "http2-hpack-fields",
            "names 12 000 small fields, in a block of 12 KiB",
            |target| async move {
                // `accept-encoding: gzip, deflate`, of the static table.
                block(&target, [fields(&target, "GET", target.path(), &[]), vec![0x90; 12_000]].concat())
                    .await
            },
        ),
        FIELDS.case(GROUP, "http2-fields-5000", "sends 5000 fields", |target| async move {
            let many = field("x-a", "a").repeat(5000);
            block(&target, [fields(&target, "GET", target.path(), &[]), many].concat()).await
        }),
        FIELDS.case(
            GROUP,
            "http2-fields-empty",
            "sends 4000 fields without name and value (CVE-2019-9516)",
            |target| async move {
                let empty = field("", "").repeat(4000);
                block(&target, [fields(&target, "GET", target.path(), &[]), empty].concat()).await
            },
        ),
        FIELDS.case(GROUP, "http2-fields-1m", "sends fields of 1 MiB together", |target| async move {
            let large = field("x-large", "a".repeat(4096)).repeat(256);
            block(&target, [fields(&target, "GET", target.path(), &[]), large].concat()).await
        }),
        FIELDS
            .case(
                GROUP,
                "http2-field-64k",
                "sends a field of 64 KiB (the limit is a matter of choice)",
                |target| async move {
                    let large = field("x-large", "a".repeat(64 << 10));
                    block(&target, [fields(&target, "GET", target.path(), &[]), large].concat()).await
                },
            )
            .tolerated(true),
        URL.case(GROUP, "http2-path-1m", "asks for a `:path` of 1 MiB", |target| async move {
            let path = format!("/{}", "a".repeat(1 << 20));
            block(&target, fields(&target, "GET", &path, &[])).await
        }),
        BODY.case(GROUP, "http2-body-claims-10g", "announces a body of 10 GiB", |target| async move {
            let mut h2 = match H2::open(&target).await {
                Ok(h2) => h2,
                Err(error) => return unreached(error),
            };
            let block = fields(&target, "POST", target.upload_path(), &[("content-length", "10737418240")]);
            h2.send(&target, frame(HEADERS, END_HEADERS, 1, &block)).await;
            let seen = |h2: &H2| h2.is_over() || h2.stream(1).done() || h2.stream(1).status.is_some();
            if h2.pump_until(target.patience(), seen).await {
                let status = h2.stream(1).status.filter(|status| *status < 400);
                match status {
                    Some(status) => {
                        Outcome::unclear(format!("{status} without the body: it does not read it"))
                    }
                    None => judge(&h2.stream(1), h2.goaway, h2.conn.end.is_some(), 0),
                }
            } else {
                Outcome::open("no refusal: the body is waited for")
            }
        }),
        STREAMS.case(
            GROUP,
            "http2-streams",
            "opens more streams than the server allows (1000, where it allows any number)",
            |target| async move { streams(&target).await },
        ),
    ]
}

/// Sends a block in as many frames as it takes.
async fn block(target: &Target, block: Vec<u8>) -> Outcome {
    let mut h2 = match H2::open(target).await {
        Ok(h2) => h2,
        Err(error) => return unreached(error),
    };
    let count = block.len().div_ceil(16_000).max(1);
    for (number, part) in block.chunks(16_000).enumerate() {
        let end = if number + 1 == count { END_HEADERS } else { 0 };
        let bytes = if number == 0 {
            frame(HEADERS, END_STREAM | end, 1, part)
        } else {
            frame(CONTINUATION, end, 1, part)
        };
        h2.send(target, bytes).await;
        h2.book_all().await;
        if h2.is_over() {
            break;
        }
    }
    h2.pump_until(target.patience(), |h2| h2.is_over() || h2.stream(1).done()).await;
    judge(&h2.stream(1), h2.goaway, h2.conn.end.is_some(), target.baseline.get)
}

/// What came of too many streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) announced: Option<u32>,
    pub(super) opened: u32,
    /// Streams that were reset.
    pub(super) reset: usize,
    /// Streams that were answered.
    pub(super) answered: usize,
    /// Whether the connection was ended.
    pub(super) over: bool,
}

async fn streams(target: &Target) -> Outcome {
    let mut h2 = match H2::open(target).await {
        Ok(h2) => h2,
        Err(error) => return unreached(error),
    };
    let announced = h2.settings.as_ref().and_then(|known| known.get(&MAX_CONCURRENT_STREAMS).copied());
    let opened = announced.unwrap_or(MANY).saturating_add(10).min(crate::audit::limits::STREAMS);
    let frames: Vec<u8> = (0..opened).flat_map(|number| post(target, number * 2 + 1)).collect();
    h2.send(target, frames).await;
    h2.pump_until(target.patience(), |h2| h2.is_over() || h2.resets >= 10).await;
    let count = |wanted: fn(&crate::audit::wire::http2::Stream) -> bool| {
        h2.streams.values().filter(|stream| wanted(stream)).count()
    };
    let reset = count(|stream| stream.reset.is_some());
    let answered = count(|stream| stream.status.is_some());
    judge_streams(&Opened { announced, opened, reset, answered, over: h2.is_over() })
}

pub(super) fn judge_streams(seen: &Opened) -> Outcome {
    let allowed = seen.announced.map_or_else(|| "any number".to_owned(), |count| count.to_string());
    let words = format!(
        "{allowed} allowed, {} opened, {} reset, {} answered at once",
        seen.opened, seen.reset, seen.answered
    );
    if seen.over {
        Outcome::held(format!("{words}, connection ended"))
    } else if seen.reset > 0 {
        Outcome::held(words)
    } else if seen.answered > 0 {
        Outcome::unclear(format!("{words}: too fast to be many at a time"))
    } else if seen.announced.is_some_and(|count| count >= seen.opened) {
        Outcome::unclear(format!("{words}: more than are tried here"))
    } else {
        Outcome::open(words)
    }
}
