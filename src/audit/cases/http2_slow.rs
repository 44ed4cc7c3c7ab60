//! Clients that take their time over HTTP/2.

use std::time::Duration;

use tokio::time::Instant;

use super::judge::{seconds, unreached};
use super::{Case, Target};
use crate::audit::wire::End;
use crate::audit::wire::hpack;
use crate::audit::wire::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PING, PREFACE, Stream, code_name,
    fields, frame, frame_head, get, post, settings,
};
use crate::audit::{Cure, Outcome};

pub(super) const GROUP: &str = "http2-slow";

const HEAD: Cure = Cure {
    advice: "Hold the preface, each frame and each header block to the time-out of a request head.",
    keys: &["limits.headers_timeout"],
};
const BODY: Cure = Cure {
    advice: "Hold the body of each stream to a time-out for gaps and a slowest rate; PING is no progress.",
    keys: &["limits.body_timeout", "limits.min_body_rate"],
};
const IDLE: Cure = Cure {
    advice: "Close connections without a request, however many PINGs come.",
    keys: &["limits.headers_timeout", "limits.idle_timeout"],
};

const DRIP: Duration = Duration::from_secs(1);

pub(super) fn cases() -> Vec<Case> {
    vec![
        HEAD.case(GROUP, "http2-half-preface", "sends half the preface, and stops", |target| async move {
            let Some((half, _)) = PREFACE.split_at_checked(10) else { return Outcome::skipped("") };
            raw(&target, half.to_vec()).await
        }),
        HEAD.case(
            GROUP,
            "http2-preface-alone",
            "sends the preface without SETTINGS, and stops",
            |target| async move { raw(&target, PREFACE.to_vec()).await },
        ),
        HEAD.case(GROUP, "http2-half-frame", "sends half a HEADERS frame, and stops", |target| async move {
            let block = fields(&target, "GET", target.path(), &[]);
            let mut half = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
            half.truncate(20);
            hold(&target, Hold { begin: half, ..Hold::default() }).await
        }),
        HEAD.case(
            GROUP,
            "http2-half-block",
            "sends HEADERS without END_HEADERS, and stops",
            |target| async move {
                let begin = frame(HEADERS, END_STREAM, 1, &fields(&target, "GET", target.path(), &[]));
                hold(&target, Hold { begin, ..Hold::default() }).await
            },
        ),
        HEAD.case(
            GROUP,
            "http2-drip-block",
            "sends a CONTINUATION of a field every second",
            |target| async move {
                let begin = frame(HEADERS, END_STREAM, 1, &fields(&target, "GET", target.path(), &[]));
                let drip = frame(CONTINUATION, 0, 1, &hpack::field("x-drip", "a"));
                hold(&target, Hold { begin, drip, ..Hold::default() }).await
            },
        ),
        BODY.case(
            GROUP,
            "http2-slow-body",
            "opens a stream for a body, and sends none",
            |target| async move {
                let begin = post(&target, 1);
                hold(&target, Hold { begin, stream: true, ..Hold::default() }).await
            },
        ),
        BODY.case(GROUP, "http2-drip-body", "sends a byte of a body every second", |target| async move {
            let (begin, drip) = (post(&target, 1), frame(DATA, 0, 1, b"a"));
            hold(&target, Hold { begin, drip, stream: true, ..Hold::default() }).await
        }),
        BODY.case(
            GROUP,
            "http2-ping-body",
            "opens a stream for a body, and sends PING alone",
            |target| async move {
                let (begin, drip) = (post(&target, 1), frame(PING, 0, 0, b"nessen!!"));
                hold(&target, Hold { begin, drip, stream: true, ..Hold::default() }).await
            },
        ),
        BODY.case(GROUP, "http2-half-data", "sends half a DATA frame, and stops", |target| async move {
            let begin =
                [post(&target, 1), frame_head(1000, DATA, 0, 1).to_vec(), b"0123456789".to_vec()].concat();
            hold(&target, Hold { begin, stream: true, ..Hold::default() }).await
        }),
        IDLE.case(
            GROUP,
            "http2-silent",
            "shakes hands, and asks for nothing (how long is a matter of choice)",
            |target| async move { hold(&target, Hold::default()).await },
        )
        .tolerated(true),
        IDLE.case(
            GROUP,
            "http2-ping-idle",
            "shakes hands, and sends PING every second (how long is a matter of choice)",
            |target| async move {
                let drip = frame(PING, 0, 0, b"nessen!!");
                hold(&target, Hold { drip, ..Hold::default() }).await
            },
        )
        .tolerated(true),
        IDLE.case(
            GROUP,
            "http2-idle",
            "has one request answered, and stays silent (how long is a matter of choice)",
            |target| async move {
                let hold = hold(&target, Hold { begin: get(&target, 1), ..Hold::default() });
                hold.await
            },
        )
        .tolerated(true),
        IDLE.case(
            GROUP,
            "http2-settings-unacknowledged",
            "asks, and never acknowledges SETTINGS (permitted)",
            |target| async move {
                let hold = hold(&target, Hold { begin: get(&target, 1), rude: true, ..Hold::default() });
                hold.await
            },
        )
        .tolerated(true),
        IDLE.case(
            GROUP,
            "http2-goaway",
            "says GOAWAY after its answer, and waits for the end (permitted)",
            |target| async move {
                let begin = [get(&target, 1), frame(GOAWAY, 0, 0, &[0; 8])].concat();
                hold(&target, Hold { begin, ..Hold::default() }).await
            },
        )
        .tolerated(true),
    ]
}

