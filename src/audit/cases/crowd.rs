//! Many connections at once, and an honest client among them.

use std::time::Duration;

use tokio::time::Instant;

use super::judge::{is_refusal, no_answer, seconds};
use super::{Case, Target};
use crate::audit::wire::Conn;
use crate::audit::wire::http1::NoAnswer;
use crate::audit::{Cure, Outcome};

pub(super) const GROUP: &str = "crowd";

const ROOM: Cure = Cure {
    advice: "Do not give a thread or a worker to a connection that says nothing; limit connections per client.",
    keys: &["limits.max_connections", "limits.max_connections_per_ip"],
};

pub(super) fn cases() -> Vec<Case> {
    let case =
        |name, what, begin: fn(&Target) -> String| {
            ROOM.case(GROUP, name, what, move |target: Target| async move {
                crowd(&target, &begin(&target)).await
            })
        };
    vec![
        case("crowd-silent", "holds many silent connections, and asks on another", |_| String::new()),
        case("crowd-heads", "the same with half a request head on each", |target| {
            target.head("GET", target.path())
        }),
        case("crowd-bodies", "the same with half a request body on each", |target| {
            target.post("Content-Length: 1000\r\n") + "0123456789"
        }),
    ]
}

/// What an honest client met in a crowd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crowded {
    /// Connections that were held.
    pub(super) held: usize,
    /// How many of them the server had ended by then.
    pub(super) ended: usize,
    /// What the honest request got.
    pub(super) honest: Result<u16, NoAnswer>,
    pub(super) took: Duration,
}

async fn crowd(target: &Target, begin: &str) -> Outcome {
    let mut crowd: Vec<Conn> = Vec::new();
    let mut refused = 0;
    for _ in 0..target.options.connections {
        match target.connect().await {
            Ok(mut conn) => {
                conn.send(begin, target.patience()).await;
                crowd.push(conn);
            }
            Err(_) => refused += 1,
        }
    }
    let began = Instant::now();
    let honest = match target.connect().await {
        Ok(mut conn) => {
            conn.send(target.get(), target.patience()).await;
            conn.answer(target.patience()).await.map(|answer| answer.status)
        }
        Err(_) => Err(NoAnswer::Silence),
    };
    let took = began.elapsed();
    for conn in &mut crowd {
        while conn.fill(Instant::now()).await {
            conn.buffer.clear();
        }
    }
    let ended = refused + crowd.iter().filter(|conn| conn.end.is_some()).count();
    judge(&Crowded { held: crowd.len(), ended, honest, took }, target.baseline.get)
}

pub(super) fn judge(crowded: &Crowded, honest: u16) -> Outcome {
    let Crowded { held, ended, took, .. } = crowded;
    let among = format!("among {held} connections, of which {ended} were ended");
    match &crowded.honest {
        Ok(status @ (429 | 503)) => {
            Outcome::held(format!("{status} {among}: a limit, which honest clients of this address share"))
        }
        Ok(status) if is_refusal(*status, honest) => Outcome::unclear(format!("{status} {among}")),
        Ok(status) => Outcome::held(format!("{status} after {} {among}", seconds(*took))),
        Err(NoAnswer::Ended(_)) if *ended < *held => {
            Outcome::held(format!("closed {among}: a limit, which honest clients of this address share"))
        }
        // Who closed all of them may have closed this one too early; whether it lives, the next request tells.
        Err(NoAnswer::Ended(_)) => Outcome::unclear(format!("closed without an answer {among}")),
        Err(none) => Outcome::open(format!("{} within {} {among}", no_answer(none), seconds(*took))),
    }
}
