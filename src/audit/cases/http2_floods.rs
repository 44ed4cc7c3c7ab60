//! Frames that cost the server more than the client. Each flood is bounded, and held where the server ends it
//! or stops reading. Where it goes on, that is open only if what it has to keep grows with the flood.

use std::time::Duration;

use super::judge::{bytes, unreached};
use super::{Case, Target};
use crate::audit::wire::Sent;
use crate::audit::wire::hpack::field;
use crate::audit::wire::http2::{
    CANCEL, CONTINUATION, DATA, END_STREAM, H2, HEADERS, PADDED, PING, PRIORITY, SETTINGS, code_name, fields,
    frame, get, post, reset, window_update,
};
use crate::audit::{Cure, Outcome, limits};

const GROUP: &str = "http2-floods";

const ALLOWANCE: Cure = Cure {
    advice: "Count frames that carry no work against the work that is done, and end the connection with \
             GOAWAY(ENHANCE_YOUR_CALM) (CVE-2019-9511 to 9518).",
    keys: &["http2.enabled"],
};
const BLOCK: Cure = Cure {
    advice: "Bound a header block over all of its CONTINUATION frames (CVE-2024-27316).",
    keys: &["limits.max_header_size", "limits.headers_timeout"],
};

/// Frames of a flood.
const MANY: usize = 20_000;

/// Bytes that no system's sockets keep: who takes as many without their answers being read keeps those itself.
const UNREAD: usize = 4 << 20;

type Frames = fn(&Target) -> Vec<u8>;

/// What goes before, and what is sent again and again. Who endures these keeps nothing.
const CHEAP: [(&str, &str, Frames, Frames); 9] = [
    (
        "http2-priority-flood",
        "sends 20 000 PRIORITY",
        |_| Vec::new(),
        |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]),
    ),
    (
        "http2-priority-update-flood",
        "sends 20 000 PRIORITY_UPDATE (RFC 9218)",
        |_| Vec::new(),
        |_| frame(0x10, 0, 0, b"\0\0\0\x01u=0"),
    ),
    ("http2-window-flood", "sends 20 000 WINDOW_UPDATE", |_| Vec::new(), |_| window_update(0, 1)),
    ("http2-empty-data-flood", "sends 20 000 empty DATA", |t| post(t, 1), |_| frame(DATA, 0, 1, &[])),
    (
        "http2-padding-flood",
        "sends 20 000 DATA of nothing but padding",
        |t| post(t, 1),
        |_| frame(DATA, PADDED, 1, &[0]),
    ),
    ("http2-reset-flood", "resets an ended stream 20 000 times", |t| get(t, 1), |_| reset(1, CANCEL)),
    (
        "http2-unknown-flood",
        "sends 20 000 frames of a type that is not known",
        |_| Vec::new(),
        |_| frame(0xbe, 0, 0, b"a"),
    ),
    ("http2-goaway-flood", "sends 20 000 GOAWAY", |_| Vec::new(), |_| frame(7, 0, 0, &[0; 8])),
    (
        "http2-ping-ack-flood",
        "acknowledges 20 000 PINGs that never were",
        |_| Vec::new(),
        |_| frame(PING, 1, 0, b"nessen!!"),
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        unread("http2-ping-flood", "sends 4 MiB of PING, and reads no answer", |_| {
            frame(PING, 0, 0, b"nessen!!")
        }),
        unread("http2-settings-flood", "sends 4 MiB of SETTINGS, and reads no answer", |_| {
            frame(SETTINGS, 0, 0, &[])
        }),
        BLOCK.case(
            GROUP,
            "http2-continuation-flood",
            "sends CONTINUATION without end, up to 4 MiB",
            |target| async move {
                let part = frame(CONTINUATION, 0, 1, &field("x-a", "a".repeat(1000)));
                block(&target, &part, UNREAD / part.len()).await
            },
        ),
        BLOCK
            .case(
                GROUP,
                "http2-continuation-empty",
                "sends 20 000 empty CONTINUATION (nothing has to be kept of them)",
                |target| async move { block(&target, &frame(CONTINUATION, 0, 1, &[]), MANY).await },
            )
            .tolerated(true),
    ];
    cases.extend(CHEAP.iter().map(|(name, what, before, part)| {
        ALLOWANCE
            .case(GROUP, name, what, move |target: Target| async move {
                match flood(&target, &before(&target), repeated(&part(&target), MANY), 99).await {
                    Ok((_, flooded)) => judge(&flooded, "writes of 4 KiB"),
                    Err(outcome) => outcome,
                }
            })
            // RFC 9113 section 10.5 asks to watch for it, and permits to go on.
            .tolerated(true)
    }));
    cases
}

/// The same frames in writes of a few kilobytes.
fn repeated(part: &[u8], times: usize) -> Vec<Vec<u8>> {
    let each = (4096 / part.len().max(1)).max(1);
    vec![part.repeat(each); times.div_ceil(each)]
}

/// A header block that never ends.
async fn block(target: &Target, part: &[u8], times: usize) -> Outcome {
    let open = frame(HEADERS, END_STREAM, 1, &fields(target, "GET", target.path(), &[]));
    // No request can follow within a block: what was taken to its end was endured.
    match flood(target, &open, repeated(part, times), 0).await {
        Ok((_, flooded)) => judge(&flooded, "writes of 4 KiB"),
        Err(outcome) => outcome,
    }
}

