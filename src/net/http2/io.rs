//! The socket as h2 sees it: frames counted on the way in, followed on the way out.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::state::ConnState;
use super::super::transport::Transport;
use super::frames::{ACK, END_STREAM, FrameHead, FrameReader, kind};

/// The client's connection preface (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the wire has told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The client sends more than it has use for.
    pub abusive: AtomicBool,
    /// The first frame was not the SETTINGS that complete the preface (RFC 9113 section 3.4). h2
    /// takes any frame there.
    pub ungreeted: AtomicBool,
    /// Highest stream the client opened.
    pub last_stream: AtomicU32,
    /// What was written ends with a whole frame.
    pub at_boundary: AtomicBool,
}

/// Frames that cost the server something and the client next to nothing: PING, SETTINGS,
/// PRIORITY, RST_STREAM, WINDOW_UPDATE, empty DATA and whatever is unknown. A client earns them
/// by requests, content and time.
#[derive(Debug)]
struct Allowance {
    left: f64,
    since: Instant,
}

const ALLOWANCE: f64 = 1000.0;
/// What content may bring it up to: a client may give back the windows of many small frames all at once.
const FOR_CONTENT: f64 = 4000.0;
const PER_SECOND: f64 = 50.0;
const PER_REQUEST: f64 = 10.0;
const PER_DATA_FRAME: f64 = 3.0;
/// Bytes of content that are worth a frame: a window that opens by a byte does not pay for itself.
const WORTH: usize = 16;

impl Allowance {
    fn earn(&mut self, amount: f64, most: f64) {
        if self.left < most {
            self.left = (self.left + amount).min(most);
        }
    }

    fn spend(&mut self) -> bool {
        self.left -= 1.0;
        if self.left >= 0.0 {
            return true;
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.earn(elapsed * PER_SECOND, ALLOWANCE);
        self.left >= 0.0
    }
}

/// A transport under watch. When it is dropped, the transport is left in its slot.
#[derive(Debug)]
pub(crate) struct Http2Io<T> {
    inner: Option<T>,
    slot: Arc<Mutex<Option<T>>>,
    prefix: Bytes,
    preface: usize,
    state: Arc<ConnState>,
    ledger: Arc<Ledger>,
    reads: FrameReader,
    writes: FrameReader,
    allowance: Allowance,
    max_block: usize,
    max_cancelled: u64,
    resets: u64,
    /// Answers whose end is on its way to the client.
    completed: u64,
}

impl<T: Transport> Http2Io<T> {
    /// Gives `prefix` to the parser before what the transport still has.
    pub(crate) fn new(
        inner: T,
        prefix: Bytes,
        state: Arc<ConnState>,
        ledger: Arc<Ledger>,
        max_block: usize,
        max_cancelled: u64,
    ) -> (Self, Arc<Mutex<Option<T>>>) {
        let slot = Arc::default();
        ledger.at_boundary.store(true, Ordering::Relaxed);
        let io = Self {
            inner: Some(inner),
            slot: Arc::clone(&slot),
            prefix,
            preface: PREFACE.len(),
            state,
            ledger,
            reads: FrameReader::default(),
            writes: FrameReader::default(),
            allowance: Allowance { left: ALLOWANCE, since: Instant::now() },
            max_block,
            max_cancelled,
            resets: 0,
            completed: 0,
        };
        (io, slot)
    }

    fn inner(&mut self) -> io::Result<Pin<&mut T>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn saw(&mut self, bytes: &[u8]) {
        let skip = self.preface.min(bytes.len());
        self.preface -= skip;
        let Self { reads, allowance, ledger, resets, .. } = self;
        let mut calm = true;
        let mut first = !reads.any;
        reads.feed(bytes.get(skip..).unwrap_or_default(), |frame| match frame {
            _ if std::mem::take(&mut first) && !greets(frame) => {
                ledger.ungreeted.store(true, Ordering::Release);
            }
            FrameHead { kind: kind::HEADERS, stream, .. } => {
                ledger.last_stream.fetch_max(stream, Ordering::Relaxed);
                allowance.earn(PER_REQUEST, ALLOWANCE);
            }
            FrameHead { kind: kind::DATA, length: 1.., .. } => allowance.earn(PER_DATA_FRAME, FOR_CONTENT),
            FrameHead { kind, .. } => {
                *resets += u64::from(kind == kind::RST_STREAM);
                calm &= allowance.spend();
            }
        });
        // A client may give up what it asked for, but not most of it, for ever.
        let too_many_resets = self.resets > self.max_cancelled.saturating_add(self.completed);
        if !calm || too_many_resets || self.reads.block_size > self.max_block {
            self.ledger.abusive.store(true, Ordering::Release);
        }
        // The preface is not whole without the client's SETTINGS.
        if self.preface > 0 || !self.reads.any || self.reads.mid_head() {
            self.state.head_begins();
        } else {
            self.state.head_ends();
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let Self { writes, allowance, completed, .. } = self;
        writes.feed(bytes, |frame| {
            let ends = matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.flags & END_STREAM != 0;
            *completed += u64::from(ends);
            if frame.kind == kind::DATA && frame.length >= WORTH {
                allowance.earn(PER_DATA_FRAME, FOR_CONTENT);
            }
        });
        self.ledger.at_boundary.store(self.writes.at_boundary(), Ordering::Relaxed);
    }

    fn account(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.state.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.blocked(),
        }
    }
}

/// Whether this is the frame that a client begins with.
fn greets(frame: FrameHead) -> bool {
    frame.kind == kind::SETTINGS && frame.flags & ACK == 0
}

impl<T> Drop for Http2Io<T> {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
    }
}

impl<T: Transport> AsyncRead for Http2Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // SECURITY: what an abusive client goes on to send is not looked at.
        if self.ledger.abusive.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if self.prefix.has_remaining() {
            let size = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(size));
        } else {
            ready!(self.inner()?.poll_read(cx, buf))?;
        }
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.saw(bytes);
        }
        if self.ledger.ungreeted.load(Ordering::Acquire) {
            // Nothing of it is answered: the driver looks as soon as the parser waits.
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Http2Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.inner()?.poll_write(cx, bytes);
        self.account(&written);
        if let Poll::Ready(Ok(count)) = written {
            self.wrote(bytes.get(..count).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.inner()?.poll_write_vectored(cx, slices);
        self.account(&written);
        if let Poll::Ready(Ok(mut left)) = written {
            for slice in slices {
                let part = left.min(slice.len());
                self.wrote(slice.get(..part).unwrap_or_default());
                left -= part;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.inner()?.poll_flush(cx))?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's driver closes: it may still have to say why.
        Poll::Ready(Ok(()))
    }
}
