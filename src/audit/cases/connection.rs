//! What one connection may be used for, and how it ends.

use tokio::time::Instant;

use super::judge::{exchange, is_refusal, no_answer, one_reading, seconds, unreached};
use super::{Case, Target};
use crate::audit::wire::End;
use crate::audit::wire::http1::NoAnswer;
use crate::audit::{Cure, Outcome};

pub(super) const GROUP: &str = "connection";

const ORDER: Cure = Cure {
    advice: "Answer pipelined requests one by one and in order, and read no further ahead than needed.",
    keys: &["limits.max_requests_per_connection"],
};
const CLOSE: Cure = Cure {
    advice: "Close when a client says `Connection: close`, or has closed its side.",
    keys: &["limits.idle_timeout"],
};
const UPGRADE: Cure = Cure {
    advice: "Do not upgrade to `h2c`, and do not pass such an upgrade on: what follows is looked at by nobody.",
    keys: &[],
};
const EXPECT: Cure = Cure {
    advice: "Answer 417 to an expectation other than `100-continue`, and keep the framing in any case.",
    keys: &[],
};

/// Requests of one pipeline, and bytes that their answers may have together.
const PIPELINE: u64 = 1000;
const ANSWERS: u64 = 8 << 20;
/// Requests on one connection.
const REQUESTS: u32 = 200;

pub(super) fn cases() -> Vec<Case> {
    vec![
        ORDER.case(GROUP, "pipeline-1000", "sends 1000 requests before it reads an answer", |target| async move {
            let count = PIPELINE.min(ANSWERS / target.baseline.body.max(1)).max(2);
            match pipeline(&target, count).await {
                Ok(pipelined) => judge_pipeline(&pipelined),
                Err(outcome) => outcome,
            }
        }),
        ORDER.case(
            GROUP,
            "requests-200",
            "asks 200 times on one connection (the limit is a matter of choice)",
            |target| async move { requests(&target).await },
        )
        .tolerated(true),
        CLOSE.case(GROUP, "close", "says `Connection: close`, and waits", |target| async move {
            let raw = target.head("GET", target.path()) + "Connection: close\r\n\r\n";
            ends(&target, &raw, false).await
        }),
        CLOSE.case(GROUP, "half-close", "closes its own side after a request", |target| async move {
            ends(&target, &target.get(), true).await
        }),
        CLOSE.case(GROUP, "http-1.0", "asks in HTTP/1.0, and waits for the end", |target| async move {
            let line = format!("GET {} HTTP/1.0", target.path());
            let host = format!("Host: {}", target.authority());
            ends(&target, &(target.head_of(&line, Some(&host)) + "\r\n"), false).await
        }),
        UPGRADE.case(GROUP, "upgrade-h2c", "asks for an upgrade to `h2c`", |target| async move {
            let raw = target.head("GET", target.path())
                + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
            match super::judge::ask(&target, raw).await {
                Ok(answer) => upgraded(&answer.map(|answer| answer.status)),
                Err(outcome) => outcome,
            }
        })
        .tolerated(true),
        EXPECT.case(GROUP, "expect-unknown", "expects what is not known, with a body", |target| async move {
            let raw = target.post("Expect: nessen-probe\r\nContent-Length: 5\r\n") + "hello" + &target.get();
            match exchange(&target, raw, 2).await {
                Ok(seen) => one_reading(&seen, target.baseline.post),
                Err(outcome) => outcome,
            }
        }),
        EXPECT.case(
            GROUP,
            "expect-obscured",
            "expects `y 100-continue`, with a body",
            |target| async move {
                let fields = "Expect: y 100-continue\r\nContent-Length: 5\r\n";
                let raw = target.post(fields) + "hello" + &target.get();
                match exchange(&target, raw, 2).await {
                    Ok(seen) => one_reading(&seen, target.baseline.post),
                    Err(outcome) => outcome,
                }
            },
        ),
        EXPECT.case(
            GROUP,
            "expect-get",
            "expects `100-continue` for a GET whose body looks like a request",
            |target| async move {
                let inside = target.get();
                let fields = format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", inside.len());
                let raw = target.head("GET", target.path()) + &fields + &inside + &target.get();
                match exchange(&target, raw, 2).await {
                    Ok(seen) => one_reading(&seen, target.baseline.get),
                    Err(outcome) => outcome,
                }
            },
        ),
        EXPECT.case(GROUP, "expect-at-once", "expects `100-continue`, and sends its body at once", |target| {
            async move {
                let raw = target.post("Expect: 100-continue\r\nContent-Length: 5\r\n") + "hello" + &target.get();
                match exchange(&target, raw, 2).await {
                    Ok(seen) => one_reading(&seen, target.baseline.post),
                    Err(outcome) => outcome,
                }
            }
        }),
    ]
}

