//! A stream in memory, of which the far end does as its script says.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handler::proxy::io::Memory;
use crate::net::transport::Transport;

/// The end that the product holds.
#[derive(Debug)]
pub(super) struct Near(Arc<Mutex<Pipe>>);

/// The end that the script holds.
#[derive(Debug, Clone)]
pub(super) struct Far(Arc<Mutex<Pipe>>);

#[derive(Debug)]
struct Pipe {
    /// On its way to the product, from `read` on.
    incoming: Vec<u8>,
    read: usize,
    /// No more follows.
    ended: bool,
    /// The connection is broken, both ways.
    broken: bool,
    /// What the product has written.
    outgoing: Vec<u8>,
    /// Bytes that it may still write before it has to wait.
    room: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The product is to end this by a reset.
    reset: bool,
    /// The product has closed its side.
    shut: bool,
}

/// A connection on which at most so many bytes are sent, and kept of what comes back.
pub(super) fn pipe(sent: usize, answered: usize) -> (Near, Far) {
    let pipe = Pipe {
        incoming: Vec::with_capacity(sent),
        read: 0,
        ended: false,
        broken: false,
        outgoing: Vec::with_capacity(answered),
        room: usize::MAX,
        reader: None,
        writer: None,
        reset: false,
        shut: false,
    };
    let pipe = Arc::new(Mutex::new(pipe));
    (Near(pipe.clone()), Far(pipe))
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Far {
    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap()
    }

    /// Sends, as long as the connection is open.
    pub(super) fn send(&self, bytes: &[u8]) {
        let mut pipe = self.lock();
        if !pipe.ended && !pipe.broken {
            pipe.incoming.extend_from_slice(bytes);
            pipe.wake();
        }
    }

    /// Sends no more.
    pub(super) fn end(&self) {
        let mut pipe = self.lock();
        pipe.ended = true;
        pipe.wake();
    }

    /// Breaks the connection, both ways.
    pub(super) fn fail(&self) {
        let mut pipe = self.lock();
        pipe.broken = true;
        pipe.wake();
    }

    /// Takes so many bytes more of what comes, and then none.
    pub(super) fn take(&self, room: usize) {
        let mut pipe = self.lock();
        pipe.room = room;
        pipe.wake();
    }

    /// Bytes that were sent, and how many of them the product has read.
    pub(super) fn sent(&self) -> (usize, usize) {
        let pipe = self.lock();
        (pipe.incoming.len(), pipe.read)
    }

    /// All that was sent.
    pub(super) fn all_sent(&self) -> Vec<u8> {
        self.lock().incoming.clone()
    }

    /// All that came back.
    pub(super) fn answered(&self) -> Vec<u8> {
        self.lock().outgoing.clone()
    }

    /// How much of it there is.
    pub(super) fn answered_len(&self) -> usize {
        self.lock().outgoing.len()
    }

    /// Whether the product gave it up by a reset.
    pub(super) fn was_reset(&self) -> bool {
        self.lock().reset
    }
}

impl AsyncRead for Near {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.0.lock().unwrap();
        let rest = &pipe.incoming[pipe.read..];
        let take = rest.len().min(buf.remaining());
        if take > 0 {
            buf.put_slice(&rest[..take]);
            pipe.read += take;
            return Poll::Ready(Ok(()));
        }
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Near {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock().unwrap();
        assert!(!pipe.shut, "written after the end");
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let take = bytes.len().min(pipe.room);
        if take == 0 && !bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.room -= take;
        pipe.outgoing.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Transport for Near {
    fn reset_on_drop(&self) {
        self.0.lock().unwrap().reset = true;
    }

    fn has_input(&self) -> bool {
        !Memory::is_quiet(self)
    }
}

impl Memory for Near {
    fn is_quiet(&self) -> bool {
        let pipe = self.0.lock().unwrap();
        pipe.read == pipe.incoming.len() && !pipe.ended && !pipe.broken
    }
}
