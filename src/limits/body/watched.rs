//! A request body under watch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::{BodyLimitsLayer, Verdict};
use crate::body::BoxError;
use crate::deadline::Deadline;
use crate::exchange::Exchange;
use crate::memory::BUFFERED;
use crate::pace::Pace;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Came, Watch};

/// Counts the bytes that go by and times the pauses between them.
///
/// Only time in which the handler waits for the client is counted: a handler that reads
/// slowly makes no client slow. A body whose bytes are there when asked for costs no clock.
#[derive(Debug)]
pub(super) struct BodyWatch {
    limits: BodyLimitsLayer,
    verdict: Verdict,
    exchange: Option<Arc<Exchange>>,
    size: u64,
    /// What its connection's buffers, which are charged with it, still hold of it.
    buffered: u64,
    pace: Option<Pace>,
    pause: Option<Pause>,
    /// Of this pause, or the last.
    clock: Option<Pin<Box<Deadline>>>,
}

/// The handler is waiting for the client.
#[derive(Debug)]
struct Pause {
    since: Instant,
    reason: Reason,
}

/// What a piece of a body may take beside its bytes, in the hands of who collects them: a chunk or
/// frame may hold as little as one.
pub(super) const PIECE: u64 = 128;

impl BodyWatch {
    pub(super) fn new(limits: BodyLimitsLayer, verdict: Verdict, exchange: Option<Arc<Exchange>>) -> Self {
        let pace = limits.min_rate.map(|rate| Pace::new(rate, 0));
        Self { limits, verdict, exchange, size: 0, buffered: BUFFERED, pace, pause: None, clock: None }
    }

    /// Ends the body with a refusal.
    fn refuse(&self, refusal: Refusal) -> BoxError {
        // An HTTP/1 connection whose body is not read to its end cannot carry another request.
        if let Some(exchange) = &self.exchange {
            exchange.close_after();
        }
        self.verdict.set(refusal.clone());
        refusal.into()
    }

    fn arrived(&mut self, bytes: u64) -> Result<(), BoxError> {
        self.size += bytes;
        if let Some(exchange) = &self.exchange {
            exchange.add_bytes_in(bytes);
        }
        if self.size > self.limits.max_size {
            return Err(self.refuse(self.limits.too_large()));
        }
        if let Some(pace) = &mut self.pace {
            pace.moved(bytes);
        }
        // SECURITY: allocators round up, buffers are not quite full, and what is freed between pieces is often of
        // no use for the next: under thousands of uploads that come and go a fifth more is resident than
        // is held of everything, and all of that is put on the bodies.
        let held = bytes + bytes / 2 + PIECE;
        let paid = held.min(self.buffered);
        self.buffered -= paid;
        if held == paid {
            return Ok(());
        }
        self.verdict.charge(held - paid).map_err(|refusal| self.refuse(refusal))
    }

    fn body_ends(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.body_ends();
        }
    }

    fn pause_ends(&mut self) {
        if let (Some(pause), Some(pace)) = (self.pause.take(), &mut self.pace) {
            pace.waited(pause.since.elapsed());
        }
    }

    fn begin_pause(&mut self) -> Reason {
        let gap = self.limits.timeout;
        let since = Instant::now();
        let slow = self.pace.and_then(|pace| pace.ends(since)).filter(|slow| *slow < since + gap);
        let reason = if slow.is_some() { Reason::BodyTooSlow } else { Reason::BodyTimeout };
        let due = slow.unwrap_or(since + gap);
        match &mut self.clock {
            None => self.clock = Some(Box::pin(Deadline::at(due))),
            // SECURITY: a byte that comes while the clock is looked at again, and leaves it overdue, does not
            // put it off.
            Some(clock) if due <= since && clock.is_overdue() => {}
            Some(clock) => clock.as_mut().reset(due),
        }
        self.pause = Some(Pause { since, reason });
        reason
    }

    /// Waits on, unless the client's time is up.
    fn pause(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        let reason = match &self.pause {
            Some(pause) => pause.reason,
            None => self.begin_pause(),
        };
        let clock = self.clock.as_mut();
        if clock.is_none_or(|clock| clock.as_mut().poll(cx).is_pending()) {
            return Poll::Pending;
        }
        let refusal = match reason {
            Reason::BodyTooSlow => {
                let rate = self.limits.min_rate.map_or(0, |rate| rate.bytes_per_second);
                Refusal::new(Reason::BodyTooSlow, format!("the request body comes slower than {rate} B/s"))
                    .limit("limits.min_body_rate")
            }
            _ => {
                let gap = self.limits.timeout.as_millis();
                Refusal::new(Reason::BodyTimeout, format!("no byte of the request body came for {gap} ms"))
                    .limit("limits.body_timeout")
            }
        };
        Poll::Ready(self.refuse(refusal))
    }
}

impl Watch for BodyWatch {
    fn found(&self) -> Option<BoxError> {
        self.verdict.get().map(|refusal| refusal.clone().into())
    }

    fn came(&mut self, came: Poll<Came>, is_last: bool, cx: &mut Context<'_>) -> Poll<Came> {
        match came {
            Poll::Pending => self.pause(cx).map(|error| Some(Err(error))),
            Poll::Ready(None) => {
                self.pause_ends();
                self.body_ends();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.pause_ends();
                if is_last {
                    self.body_ends();
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(seen) = self.exchange.as_ref().and_then(|exchange| exchange.seen.as_ref())
                    && let Some(data) = frame.data_ref()
                {
                    seen.body_came(data);
                }
                if self.limits.memory.is_none() {
                    return Poll::Ready(Some(self.arrived(bytes).map(|()| frame)));
                }
                // SECURITY: a piece is a part of what it was read into, and holds all of that: a body that
                // comes byte by byte would hold a read buffer for each. What is charged is what is held.
                let alone = |data: Bytes| Bytes::copy_from_slice(&data);
                Poll::Ready(Some(self.arrived(bytes).map(|()| frame.map_data(alone))))
            }
            Poll::Ready(Some(Err(error))) => {
                if is_cancelled(&*error) {
                    // The client took its request back: nobody is left to be refused.
                    return Poll::Ready(Some(Err(error)));
                }
                // What the parser found is told to nobody: it would reflect the input.
                let refusal = Refusal::new(
                    Reason::MalformedRequest,
                    "the request body is malformed, is mostly framing, or ended before its end",
                );
                Poll::Ready(Some(Err(self.refuse(refusal))))
            }
        }
    }
}

/// Whether the client reset the HTTP/2 stream (RFC 9113 section 8.4.2 allows it at any time).
fn is_cancelled(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(link) = error {
        if let Some(h2) = link.downcast_ref::<h2::Error>() {
            return h2.is_reset() && h2.is_remote();
        }
        error = link.source();
    }
    false
}