/// What came of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipelined {
    /// Requests that were sent.
    pub(super) sent: u64,
    /// Answers like an honest one's.
    pub(super) good: u64,
    /// An answer unlike an honest one's, or what came in place of one.
    pub(super) then: Option<Result<u16, NoAnswer>>,
}

async fn pipeline(target: &Target, count: u64) -> Result<Pipelined, Outcome> {
    let mut conn = target.connect().await.map_err(unreached)?;
    let requests = target.get().repeat(usize::try_from(count).unwrap_or(1));
    conn.send(requests, target.patience()).await;
    let mut pipelined = Pipelined { sent: count, good: 0, then: None };
    while pipelined.good < count {
        match conn.answer(target.patience()).await.map(|answer| answer.status) {
            Ok(status) if !is_refusal(status, target.baseline.get) => pipelined.good += 1,
            other => {
                pipelined.then = Some(other);
                return Ok(pipelined);
            }
        }
    }
    if !conn.buffer.is_empty() {
        pipelined.then = Some(conn.answer(target.patience()).await.map(|answer| answer.status));
    }
    Ok(pipelined)
}

pub(super) fn judge_pipeline(pipelined: &Pipelined) -> Outcome {
    let Pipelined { sent, good, then } = pipelined;
    let words = format!("{good} of {sent} answered");
    match then {
        None => Outcome::held(words),
        Some(Ok(status)) if good < sent => Outcome::held(format!("{words}, then {status}")),
        Some(Ok(status)) => Outcome::open(format!("{words}, and then {status} that nobody asked for")),
        Some(Err(NoAnswer::Ended(_))) => Outcome::held(format!("{words}, then closed")),
        Some(Err(NoAnswer::Silence)) => Outcome::open(format!("{words}, then silence on an open connection")),
        Some(Err(NoAnswer::Garbage(what))) => Outcome::open(format!("{words}, then {what}")),
    }
}

async fn requests(target: &Target) -> Outcome {
    let mut conn = match target.connect().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    for number in 0..REQUESTS {
        conn.send(target.get(), target.patience()).await;
        match conn.answer(target.patience()).await {
            Ok(answer) if !is_refusal(answer.status, target.baseline.get) => {}
            Ok(answer) => return Outcome::held(format!("{} after {number} requests", answer.status)),
            Err(NoAnswer::Ended(End::Enough)) => {
                return Outcome::unclear(format!("{number} requests answered, as many as may be read"));
            }
            Err(none) if number == 0 => return Outcome::unclear(no_answer(&none)),
            Err(_) => return Outcome::held(format!("closed after {number} requests")),
        }
    }
    Outcome::unclear(format!("{REQUESTS} requests answered; a limit, if any, is above"))
}

async fn ends(target: &Target, raw: &str, half: bool) -> Outcome {
    let mut conn = match target.connect().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    conn.send(raw, target.patience()).await;
    if half {
        conn.finish();
    }
    let answer = conn.answer(target.timeout()).await;
    let end = conn.drain(Instant::now() + target.timeout()).await;
    ended(&answer.map(|answer| answer.status), end.is_some(), &seconds(conn.opened.elapsed()))
}

/// A connection that is to end after its answer.
pub(super) fn ended(answer: &Result<u16, NoAnswer>, end: bool, took: &str) -> Outcome {
    let words = answer.as_ref().map_or_else(no_answer, u16::to_string);
    if end {
        Outcome::held(format!("{words}, closed after {took}"))
    } else {
        Outcome::open(format!("{words}, still open after {took}"))
    }
}

/// An upgrade to what nobody looks at. It was permitted once.
pub(super) fn upgraded(answer: &Result<u16, NoAnswer>) -> Outcome {
    match answer {
        Ok(101) => Outcome::unclear("101: upgraded; see that no rule of a proxy in front is passed by"),
        Ok(status) => Outcome::held(format!("{status}, not upgraded")),
        Err(NoAnswer::Silence) => Outcome::unclear("no answer"),
        Err(none) => Outcome::held(no_answer(none)),
    }
}
