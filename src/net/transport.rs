//! What a connection runs over: a TCP socket, later TLS on one, in tests a pipe in memory.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes that can be cut off.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Arranges for the stream to be reset rather than closed when it is dropped: what the system
    /// still holds for a client that does not read is thrown away with it.
    fn reset_on_drop(&self);
}

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        // Failing, the socket closes in the ordinary way.
        let _ = self.set_zero_linger();
    }
}

impl Transport for tokio::io::DuplexStream {
    fn reset_on_drop(&self) {}
}