/// A flood whose answers are not read.
fn unread(name: &'static str, what: &'static str, part: Frames) -> Case {
    ALLOWANCE.case(GROUP, name, what, move |target: Target| async move {
        let conn = match target.connect_narrow().await {
            Ok(conn) => conn,
            Err(error) => return unreached(error),
        };
        let mut h2 = match H2::shake_hands(&target, conn, &[]).await {
            Ok(h2) => h2,
            Err(error) => return unreached(error),
        };
        h2.polite = false;
        let part = part(&target);
        let before = h2.conn.sent;
        let sent = loop {
            match h2.conn.send_blind(part.repeat(200), Duration::from_secs(1)).await {
                Sent::All => {}
                other => break other,
            }
        };
        let taken = h2.conn.sent - before;
        if sent == Sent::Stalled {
            return Outcome::held(format!("stopped reading after {}, until it is read", bytes(taken)));
        }
        h2.polite = true;
        let over = h2.pump_to_end(target.patience().min(Duration::from_secs(2))).await;
        judge_unread(taken, over.then_some(h2.goaway).map(|code| code.unwrap_or(u32::MAX)))
    })
}

/// `over` is the code of GOAWAY where the connection ended, and [`u32::MAX`] where it said none.
pub(super) fn judge_unread(taken: u64, over: Option<u32>) -> Outcome {
    let after = format!("after {}", bytes(taken));
    match over {
        Some(u32::MAX) => Outcome::held(format!("closed {after}")),
        Some(code) => Outcome::held(format!("GOAWAY({}) {after}", code_name(code))),
        None if taken < limits::SENT / 2 => Outcome::unclear(format!("still open {after}")),
        None => Outcome::open(format!("took {} and kept the answers that nobody read", bytes(taken))),
    }
}

/// What came of a flood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flooded {
    /// Parts that were sent, of how many.
    pub(super) sent: u32,
    pub(super) of: u32,
    pub(super) goaway: Option<u32>,
    pub(super) closed: bool,
    /// Whether the server reads no more.
    pub(super) stalled: bool,
    /// Whether an honest request behind it was answered; none where none can follow.
    pub(super) alive: Option<bool>,
}

impl Flooded {
    /// Looks at a connection after `sent` parts. `next` is a stream that may be opened; 0 where none may.
    pub(super) async fn of(target: &Target, h2: &mut H2, sent: u32, of: u32, next: u32) -> Self {
        let mut alive = None;
        if !h2.is_over() && next > 0 {
            h2.send(target, get(target, next)).await;
            h2.pump_until(target.patience(), |h2| h2.is_over() || h2.stream(next).done()).await;
            alive = Some(h2.stream(next).status.is_some());
        }
        if !h2.is_over() {
            // Who ends the connection may take its time for it.
            let time = if next > 0 { Duration::from_millis(300) } else { target.patience() };
            h2.pump_to_end(time).await;
        }
        Self { sent, of, goaway: h2.goaway, closed: h2.conn.end.is_some(), stalled: false, alive }
    }
}

/// Sends `before`, then the pieces one by one until the server has had enough.
pub(super) async fn flood(
    target: &Target,
    before: &[u8],
    pieces: Vec<Vec<u8>>,
    next: u32,
) -> Result<(H2, Flooded), Outcome> {
    let conn = if next > 0 {
        target.connect().await
    } else {
        // No answer will tell that all was read: what waits in a wide socket has not been taken.
        target.connect_narrow().await
    };
    let mut h2 = H2::shake_hands(target, conn.map_err(unreached)?, &[]).await.map_err(unreached)?;
    h2.send(target, before).await;
    let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let mut sent = 0;
    for piece in pieces {
        match h2.send(target, &piece).await {
            Sent::All => sent += 1,
            Sent::Stalled => {
                let flooded = Flooded { sent, of, stalled: true, ..Flooded::default() };
                return Ok((h2, flooded));
            }
            Sent::Ended | Sent::Spent => break,
        }
        h2.book_all().await;
        if h2.is_over() {
            break;
        }
    }
    // What the server said before it closed is still to be read.
    h2.book_all().await;
    let flooded = Flooded::of(target, &mut h2, sent, of, next).await;
    Ok((h2, flooded))
}

pub(super) fn judge(flooded: &Flooded, unit: &str) -> Outcome {
    let after = format!("after {} of {} {unit}", flooded.sent, flooded.of);
    match *flooded {
        Flooded { goaway: Some(code), .. } => Outcome::held(format!("GOAWAY({}) {after}", code_name(code))),
        Flooded { closed: true, .. } => Outcome::held(format!("closed {after}")),
        Flooded { stalled: true, .. } => Outcome::held(format!("stopped reading {after}")),
        Flooded { sent, of, .. } if sent < of / 2 => Outcome::unclear(format!("still open {after}")),
        Flooded { alive: Some(true), .. } => Outcome::open(format!("serves on {after}")),
        Flooded { alive: Some(false), .. } => Outcome::unclear(format!("still open, and silent, {after}")),
        Flooded { alive: None, .. } => Outcome::open(format!("still open {after}")),
    }
}
