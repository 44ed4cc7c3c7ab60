//! The socket to an upstream.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::{Secured, Tls};

/// A socket to an upstream.
#[derive(Debug)]
pub(super) enum Socket {
    /// One of the system's.
    Tcp(TcpStream),
    /// One of the system's, within TLS.
    Tls(Box<Tls>),
    /// One in memory.
    #[cfg(any(test, fuzzing))]
    Memory(Box<dyn Memory>),
}

/// A stream in memory in a socket's place.
#[cfg(any(test, fuzzing))]
pub(crate) trait Memory: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {
    /// See [`Socket::is_quiet`].
    fn is_quiet(&self) -> bool;
}

/// The same call on whatever it is.
macro_rules! each {
    ($socket:expr, $io:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($io) => $call,
            Socket::Tls($io) => $call,
            #[cfg(any(test, fuzzing))]
            Socket::Memory($io) => $call,
        }
    };
}

impl Socket {
    /// Connects, and shakes hands where TLS is spoken; with `http2`, on HTTP/2.
    pub(super) async fn connect(
        address: SocketAddr,
        secured: Option<&Arc<Secured>>,
        http2: bool,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Requests are written whole; the next one must not wait for an acknowledgement.
        stream.set_nodelay(true)?;
        match secured {
            None => Ok(Self::Tcp(stream)),
            // In a box: few have it, and it is large.
            Some(secured) => Ok(Self::Tls(Box::new(Box::pin(secured.handshake(stream, http2)).await?))),
        }
    }

    /// Of TLS: whether it came about by the certificates that are believed now, and no part of a record has
    /// been read. A ticket (RFC 8446 section 4.6.1) is no byte of what is spoken within, and gone once it is
    /// whole.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.is_current() && stream.is_between_records(),
            _ => true,
        }
    }

    /// Whether nothing waits to be read, not even the end. The kernel itself is asked.
    ///
    /// SECURITY: bytes that were sent unasked would be taken for the answer to the next request, and
    /// one who sends to a socket that the upstream has closed learns of it too late.
    pub(super) fn is_quiet(&self) -> bool {
        let stream = match self {
            Self::Tcp(stream) => stream,
            // What waits may be a ticket; but that is rare, and another connection costs little.
            Self::Tls(stream) => stream.tcp(),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => return stream.is_quiet(),
        };
        let mut byte = [MaybeUninit::uninit()];
        let seen = SockRef::from(stream).peek(&mut byte);
        matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut *self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_shutdown(cx))
    }
}

/// A socket, and whether the other side has ended it, or it failed.
#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    ended: Arc<AtomicBool>,
}

impl Watched {
    /// Watches a socket; what is returned says whether it was ended by anybody but us.
    pub(super) fn new(socket: Socket) -> (Self, Arc<AtomicBool>) {
        let ended = Arc::new(AtomicBool::new(false));
        (Self { socket, ended: ended.clone() }, ended)
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.ended.store(true, Ordering::Release);
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) && buffer.remaining() == before {
            self.ended.store(true, Ordering::Release);
        }
        self.note(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(shut)
    }
}
