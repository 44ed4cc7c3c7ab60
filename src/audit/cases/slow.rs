//! Clients that take their time: Slowloris and its kin over HTTP/1.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::judge::{seconds, unreached};
use super::{Case, Target};
use crate::audit::wire::{Conn, End};
use crate::audit::{Cure, Outcome};

pub(super) const GROUP: &str = "slow";

const HEAD: Cure = Cure {
    advice: "Set a time-out for the whole request head, and close when it is over.",
    keys: &["limits.headers_timeout"],
};
const BODY: Cure = Cure {
    advice: "Set a time-out for gaps in a request body, and a slowest rate over all of it.",
    keys: &["limits.body_timeout", "limits.min_body_rate"],
};
const IDLE: Cure = Cure {
    advice: "Close connections on which no request is made.",
    keys: &["limits.headers_timeout", "limits.idle_timeout"],
};

/// A pause between two bytes of a drip.
const DRIP: Duration = Duration::from_secs(1);

pub(super) fn cases() -> Vec<Case> {
    let case = |cure: Cure, name, what, plan: fn(&Target) -> Plan| {
        cure.case(GROUP, name, what, move |target: Target| async move { hold(&target, plan(&target)).await })
    };
    vec![
        case(IDLE, "silent", "connects and says nothing", |_| Plan::default()),
        case(HEAD, "half-line", "sends half a request line, and stops", |_| Plan::stop("GET / HT")),
        case(HEAD, "slow-head", "sends a request head without its end, and stops", |target| {
            Plan::stop(target.head("GET", target.path()))
        }),
        case(HEAD, "drip-head", "sends a field byte by byte, one a second", |target| {
            Plan::drip(target.head("GET", target.path()), "X-Drip-A: a\r\n")
        }),
        case(HEAD, "slow-second-head", "has one request answered, and sends half of another", |target| {
            Plan { first: Some(target.get()), ..Plan::stop(target.head("GET", target.path())) }
        }),
        case(HEAD, "blank-lines", "sends empty lines, one a second, and no request", |_| {
            Plan::drip("\r\n", "\r\n")
        }),
        case(BODY, "slow-body", "announces a body of 1000 bytes, sends 10, and stops", |target| {
            Plan::stop(target.post("Content-Length: 1000\r\n") + "0123456789")
        }),
        case(BODY, "drip-body", "sends a body byte by byte, one a second", |target| {
            Plan::drip(target.post("Content-Length: 1000\r\n"), "a")
        }),
        case(BODY, "slow-chunk", "announces a chunk of 1000 bytes, sends 10, and stops", |target| {
            Plan::stop(target.post("Transfer-Encoding: chunked\r\n") + "3e8\r\n0123456789")
        }),
        case(BODY, "drip-chunks", "sends chunks of one byte, byte by byte, one a second", |target| {
            Plan::drip(target.post("Transfer-Encoding: chunked\r\n"), "1\r\na\r\n")
        }),
        case(BODY, "slow-trailer", "ends a chunked body in half a trailer, and stops", |target| {
            Plan::stop(target.post("Transfer-Encoding: chunked\r\n") + "1\r\na\r\n0\r\nX-A: a")
        }),
        case(BODY, "slow-expect", "asks by `Expect: 100-continue`, and sends no body", |target| {
            Plan::stop(target.post("Content-Length: 10\r\nExpect: 100-continue\r\n"))
        }),
        IDLE.case(
            GROUP,
            "idle",
            "has one request answered, and stays silent (how long is a matter of choice)",
            |target| async move {
                let plan = Plan { first: Some(target.get()), ..Plan::default() };
                hold(&target, plan).await
            },
        )
        .tolerated(true),
    ]
}

/// What a client sends, and then goes on sending.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// A request that has to be answered first.
    first: Option<String>,
    begin: String,
    /// Sent byte by byte, again and again.
    drip: &'static str,
}

impl Plan {
    fn stop(begin: impl Into<String>) -> Self {
        Self { begin: begin.into(), ..Self::default() }
    }

    fn drip(begin: impl Into<String>, drip: &'static str) -> Self {
        Self { drip, ..Self::stop(begin) }
    }
}

/// What became of a connection that was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The status of an answer that came.
    pub(super) status: Option<u16>,
    pub(super) end: Option<End>,
    pub(super) took: Duration,
}

/// Holds a connection as the plan says, for as long as it is let.
async fn hold(target: &Target, plan: Plan) -> Outcome {
    let mut conn = match target.connect().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    if let Some(first) = &plan.first {
        conn.send(first, target.patience()).await;
        if conn.answer(target.patience()).await.is_err() {
            return Outcome::unclear("the honest request before it was not answered");
        }
    }
    let began = Instant::now();
    let deadline = began + target.timeout();
    conn.send(&plan.begin, target.patience()).await;
    let mut drips = plan.drip.bytes().cycle();
    loop {
        let next = drips.next();
        // An answer means nothing as long as the connection is held.
        let until = if next.is_some() { deadline.min(Instant::now() + DRIP) } else { deadline };
        let _ = timeout_at(until, async { while conn.fill(until).await {} }).await;
        if conn.end.is_some() || Instant::now() >= deadline {
            break;
        }
        if let Some(byte) = next {
            conn.send([byte], target.patience()).await;
        }
    }
    let took = began.elapsed();
    let end = conn.end;
    judge(&Held { status: status(&mut conn).await, end, took })
}

async fn status(conn: &mut Conn) -> Option<u16> {
    conn.answer(Duration::ZERO).await.ok().map(|answer| answer.status)
}

pub(super) fn judge(held: &Held) -> Outcome {
    let status = held.status.map_or_else(String::new, |status| format!("{status}, "));
    let took = seconds(held.took);
    match held.end {
        Some(End::Reset) => Outcome::held(format!("{status}reset after {took}")),
        Some(_) => Outcome::held(format!("{status}closed after {took}")),
        None => Outcome::open(format!("{status}still open after {took}")),
    }
}
