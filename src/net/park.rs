//! Waiting for a byte without a parser: a new connection, or one that has been idle for a moment.

use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::clock::Clock;
use super::connection::CLOSE_AFTER;
use super::context::{ConnectionLimits, Context};
use super::state::{ConnState, Order};
use super::transport::Transport;

/// Bytes read at once: most request heads whole. It lives on the stack, only while it is used.
const READ: usize = 2048;

/// Why the wait is over.
#[derive(Debug)]
pub(crate) enum Woken {
    /// A request begins.
    Bytes(Bytes),
    /// The client closed, or the socket failed.
    Closed,
    /// Nothing came for too long.
    Idle,
    /// The drain closes it: nothing has come for a moment, and nothing is on its way.
    CloseIdle,
    /// It is to go at once.
    Abort,
}

/// A wait for the first byte of a request. Not an `async fn`: what such a one is given it holds twice, and this
/// is most of what an idle connection holds. Nor has it a timer: see [`super::sweep`].
#[derive(Debug)]
pub(crate) struct Wait<'a, T> {
    transport: &'a mut T,
    state: &'a ConnState,
    limits: &'a ConnectionLimits,
}

pin_project! {
    /// A wait for the next bytes.
    #[derive(Debug)]
    pub(crate) struct Read<'a, T> {
        transport: &'a mut T,
        state: &'a ConnState,
        deadline: Instant,
        idle: bool,
        #[pin]
        clock: Clock,
    }
}

/// Waits for the first byte of a request.
pub(crate) fn wait<'a, T: Transport>(
    transport: &'a mut T,
    state: &'a ConnState,
    context: &'a Context,
) -> Wait<'a, T> {
    Wait { transport, state, limits: &context.limits }
}

/// Waits for bytes until `deadline`, or if the connection is `idle`, until a drain closes it.
pub(crate) fn read<'a, T: Transport>(
    transport: &'a mut T,
    state: &'a ConnState,
    deadline: Instant,
    idle: bool,
) -> Read<'a, T> {
    Read { transport, state, deadline, idle, clock: Clock::default() }
}

/// What has come. Asked before every reason to close: what is in the queue is served.
fn look<T: Transport>(transport: &mut T, state: &ConnState, cx: &mut TaskContext<'_>) -> Poll<Woken> {
    state.register(cx.waker());
    if state.ordered(Order::Abort) {
        return Poll::Ready(Woken::Abort);
    }
    let mut buffer = [MaybeUninit::uninit(); READ];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    match Pin::new(transport).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
            Poll::Ready(Woken::Bytes(Bytes::copy_from_slice(buffer.filled())))
        }
        Poll::Ready(_) => Poll::Ready(Woken::Closed),
        Poll::Pending if state.is_to_leave() => Poll::Ready(Woken::Abort),
        Poll::Pending => Poll::Pending,
    }
}

/// Until when an idle connection is waited for, and what it is then.
fn patience(state: &ConnState, deadline: Instant) -> (Instant, Woken) {
    match state.closes_after(CLOSE_AFTER) {
        Some(close) => (deadline.min(close), Woken::CloseIdle),
        None => (deadline, Woken::Idle),
    }
}

/// When a request has begun of which nothing can be seen yet.
fn begun<T: Transport>(transport: &T, state: &ConnState) -> Option<Instant> {
    if !T::HOLDS_PARTS {
        return None;
    }
    match transport.holds_part() {
        true => state.head_begins(),
        // It was no part of one.
        false => state.head_ends(),
    }
    state.head_since()
}

impl<T: Transport> Future for Wait<'_, T> {
    type Output = Woken;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Woken> {
        let Self { transport, state, limits } = &mut *self;
        if let Poll::Ready(woken) = look(*transport, state, cx) {
            return Poll::Ready(woken);
        }
        let (at, woken) = match begun(*transport, state) {
            Some(since) => (since + limits.headers_timeout, Woken::Idle),
            None => patience(state, state.idle_since() + limits.patience(state.requests())),
        };
        if Instant::now() < at {
            state.wake_at(at);
            return Poll::Pending;
        }
        if transport.has_input() {
            // It came while this was on its way to being closed, and the next look sees it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(woken)
    }
}

impl<T: Transport> Future for Read<'_, T> {
    type Output = Woken;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Woken> {
        let this = self.project();
        if let Poll::Ready(woken) = look(&mut **this.transport, this.state, cx) {
            return Poll::Ready(woken);
        }
        let (at, woken) = match *this.idle {
            true => patience(this.state, *this.deadline),
            false => (*this.deadline, Woken::Idle),
        };
        ready!(this.clock.wait_until(at, cx));
        if *this.idle && this.transport.has_input() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(woken)
    }
}
