//! The socket as hyper's HTTP/1 parser sees it: watched on the way in, timed on the way out.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::state::{ConnState, Order};
use super::super::transport::Transport;
use super::chunks::{ChunkWatch, MostlyFraming};
use super::fragment::FragmentWatch;

/// What the bytes that went by have told; shared with the service.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Fragments in request lines.
    pub fragments: FragmentWatch,
    /// Bytes of the head that is being read.
    pub head_bytes: usize,
    /// The request line of that head has ended.
    pub line_ended: bool,
    /// The body that is being read, where it comes in chunks.
    pub chunks: Option<ChunkWatch>,
    /// The parser's own answer to a head it could not read, which is not sent.
    pub withheld: Vec<u8>,
}

/// The first bytes of a parser's answer that are kept: they hold its status.
const WITHHELD: usize = 64;

/// An answer up to this size is copied together: that is cheaper than to have the system do it.
const AT_ONCE: usize = 1024;

/// All slices as one, if they fit.
fn gather<'a>(slices: &[io::IoSlice<'_>], room: &'a mut [u8; AT_ONCE]) -> Option<&'a [u8]> {
    let mut size = 0;
    for slice in slices {
        let end = size + slice.len();
        room.get_mut(size..end)?.copy_from_slice(slice);
        size = end;
    }
    room.get(..size)
}

/// A transport under watch. When it is dropped, the transport is left to who drives the connection.
#[derive(Debug)]
pub(crate) struct Http1Io<T> {
    inner: Option<T>,
    left: Left<T>,
    prefix: Bytes,
    state: Arc<ConnState>,
    seen: Arc<Mutex<Seen>>,
    max_line: usize,
    ended: bool,
}

/// Where a transport is left, and whether the client has closed its side.
pub(crate) type Left<T> = Arc<Mutex<Option<(T, bool)>>>;

impl<T> Drop for Http1Io<T> {
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
            *left = inner.map(|inner| (inner, self.ended));
        }
    }
}

impl<T: Transport> Http1Io<T> {
    /// Gives `prefix` to the parser before what the transport still has.
    pub(crate) fn new(
        inner: T,
        prefix: Bytes,
        state: Arc<ConnState>,
        seen: Arc<Mutex<Seen>>,
        max_line: usize,
    ) -> (Self, Left<T>) {
        let left = Left::default();
        let io = Self { inner: Some(inner), left: left.clone(), prefix, state, seen, max_line, ended: false };
        (io, left)
    }

    fn inner(&mut self) -> io::Result<Pin<&mut T>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn saw(&self, bytes: &[u8]) -> Result<(), MostlyFraming> {
        let idle = self.state.in_flight() == 0;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if idle {
            if seen.head_bytes == 0 {
                // An empty line before a request is no head yet (RFC 9112 section 2.2), and moves
                // no clock: a client that sends nothing else is idle.
                if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    return Ok(());
                }
                seen.fragments.begin();
            }
            self.state.head_begins();
        } else {
            self.state.read_ahead();
        }
        seen.fragments.feed(bytes, self.max_line);
        self.state.doubts(seen.fragments.is_doubtful());
        if idle {
            seen.head_bytes += bytes.len();
            seen.line_ended = seen.line_ended || memchr(b'\n', bytes).is_some();
            return Ok(());
        }
        seen.chunks.as_mut().map_or(Ok(()), |chunks| chunks.reads(bytes.len()))
    }

    /// Whether what the parser writes now is its own: no request is being served, and nothing of
    /// an earlier answer is left. Such an answer has no body to say what was wrong, so ours is
    /// sent in its place.
    fn withholds(&self) -> bool {
        self.state.in_flight() == 0 && !self.state.is_answering() && !self.state.is_upgraded()
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
    fn may_write(&self, cx: &Context<'_>) -> io::Result<()> {
        if !self.state.is_upgraded() {
            return Ok(());
        }
        self.state.register_writer(cx.waker());
        self.still_open()
    }

    fn withhold(&self, bytes: &[u8]) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WITHHELD.saturating_sub(seen.withheld.len()).min(bytes.len());
        seen.withheld.extend_from_slice(bytes.get(..room).unwrap_or_default());
        bytes.len()
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

impl<T: Transport> AsyncRead for Http1Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.prefix.has_remaining() {
            let size = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(size));
        } else {
            // An upgraded connection learns of the drain as if its client had gone.
            if self.state.is_upgraded() {
                self.state.register(cx.waker());
                self.still_open()?;
                if self.state.ordered(Order::GoAway) {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.inner()?.poll_read(cx, buf))?;
        }
        match buf.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => {
                // To the parser, an error in the body that it reads.
                self.saw(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            _ => self.ended = true,
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Http1Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        if self.withholds() {
            return Poll::Ready(Ok(self.withhold(bytes)));
        }
        let written = self.inner()?.poll_write(cx, bytes);
        self.account(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        if self.withholds() {
            return Poll::Ready(Ok(slices.iter().map(|slice| self.withhold(slice)).sum()));
        }
        let mut small = [0; AT_ONCE];
        let written = match gather(slices, &mut small) {
            Some(bytes) => self.inner()?.poll_write(cx, bytes),
            None => self.inner()?.poll_write_vectored(cx, slices),
        };
        self.account(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.inner()?.poll_flush(cx))?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's driver closes: it may still have to say why.
        if !self.state.is_upgraded() {
            return Poll::Ready(Ok(()));
        }
        self.inner()?.poll_shutdown(cx)
    }
}
