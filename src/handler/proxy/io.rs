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

/// Asks a socket, from outside of the connection that owns it, to be certain that nothing has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt(Arc<AtomicBool>);

impl Doubt {
    /// Reads from now on ask the kernel itself.
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Reads believe the runtime again.
    pub(super) fn settle(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A socket to an upstream.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    doubt: Doubt,
}

impl Socket {
    /// Connects.
    pub(super) async fn connect(address: SocketAddr, doubt: Doubt) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Requests are written whole; the next one must not wait for an acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Self { stream, doubt })
    }

    /// The kernel is asked: what the runtime knows of a socket that nobody polls may be old.
    fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let seen = SockRef::from(&self.stream).peek(&mut byte);
        matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // SECURITY: bytes that were sent unasked would be taken for the answer to the next request,
        // and one who sends to a socket that the upstream has closed learns of it too late.
        if read.is_pending() && self.doubt.is_raised() && !self.is_quiet() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
