//! TLS to an upstream: who it has to be, and what is known of a connection within it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::LOG_EVERY;
use crate::probe::Within;
use crate::tls::live::Live;
use crate::tls::why;

/// Bytes that wait to be sent within TLS before no more are taken.
///
/// SECURITY: what a connection holds is reckoned by it (`memory::UPSTREAM_TLS`).
const UNSENT: usize = 32 * 1024;

/// How TLS is spoken to one upstream.
pub(super) struct Secured {
    live: Arc<Live>,
    /// Whose certificate it has to have.
    name: ServerName<'static>,
    /// How it is called in the log.
    label: Arc<str>,
    /// When something was last said of it.
    said: Mutex<Option<Instant>>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A handshake that failed, or came to nothing that is of use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsecured {
    /// Who answers is not who was meant, or does not speak TLS.
    Invalid,
    /// It ended the connection, or refused us.
    Ended,
}

impl fmt::Display for Unsecured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "no TLS that can be trusted",
            Self::Ended => "TLS was not taken up",
        })
    }
}

impl std::error::Error for Unsecured {}

impl Secured {
    pub(super) fn new(live: Arc<Live>, name: ServerName<'static>, label: Arc<str>) -> Arc<Self> {
        Arc::new(Self { live, name, label, said: Mutex::default() })
    }

    /// What its certificates have to be believed by at present.
    pub(super) fn generation(&self) -> u64 {
        self.live.current().generation
    }

    /// What a question of health is asked within.
    pub(super) fn within(&self, http2: bool) -> Within {
        let current = self.live.current();
        let config = if http2 { &current.http2 } else { &current.http1 };
        Within { config: config.clone(), name: self.name.clone() }
    }

    /// Shakes hands; with `http2`, HTTP/2 has to be agreed on. Without a deadline.
    pub(super) async fn handshake(self: &Arc<Self>, tcp: TcpStream, http2: bool) -> io::Result<Tls> {
        let (config, generation) = {
            let current = self.live.current();
            (if http2 { current.http2.clone() } else { current.http1.clone() }, current.generation)
        };
        let address = tcp.peer_addr().ok();
        let connecting =
            TlsConnector::from(config).connect_with(self.name.clone(), Records::new(tcp), |connection| {
                connection.set_buffer_limit(Some(UNSENT));
            });
        let stream = connecting.await.map_err(|error| self.failed(address, error))?;
        if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            self.say(address, "it does not offer HTTP/2 (ALPN h2)");
            return Err(invalid());
        }
        Ok(Tls { stream, secured: self.clone(), generation })
    }

    fn failed(&self, address: Option<SocketAddr>, error: io::Error) -> io::Error {
        use rustls::Error;
        let Some(problem) = why(&error) else {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return error;
            }
            self.say(address, "it closed the connection in the handshake");
            return io::Error::new(io::ErrorKind::ConnectionAborted, Unsecured::Ended);
        };
        self.say(address, &problem);
        let refused = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
        match refused {
            Some(Error::AlertReceived(_)) => {
                io::Error::new(io::ErrorKind::ConnectionAborted, Unsecured::Ended)
            }
            _ => invalid(),
        }
    }

    /// Says what is wrong, and not for each request.
    fn say(&self, address: Option<SocketAddr>, problem: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= LOG_EVERY) {
            *said = Some(Instant::now());
            let address = address.map(|address| address.to_string());
            tracing::warn!(upstream = %self.label, address, problem, "TLS with the upstream failed");
        }
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Unsecured::Invalid)
}

/// A connection within TLS.
pub(super) struct Tls {
    stream: TlsStream<Records>,
    secured: Arc<Secured>,
    generation: u64,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("secured", &self.secured).finish_non_exhaustive()
    }
}

impl Tls {
    /// The socket that it is within.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().0.tcp
    }

    /// Whether all that was read is whole records.
    ///
    /// SECURITY: the beginning of one that came unasked would be read on as the answer to the next request.
    pub(super) fn is_between_records(&self) -> bool {
        self.stream.get_ref().0.place.is_between()
    }

    /// Whether it came about by what is believed at present.
    pub(super) fn is_current(&self) -> bool {
        self.generation == self.secured.generation()
    }

    /// Where the other side says why it ends the connection (a certificate of ours that it does not take is
    /// known only here, RFC 8446 section 4.4.2.4), that is for the log.
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(problem) = why(error)
        {
            self.secured.say(self.tcp().peer_addr().ok(), &problem);
        }
        polled
    }
}

impl Drop for Tls {
    /// Says that it ends in order, as far as that can be said at once.
    fn drop(&mut self) {
        let (records, connection) = self.stream.get_mut();
        connection.send_close_notify();
        let socket = SockRef::from(&records.tcp);
        let _ = connection.write_tls(&mut &*socket);
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.note(read)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Bytes of the head of a record: its type, a version, and its length (RFC 8446 section 5.1).
const HEAD: u8 = 5;

/// A socket whose records are followed as they are read. Their heads are in the clear.
#[derive(Debug)]
struct Records {
    tcp: TcpStream,
    place: Place,
}

/// Where the last byte was.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    /// Bytes of a head that have come.
    head: u8,
    /// The length, as far as it has.
    length: u16,
    /// Bytes of a record that are still to come.
    left: u16,
}

impl Place {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let [byte, rest @ ..] = bytes {
            if self.left > 0 {
                let here = bytes.len().min(usize::from(self.left));
                self.left -= u16::try_from(here).unwrap_or(self.left);
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            self.head += 1;
            self.length = self.length << 8 | u16::from(*byte);
            if self.head == HEAD {
                *self = Self { head: 0, length: 0, left: self.length };
            }
            bytes = rest;
        }
    }

    /// Whether it was the last of a record, or none has come.
    fn is_between(&self) -> bool {
        self.head == 0 && self.left == 0
    }
}

impl Records {
    fn new(tcp: TcpStream) -> Self {
        Self { tcp, place: Place::default() }
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        self.place.pass(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
