//! Waiting for a byte without a parser: a new connection, or one that has been idle for a moment.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::clock::Clock;
use super::connection::CLOSE_AFTER;
use super::context::Context;
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

/// Waits for the first byte of a request.
pub(crate) async fn wait<T: Transport>(transport: &mut T, state: &ConnState, context: &Context) -> Woken {
    let limits = &context.limits;
    read(transport, state, state.idle_since() + limits.patience(state.requests()), true).await
}

/// Waits for bytes until `deadline`, or if the connection is `idle`, until a drain closes it.
pub(crate) async fn read<T: Transport>(
    transport: &mut T,
    state: &ConnState,
    deadline: Instant,
    idle: bool,
) -> Woken {
    let mut clock = pin!(Clock::default());
    poll_fn(|cx| {
        state.register(cx.waker());
        if state.ordered(Order::Abort) {
            return Poll::Ready(Woken::Abort);
        }
        // Reading comes before every reason to close: what is in the queue is served.
        let mut buffer = [0; READ];
        let mut buffer = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *transport).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                return Poll::Ready(Woken::Bytes(Bytes::copy_from_slice(buffer.filled())));
            }
            Poll::Ready(_) => return Poll::Ready(Woken::Closed),
            Poll::Pending => {}
        }
        let (at, woken) = match state.closes_after(CLOSE_AFTER).filter(|_| idle) {
            Some(close) => (deadline.min(close), Woken::CloseIdle),
            None => (deadline, Woken::Idle),
        };
        ready!(clock.as_mut().wait_until(at, cx));
        if idle && transport.has_input() {
            // It came while this was on its way to being closed, and the next look sees it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(woken)
    })
    .await
}