/// What a client sends after the handshake, and then every second.
#[derive(Debug, Clone, Default)]
struct Hold {
    begin: Vec<u8>,
    drip: Vec<u8>,
    /// Whether the end of stream 1 is as good as that of the connection.
    stream: bool,
    /// Whether nothing is acknowledged.
    rude: bool,
}

/// What became of a connection or stream that was held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) goaway: Option<u32>,
    pub(super) end: Option<End>,
    /// The stream, where its end counts.
    pub(super) stream: Option<Stream>,
    pub(super) took: Duration,
}

/// Holds a connection on which no handshake was made.
async fn raw(target: &Target, bytes: Vec<u8>) -> Outcome {
    let mut h2 = match target.connect().await {
        Ok(conn) => H2::raw(conn),
        Err(error) => return unreached(error),
    };
    h2.polite = false;
    h2.send(target, bytes).await;
    watch(target, h2, &Hold::default()).await
}

async fn hold(target: &Target, hold: Hold) -> Outcome {
    let opened = if hold.rude {
        match target.connect().await {
            Ok(conn) => {
                let mut h2 = H2::raw(conn);
                h2.polite = false;
                h2.send(target, [PREFACE, &settings(&[(1, 0), (2, 0)])].concat()).await;
                Ok(h2)
            }
            Err(error) => Err(error),
        }
    } else {
        H2::open(target).await
    };
    let mut h2 = match opened {
        Ok(h2) => h2,
        Err(error) => return unreached(error),
    };
    h2.send(target, &hold.begin).await;
    watch(target, h2, &hold).await
}

async fn watch(target: &Target, mut h2: H2, hold: &Hold) -> Outcome {
    let began = Instant::now();
    let deadline = began + target.timeout();
    let over = |h2: &H2| h2.conn.end.is_some() || h2.goaway.is_some() || hold.stream && h2.stream(1).done();
    while Instant::now() < deadline && !over(&h2) {
        let left = deadline - Instant::now();
        let pause = if hold.drip.is_empty() { left } else { left.min(DRIP) };
        h2.pump_until(pause, over).await;
        if !hold.drip.is_empty() && !over(&h2) {
            h2.send(target, &hold.drip).await;
        }
    }
    let took = began.elapsed();
    let goaway = h2.goaway;
    if goaway.is_some() {
        // What is said is also done.
        h2.conn.drain(Instant::now() + target.patience()).await;
    }
    judge(&Held { goaway, end: h2.conn.end, stream: hold.stream.then(|| h2.stream(1)), took })
}

pub(super) fn judge(held: &Held) -> Outcome {
    let took = seconds(held.took);
    let status =
        held.stream.and_then(|stream| stream.status).map_or_else(String::new, |code| format!("{code}, "));
    match (held.goaway, held.end, held.stream) {
        (Some(code), Some(_), _) => {
            Outcome::held(format!("{status}GOAWAY({}) after {took}, closed", code_name(code)))
        }
        (Some(code), None, _) => Outcome::unclear(format!(
            "{status}GOAWAY({}) after {took}, and the connection stays open",
            code_name(code)
        )),
        (None, Some(_), _) => Outcome::held(format!("{status}closed after {took}")),
        (None, None, Some(Stream { reset: Some(code), .. })) => {
            Outcome::held(format!("{status}the stream was reset with {} after {took}", code_name(code)))
        }
        (None, None, Some(Stream { ended: true, .. })) => {
            Outcome::held(format!("{status}the stream was ended after {took}"))
        }
        (None, None, _) => Outcome::open(format!("{status}still open after {took}")),
    }
}
