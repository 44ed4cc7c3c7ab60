//! Driving one HTTP/1 connection until it is idle or over.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::Instant;

use super::conn::{Conn, Event};
use super::upgrade;
use crate::net::clock::Clock;
use crate::net::connection::PARK_AFTER;
use crate::net::context::Context;
use crate::net::send_watch::SendWatch;
use crate::net::service::Stack;
use crate::net::state::{ConnState, Order};
use crate::net::transport::Transport;
use crate::refusal::{Reason, Refusal};

/// How it ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// Idle, with nothing read ahead: the transport can wait alone.
    Idle(T),
    /// A part of a head was read; its clock runs from when it came.
    Resume(T, Bytes),
    /// Refused without a request, of which these bytes came; the refusal has not been sent yet.
    Refused(T, Refusal, Bytes),
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
pub(super) enum Due {
    Park,
    HeadersTimeout,
    SlowReader,
}

/// What ended the loop.
enum Left {
    Event(Event),
    Due(Due),
    Abort,
}

/// The earliest deadline of a connection in this state, and what it means.
pub(super) fn deadline(
    state: &ConnState,
    context: &Context,
    sends: &mut SendWatch,
) -> Option<(Instant, Due)> {
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
        // Buffers are kept for the next request; not where others have more need of their memory.
        None if context.memory.scarce_by() > 0 => (state.idle_since(), Due::Park),
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
    let mut transport = transport;
    let mut sends = SendWatch::of_socket(context.limits.send);
    let mut clock = pin!(Clock::default());
    let (left, unread, ended) = {
        let mut conn = pin!(Conn::new(&mut transport, prefix, state, context, stack.clone()));
        let left = poll_fn(|cx| {
            state.stay_registered(cx.waker());
            if state.ordered(Order::Abort) {
                return Poll::Ready(Left::Abort);
            }
            if let Poll::Ready(event) = conn.as_mut().poll(cx) {
                return Poll::Ready(Left::Event(event));
            }
            if state.is_to_leave() {
                return Poll::Ready(Left::Abort);
            }
            let Some((at, due)) = deadline(state, context, &mut sends) else { return Poll::Pending };
            if due == Due::Park && at == state.idle_since() {
                return Poll::Ready(Left::Due(due));
            }
            // Mostly the timer is armed for earlier already, and the clock is not even read.
            if clock.as_mut().covers(at) {
                return Poll::Pending;
            }
            clock.as_mut().wait_until(at, cx).map(|()| Left::Due(due))
        })
        .await;
        let (unread, ended) = conn.as_mut().rest();
        (left, unread, ended)
    };
    match left {
        Left::Abort | Left::Event(Event::Failed) => {
            transport.is_cut_off();
            End::Closed
        }
        Left::Due(Due::SlowReader) => End::Stalled(transport),
        Left::Due(Due::HeadersTimeout) => End::Refused(transport, headers_timeout(context), unread),
        Left::Due(Due::Park) => End::Idle(transport),
        Left::Event(Event::Partial) => End::Resume(transport, unread),
        Left::Event(Event::Refused(refusal)) => End::Refused(transport, refusal, unread),
        Left::Event(Event::Wish(wish)) => {
            upgrade::drive(transport, unread, wish, state, context, stack).await
        }
        Left::Event(Event::BrokenOff { unframed: true }) => {
            // An orderly end would make half an answer a whole one.
            transport.reset_on_drop();
            End::Closed
        }
        Left::Event(Event::Over | Event::BrokenOff { unframed: false }) if ended && !state.body_left() => {
            End::Closed
        }
        Left::Event(Event::Over | Event::BrokenOff { unframed: false }) => End::Linger(transport),
    }
}

/// The refusal of a head that took too long.
pub(crate) fn headers_timeout(context: &Context) -> Refusal {
    let timeout = context.limits.headers_timeout.as_millis();
    Refusal::new(Reason::HeadersTimeout, format!("the request head was not whole within {timeout} ms"))
        .limit("limits.headers_timeout")
}
