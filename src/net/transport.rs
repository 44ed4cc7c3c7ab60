//! What a connection runs over: a TCP socket, TLS on one ([`super::secure`]), in tests a pipe in memory.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// A stream of bytes that can be cut off.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Arranges for the stream to be reset rather than closed when it is dropped: what the system
    /// still holds for a client that does not read is thrown away with it.
    fn reset_on_drop(&self);

    /// Whether something waits to be read, were it the end. The system itself is asked, where there is
    /// one: what the runtime knows of a socket is as old as its last look at all of them.
    fn has_input(&self) -> bool;

    /// Whether it may hold such a part.
    const HOLDS_PARTS: bool = false;

    /// Whether a part of something has been read that cannot be given out before the rest has come.
    fn holds_part(&self) -> bool {
        false
    }

    /// Gives back the buffers that it can do without: nothing is expected for a while.
    fn rests(&mut self) {}

    /// What was being sent ends where it should not: the end of the stream must not look like its own.
    fn is_cut_off(&mut self) {}

    /// From now on, what is read is thrown away, and need not be understood.
    fn discards(&mut self) {}

    /// Writes what more will follow at once, so that the system need not send it by itself.
    fn poll_write_more(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Whether the system can send files on it by itself.
    const SENDS_FILES: bool = false;

    /// Has it send up to `size` bytes of `file` from `at` on; none at its end.
    fn poll_send_file(
        &self,
        file: &File,
        at: u64,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let _ = (file, at, size, cx);
        Poll::Ready(Err(Errno::OPNOTSUPP.into()))
    }
}

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        // Failing, the socket closes in the ordinary way.
        let _ = self.set_zero_linger();
    }

    fn has_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let seen = SockRef::from(self).peek(&mut byte);
        !matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn poll_write_more(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        poll_write_by(self, cx, || Ok(send(&*self, bytes, flags)?))
    }

    const SENDS_FILES: bool = true;

    fn poll_send_file(
        &self,
        file: &File,
        at: u64,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(poll_write_by(self, cx, || Ok(sendfile(self, file, Some(&mut at.clone()), size)?)));
        if sent.as_ref().is_ok_and(|sent| *sent < size) {
            // The system holds back a segment that is not full when it means to send on, and on loopback one may be
            // larger than what may wait unsent: both sides would wait for a timer. To ask for this again sends all.
            let _ = self.set_nodelay(true);
        }
        Poll::Ready(sent)
    }
}

/// Calls the system once the socket takes something, and again if it was wrong about that.
fn poll_write_by(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    call: impl Fn() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, &call) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            sent => return Poll::Ready(sent),
        }
    }
}

impl Transport for tokio::io::DuplexStream {
    fn reset_on_drop(&self) {}

    fn has_input(&self) -> bool {
        false
    }
}
