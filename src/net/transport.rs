//! What a connection runs over: a TCP socket, later TLS on one, in tests a pipe in memory.

use std::io;
use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes that can be cut off.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Arranges for the stream to be reset rather than closed when it is dropped: what the system
    /// still holds for a client that does not read is thrown away with it.
    fn reset_on_drop(&self);

    /// Whether something waits to be read, were it the end. The system itself is asked, where there is
    /// one: what the runtime knows of a socket is as old as its last look at all of them.
    fn has_input(&self) -> bool;
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
}

impl Transport for tokio::io::DuplexStream {
    fn reset_on_drop(&self) {}

    fn has_input(&self) -> bool {
        false
    }
}
