//! Clients that ask for much and read little or nothing of it.

use std::time::Duration;

use tokio::time::Instant;

use super::judge::{bytes, seconds, unreached};
use super::{Case, Target, slow};
use crate::audit::wire::{End, Sent};
use crate::audit::{Cure, Outcome};

const SEND: Cure = Cure {
    advice: "Set a time-out for sending, and a slowest rate, and reset the connection of who does not read.",
    keys: &["limits.write_timeout", "limits.min_send_rate"],
};

/// Answers of this many bytes do not fit into the buffers of any system's sockets.
const ENOUGH: u64 = 8 << 20;
/// Bytes that are asked for, over all answers together.
const ASKED: u64 = 12 << 20;
/// Requests that are sent at most.
const REQUESTS: u64 = 2000;
/// How often the socket is looked at, and what a sip is.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn cases() -> Vec<Case> {
    let case = |name, what, sips: bool| {
        SEND.case(slow::GROUP, name, what, move |target: Target| async move { stall(&target, sips).await })
    };
    vec![
        case("slow-read", "asks for 12 MiB of answers, and reads none of it", false),
        case("sip-read", "asks for 12 MiB of answers, and reads some bytes twice a second", true),
    ]
}

/// What became of answers that were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stalled {
    /// Bytes that were asked for.
    pub(super) asked: u64,
    /// Bytes that came in the end.
    pub(super) came: u64,
    /// Whether the connection was reset before it was read again.
    pub(super) early: bool,
    pub(super) end: Option<End>,
    pub(super) took: Duration,
}

async fn stall(target: &Target, sips: bool) -> Outcome {
    let each = target.baseline.body;
    let count = ASKED.div_ceil(each.max(1));
    if count > REQUESTS {
        return Outcome::unclear(format!(
            "{} answers of {} do not fill a socket; name a larger one by --path",
            REQUESTS,
            bytes(each)
        ));
    }
    let mut conn = match target.connect_narrow().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    let deadline = conn.opened + target.timeout();
    let request = target.get();
    let mut asked = 0;
    for _ in 0..count {
        // A server that does not read on while it cannot write has been stalled as well.
        if conn.send_blind(&request, Duration::from_millis(300)).await != Sent::All {
            break;
        }
        asked += each;
    }
    let mut early = conn.was_reset();
    while !early && Instant::now() < deadline {
        tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
        if sips {
            conn.sip();
        }
        early = conn.was_reset() || conn.end.is_some();
    }
    let took = conn.opened.elapsed();
    // What had been sent before is still to be read.
    let quiet = Duration::from_secs(2);
    while conn.received < ENOUGH && conn.fill(Instant::now() + quiet).await {
        conn.buffer.clear();
    }
    judge(&Stalled { asked, came: conn.received, early, end: conn.end, took })
}

pub(super) fn judge(stalled: &Stalled) -> Outcome {
    let Stalled { asked, came, early, end, took } = stalled;
    let of = format!("{} of {}", bytes(*came), bytes(*asked));
    let took = seconds(*took);
    if *early {
        Outcome::held(format!("reset after {took}, {of} were read"))
    } else if *came >= ENOUGH {
        Outcome::open(format!("unread for {took}, and sent on as soon as it was read"))
    } else if end.is_some() && came < asked {
        Outcome::held(format!("given up within {took}: the connection ends after {of}"))
    } else {
        Outcome::unclear(format!("unread for {took}, then {of} came"))
    }
}
