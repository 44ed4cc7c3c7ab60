//! What a connection runs over: a TCP socket, later TLS on one, in tests a pipe in memory.

use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes that can be cut off.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Arranges for the stream to be reset rather than closed when it is dropped: what the system
    /// still holds for a client that does not read is thrown away with it.
    fn reset_on_drop(&self);

    /// Whether something has come that was not read yet, as the system knows it at this moment: what
    /// the runtime knows may be older.
    fn has_unread(&self) -> bool;
}

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        // Failing, the socket closes in the ordinary way.
        let _ = self.set_zero_linger();
    }

    fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(self).peek(&mut byte).is_ok_and(|read| read > 0)
    }
}

impl Transport for tokio::io::DuplexStream {
    fn reset_on_drop(&self) {}

    fn has_unread(&self) -> bool {
        false
    }
}
