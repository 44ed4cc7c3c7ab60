//! Driving one HTTP/1 connection until it is idle or over.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::io::{Http1Io, Seen};
use crate::net::clock::Clock;
use crate::net::connection::{PARK_AFTER, PARK_SOON, http1_builder};
use crate::net::context::Context;
use crate::net::send_watch::SendWatch;
use crate::net::service::{ConnService, Stack, Wire};
use crate::net::state::{ConnState, Order};
use crate::net::transport::Transport;
use crate::refusal::{Reason, Refusal};

/// How it ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// Idle, with nothing read ahead: the transport can wait alone.
    Idle(T),
    /// Half a head was read ahead with the last request; its clock runs from when it came.
    Resume(T, Bytes),
    /// Refused without a request; the refusal has not been sent yet.
    Refused(T, Refusal),
    /// Over; the client may still be sending.
    Linger(T),
    /// Over, and the client has closed its side.
    Closed,
    /// The client does not read.
    Stalled(T),
    /// Left HTTP: the socket belongs to a handler now.
    Upgraded,
}

/// What a clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Park,
    HeadersTimeout,
    SlowReader,
}

/// What ended the loop.
enum Event {
    Done(Result<(), hyper::Error>),
    Due(Due),
    Abort,
}

/// The earliest deadline of a connection in this state, and what it means.
fn deadline(state: &ConnState, context: &Context, sends: &mut SendWatch) -> Option<(Instant, Due)> {
    if let Some(since) = state.blocked_since() {
        let (waited, sent) = state.sent();
        sends.hold_to(state.send_limits().unwrap_or(context.limits.send));
        return Some((sends.deadline(Instant::now(), since, waited, sent), Due::SlowReader));
    }
    if state.in_flight() > 0 || state.is_upgraded() {
        // The request's own clocks run.
        return None;
    }
    Some(match state.head_since() {
        Some(since) => (since + context.limits.headers_timeout, Due::HeadersTimeout),
        // A parser is kept for the next request; not for long, where others have more need of its memory.
        None if context.memory.scarce_by() > 0 => (state.idle_since() + PARK_SOON, Due::Park),
        None => (state.idle_since() + PARK_AFTER, Due::Park),
    })
}

/// Serves requests until nothing is left to do, or a clock runs out.
pub(crate) async fn drive<T: Transport, S: Stack>(
    transport: T,
    prefix: Bytes,
    state: &Arc<ConnState>,
    context: &Arc<Context>,
    stack: S,
) -> End<T> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let max_line = context.limits.max_line();
    let (io, left) = Http1Io::new(transport, prefix, state.clone(), seen.clone(), max_line);
    let service = ConnService::new(stack, state.clone(), context.clone(), Wire::Http1(seen.clone()));
    let mut connection = http1_builder(&context.limits, state.probe_only().is_some())
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut sends = SendWatch::of_socket(context.limits.send);
    let mut clock = pin!(Clock::default());

    let event = poll_fn(|cx| {
        state.turn();
        state.stay_registered(cx.waker());
        if state.ordered(Order::Abort) {
            return Poll::Ready(Event::Abort);
        }
        let before = (state.requests(), state.in_flight());
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Event::Done(result));
        }
        let Some((at, due)) = deadline(state, context, &mut sends) else { return Poll::Pending };
        // Mostly the timer is armed for earlier already, and the clock is not even read.
        if clock.as_mut().covers(at) {
            return Poll::Pending;
        }
        ready!(clock.as_mut().wait_until(at, cx));
        // SECURITY: a parser that has just answered may be about to close, with the rest of a body still
        // to come, which must not be read as a request. It says so when it is asked again.
        if due == Due::Park && before != (state.requests(), 0) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Event::Due(due))
    })
    .await;

    let read_ahead = connection.into_parts().map(|parts| parts.read_buf).unwrap_or_default();
    let left = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Whoever else has the socket now was answered that there is no change of protocol.
    let Some((transport, ended)) = left else {
        return if state.is_upgraded() { End::Upgraded } else { End::Closed };
    };
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Abort => End::Closed,
        Event::Due(Due::SlowReader) => End::Stalled(transport),
        Event::Due(Due::HeadersTimeout) => End::Refused(transport, headers_timeout(context)),
        Event::Due(Due::Park) => {
            let blank = read_ahead.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let rest = read_ahead.slice(blank..);
            if rest.is_empty() { End::Idle(transport) } else { End::Resume(transport, rest) }
        }
        Event::Done(Err(_)) if state.is_broken_off() => {
            transport.reset_on_drop();
            End::Closed
        }
        Event::Done(Err(error)) => match refusal(&error, &seen, context) {
            Some(refusal) => End::Refused(transport, refusal),
            None if ended => End::Closed,
            None => End::Linger(transport),
        },
        Event::Done(Ok(())) if ended && !state.body_left() => End::Closed,
        Event::Done(Ok(())) => End::Linger(transport),
    }
}

/// The refusal of a head that took too long.
pub(crate) fn headers_timeout(context: &Context) -> Refusal {
    let timeout = context.limits.headers_timeout.as_millis();
    Refusal::new(Reason::HeadersTimeout, format!("the request head was not whole within {timeout} ms"))
        .limit("limits.headers_timeout")
}

/// What the parser could not read, in our words. `None` where there is nobody left to tell.
fn refusal(error: &hyper::Error, seen: &Seen, context: &Context) -> Option<Refusal> {
    if !error.is_parse() {
        return None;
    }
    // The parser names its reason only in its own answer's status and its error's text.
    let status = seen.withheld.get(9..12).unwrap_or(b"400");
    let head = &context.limits.head;
    if status == b"414" || (status == b"431" && !seen.line_ended) {
        return Some(head.url_too_long.clone());
    }
    if status == b"431" {
        let many = seen.head_bytes <= head.fields_size;
        return Some(if many { head.too_many_fields.clone() } else { head.fields_too_large.clone() });
    }
    let text = error.to_string();
    if text.contains("content-length") || text.contains("transfer-encoding") {
        let detail = "the request's length can be read in more than one way";
        return Some(Refusal::new(Reason::AmbiguousFraming, detail));
    }
    Some(Refusal::new(Reason::MalformedRequest, "the request head is not HTTP/1.1"))
}
