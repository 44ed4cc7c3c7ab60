//! HTTP/2 windows: shut, opened by drops, or too wide.

use std::time::Duration;

use tokio::time::Instant;

use super::http2_slow::{GROUP, Held, judge};
use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::http2::{H2, INITIAL_WINDOW_SIZE, get, window_update};
use crate::audit::{Cure, Outcome};

const SEND: Cure = Cure {
    advice: "Hold each stream to a time-out for sending and a slowest rate: a socket stays writable while a \
             window is shut.",
    keys: &["limits.write_timeout", "limits.min_send_rate"],
};

const DRIP: Duration = Duration::from_millis(500);

pub(super) fn cases() -> Vec<Case> {
    vec![
        SEND.case(
            GROUP,
            "http2-zero-window",
            "asks with a window of 0, and never opens it",
            |target| async move { starve(&target, 0, 0).await },
        ),
        SEND.case(
            GROUP,
            "http2-window-drip",
            "asks with a window of 0, and opens it by a byte twice a second",
            |target| async move { starve(&target, 0, 1).await },
        ),
        SEND.case(
            GROUP,
            "http2-connection-window",
            "asks for more than the connection's window holds, and never opens it",
            |target| async move {
                let each = target.baseline.body.max(1);
                let streams = u32::try_from(100_000 / each + 2).unwrap_or(u32::MAX);
                if streams > 90 {
                    return Outcome::unclear(
                        "the answers are too small to fill a window; name a larger one by --path",
                    );
                }
                let mut h2 = match H2::open_with(&target, &[(INITIAL_WINDOW_SIZE, 1 << 20)]).await {
                    Ok(h2) => h2,
                    Err(error) => return unreached(error),
                };
                h2.polite = false;
                let asked: Vec<u8> = (0..streams).flat_map(|number| get(&target, number * 2 + 1)).collect();
                h2.send(&target, asked).await;
                let ended = |h2: &H2| h2.streams.values().filter(|stream| stream.ended).count() as u64;
                let all = |h2: &H2| ended(h2) >= u64::from(streams);
                h2.pump_until(target.timeout(), |h2| h2.is_over() || h2.resets > 0 || all(h2)).await;
                if all(&h2) {
                    return Outcome::unclear("all was answered within the window");
                }
                let reset = h2.streams.values().find(|stream| stream.reset.is_some());
                let stream = reset.copied().unwrap_or_default();
                let took = h2.conn.opened.elapsed();
                if h2.goaway.is_some() {
                    h2.conn.drain(Instant::now() + target.patience()).await;
                }
                judge(&Held { goaway: h2.goaway, end: h2.conn.end, stream: Some(stream), took })
            },
        ),
    ]
}

/// Asks with a window of `first` bytes, and opens it by `drop` again and again.
async fn starve(target: &Target, first: u32, drop: u32) -> Outcome {
    if target.baseline.body == 0 {
        return Outcome::unclear("the answer has no body; name one that has by --path");
    }
    let mut h2 = match H2::open_with(target, &[(INITIAL_WINDOW_SIZE, first)]).await {
        Ok(h2) => h2,
        Err(error) => return unreached(error),
    };
    h2.polite = false;
    h2.send(target, get(target, 1)).await;
    let began = Instant::now();
    let deadline = began + target.timeout();
    let over = |h2: &H2| h2.is_over() || h2.stream(1).done();
    while Instant::now() < deadline && !over(&h2) {
        let left = deadline - Instant::now();
        h2.pump_until(if drop == 0 { left } else { left.min(DRIP) }, over).await;
        if drop > 0 && !over(&h2) {
            h2.send(target, window_update(1, drop)).await;
        }
    }
    let took = began.elapsed();
    let stream = h2.stream(1);
    if h2.goaway.is_some() {
        h2.conn.drain(Instant::now() + target.patience()).await;
    }
    starved(&Held { goaway: h2.goaway, end: h2.conn.end, stream: Some(stream), took })
}

/// As of any stream that was held; but an end in order says that the answer needed no window.
pub(super) fn starved(held: &Held) -> Outcome {
    match held.stream {
        Some(stream) if stream.ended && stream.data == 0 => {
            Outcome::unclear(format!("{} without a body", stream.status.unwrap_or(0)))
        }
        _ => judge(held),
    }
}
