//! A request that wishes for another protocol, through hyper: handlers are handed the socket by its
//! `OnUpgrade`, and axum's WebSockets know no other.
//!
//! Its head has been read and found whole, and it has no body. hyper is given that head and nothing else. What
//! follows belongs to the other protocol, or, where the wish is not granted, to the next request.

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::driver::{Due, End, deadline};
use crate::net::clock::Clock;
use crate::net::connection::http1_builder;
use crate::net::context::Context;
use crate::net::send_watch::SendWatch;
use crate::net::service::{ConnService, Stack, Wire};
use crate::net::state::{ConnState, Order};
use crate::net::transport::Transport;

/// Serves that request: the first `length` bytes of `unread`.
pub(super) async fn drive<T: Transport, S: Stack>(
    transport: T,
    mut unread: Bytes,
    wish: Wish,
    state: &Arc<ConnState>,
    context: &Arc<Context>,
    stack: S,
) -> End<T> {
    let head = unread.split_to(wish.length.min(unread.len()));
    if !unread.is_empty() {
        state.read_ahead();
    }
    let (io, left) = Handed::new(transport, head, unread.clone(), state.clone());
    let wire = Wire::Http1 { fragment: wish.fragment };
    let service = ConnService::new(stack, state.clone(), context.clone(), wire);
    let builder = http1_builder(&context.limits);
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut sends = SendWatch::of_socket(context.limits.send);
    let mut clock = pin!(Clock::default());
    let before = state.requests();
    let how = poll_fn(|cx| {
        state.stay_registered(cx.waker());
        if state.ordered(Order::Abort) {
            return Poll::Ready(How::Aborted);
        }
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(How::Over);
        }
        if state.is_to_leave() {
            return Poll::Ready(How::Aborted);
        }
        let is_answered = state.requests() > before && state.in_flight() == 0 && !state.is_answering();
        if is_answered && !state.is_upgraded() {
            return Poll::Ready(How::Kept);
        }
        let due = deadline(state, context, &mut sends).filter(|(_, due)| *due == Due::SlowReader);
        match due {
            Some((at, _)) => clock.as_mut().wait_until(at, cx).map(|()| How::Stalled),
            None => Poll::Pending,
        }
    })
    .await;
    drop(connection);
    // Whoever else has the socket now was answered that there is no change of protocol.
    let Some(transport) = left.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return if state.is_upgraded() { End::Upgraded } else { End::Closed };
    };
    match how {
        How::Aborted => End::Closed,
        How::Stalled => End::Stalled(transport),
        How::Kept => {
            // An empty line is no head.
            if unread.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                state.head_began_with_last_read();
            }
            End::Resume(transport, unread)
        }
        How::Over => End::Linger(transport),
    }
}

/// What is known of that request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// Bytes of its head.
    pub(super) length: usize,
    /// Its target has a fragment.
    pub(super) fragment: bool,
}

/// How it ended.
enum How {
    Aborted,
    Stalled,
    /// The wish was not granted, and another request may follow.
    Kept,
    Over,
}

/// A transport that hyper has for a while. When it is dropped, the transport is left to who drives the
/// connection.
#[derive(Debug)]
struct Handed<T> {
    inner: Option<T>,
    left: Left<T>,
    /// The request.
    head: Bytes,
    /// What came behind it.
    behind: Bytes,
    state: Arc<ConnState>,
}

/// Where a transport is left.
type Left<T> = Arc<Mutex<Option<T>>>;

impl<T> Drop for Handed<T> {
    /// Leaves the transport to the connection's driver, whoever drops it: hyper takes every request
    /// that wished for another protocol for one that may yet get it, and lets go of its socket in the
    /// end. An upgraded one is closed, and the driver told so.
    fn drop(&mut self) {
        let inner = self.inner.take();
        if self.state.is_upgraded() {
            drop(inner);
            self.state.leave();
        } else {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = inner;
        }
    }
}

impl<T: Transport> Handed<T> {
    fn new(inner: T, head: Bytes, behind: Bytes, state: Arc<ConnState>) -> (Self, Left<T>) {
        let left = Left::default();
        (Self { inner: Some(inner), left: left.clone(), head, behind, state }, left)
    }

    fn inner(&mut self) -> io::Result<Pin<&mut T>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// An upgraded socket that was ordered to end fails whoever uses it, and is reset.
    fn still_open(&self) -> io::Result<()> {
        if !self.state.ordered(Order::Abort) {
            return Ok(());
        }
        self.inner.iter().for_each(T::reset_on_drop);
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// The same for the side that writes, which may be waiting for a client that does not read.
    fn may_write(&self, cx: &TaskContext<'_>) -> io::Result<()> {
        if !self.state.is_upgraded() {
            return Ok(());
        }
        self.state.register_writer(cx.waker());
        self.still_open()
    }

    fn account(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.state.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.blocked(),
        }
        written
    }
}

impl<T: Transport> AsyncRead for Handed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            let size = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head.split_to(size));
            return Poll::Ready(Ok(()));
        }
        self.state.register(cx.waker());
        if !self.state.is_upgraded() {
            // Nothing else is for hyper to read.
            return Poll::Pending;
        }
        self.still_open()?;
        // An upgraded connection learns of the drain as if its client had gone.
        if self.state.ordered(Order::GoAway) {
            return Poll::Ready(Ok(()));
        }
        if !self.behind.is_empty() {
            let size = self.behind.len().min(buf.remaining());
            buf.put_slice(&self.behind.split_to(size));
            return Poll::Ready(Ok(()));
        }
        self.inner()?.poll_read(cx, buf)
    }
}

impl<T: Transport> AsyncWrite for Handed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        let written = self.inner()?.poll_write(cx, bytes);
        self.account(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        let written = self.inner()?.poll_write_vectored(cx, slices);
        self.account(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let flushed = self.inner()?.poll_flush(cx);
        if flushed.is_pending() {
            self.state.blocked();
        }
        ready!(flushed)?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        // The connection's driver closes: it may still have to say why.
        if !self.state.is_upgraded() {
            return Poll::Ready(Ok(()));
        }
        self.inner()?.poll_shutdown(cx)
    }
}
