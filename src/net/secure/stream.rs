//! TLS on a socket: what goes in and comes out of rustls, in buffers that are there only while something is in
//! them.
//!
//! rustls is given the bytes where they are and hands back what it made of them. So a session that waits holds
//! its keys and no buffer, a small request is read and decrypted on the stack, and an answer leaves with one call.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffer::{Incoming, Outgoing};
use crate::net::transport::Transport;
use crate::protocol::TlsVersion;

/// Bytes that are read without a buffer: most requests whole, with what encryption adds.
const READ: usize = 4 * 1024;
/// Bytes that are encrypted at once: two records at their largest.
const AT_ONCE: usize = 32 * 1024;
/// Bytes of ciphertext that wait to leave while none of the client's is taken: alerts, tickets, updates of keys.
const MOST_OWN: usize = 64 * 1024;

/// How reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// The client has said that nothing follows.
    Ended,
    /// The socket ended without a word: somebody may have cut it off (RFC 8446 section 6.1).
    CutOff,
    /// What came was none of the session's.
    Failed,
    /// Whatever comes is thrown away.
    Discards,
}

/// A TLS session and its socket, in a box: plain connections do not carry its size.
#[derive(Debug)]
pub(crate) struct TlsStream(Box<Inner>);

struct Inner {
    socket: TcpStream,
    session: UnbufferedServerConnection,
    incoming: Incoming,
    /// Decrypted, and not taken yet.
    plain: Vec<u8>,
    taken: usize,
    outgoing: Outgoing,
    reading: Reading,
    /// The end has been said, or must not be.
    closed: AtomicBool,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("reading", &self.reading).finish_non_exhaustive()
    }
}

/// What to do once the session takes data.
enum Then<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

impl TlsStream {
    /// A session that begins with these bytes.
    pub(super) fn new(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        first: &[u8],
        most: usize,
    ) -> Result<Self, rustls::Error> {
        let session = UnbufferedServerConnection::new(config)?;
        let incoming = Incoming::new(first, most);
        let outgoing = Outgoing::default();
        Ok(Self(Box::new(Inner {
            socket,
            session,
            incoming,
            plain: Vec::new(),
            taken: 0,
            outgoing,
            reading: Reading::Open,
            closed: AtomicBool::new(true),
        })))
    }

    /// Goes on with the handshake until it is over.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let this = &mut *self.0;
        loop {
            this.process(Then::Nothing).map_err(|error| {
                this.alert();
                Fault::Tls(error)
            })?;
            if !this.session.is_handshaking() {
                // What is last of it leaves with the first answer, or once that is waited for; where the client waits
                // for it, now.
                if this.session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
                    ready!(this.poll_leave(cx)).map_err(|_| Fault::Closed)?;
                }
                *this.closed.get_mut() = false;
                this.incoming.is_in_use();
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_leave(cx)).map_err(|_| Fault::Closed)?;
            if this.reading != Reading::Open {
                return Poll::Ready(Err(Fault::Closed));
            }
            match ready!(this.incoming.poll_read(&mut this.socket, cx)) {
                Ok(0) => return Poll::Ready(Err(Fault::Closed)),
                Ok(_) => {}
                // Too much for a handshake, among others.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Poll::Ready(Err(Fault::Tls(rustls::Error::PeerSentOversizedRecord)));
                }
                Err(_) => return Poll::Ready(Err(Fault::Closed)),
            }
        }
    }

    /// What was agreed upon.
    pub(super) fn session(&self) -> &UnbufferedServerConnection {
        &self.0.session
    }

    /// The version that was.
    pub(super) fn version(&self) -> TlsVersion {
        match self.0.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V13,
            _ => TlsVersion::V12,
        }
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client has gone, or the socket failed.
    Closed,
    /// The two do not agree, or what came is no TLS.
    Tls(rustls::Error),
}

impl Inner {
    /// Has the session look at what has come.
    fn process(&mut self, then: Then<'_>) -> Result<(), rustls::Error> {
        if self.reading == Reading::Failed {
            return Err(rustls::Error::EncryptError);
        }
        let Self { session, incoming, plain, outgoing, reading, .. } = self;
        let (done, result) = run(session, incoming.bytes(), plain, outgoing, reading, then);
        incoming.advance(done);
        result
    }

    /// What the session has to say of what went wrong.
    fn alert(&mut self) {
        self.reading = Reading::Failed;
        let Self { session, incoming, outgoing, .. } = self;
        // It is said in the place of the error, and once: asked again, the session would fail again, which it takes for a
        // fault of ours. It counts from where it was, and so needs what it has seen.
        if let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut said)), .. } =
            session.process_tls_records(incoming.bytes())
        {
            encode(outgoing, |room| said.encode(room));
        }
    }

    fn failed(&mut self, error: &rustls::Error) -> io::Error {
        if self.reading != Reading::Failed {
            self.alert();
            let _ = self.outgoing.leave_now(&self.socket);
        }
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    }

    /// Hands the socket what waits to leave.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_leave(&mut self.socket, cx)
    }

    /// Gives out what was decrypted.
    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let left = self.plain.get(self.taken..).unwrap_or_default();
        let size = left.len().min(buf.remaining());
        buf.put_slice(left.get(..size).unwrap_or_default());
        self.taken += size;
        if self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
            // Small ones are used again; a large one is for large records.
            self.plain.shrink_to(READ);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.plain.is_empty() {
                self.take(buf);
                return Poll::Ready(Ok(()));
            }
            match self.reading {
                Reading::Open => {}
                Reading::Ended => return Poll::Ready(Ok(())),
                Reading::CutOff => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Reading::Failed => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Reading::Discards => return Pin::new(&mut self.socket).poll_read(cx, buf),
            }
            let read = if self.incoming.is_empty() {
                self.poll_read_small(cx)
            } else {
                self.incoming.poll_read(&mut self.socket, cx).map_ok(|read| {
                    let result = if read == 0 { Ok(()) } else { self.process(Then::Nothing) };
                    (read, result)
                })
            };
            let Poll::Ready(read) = read else {
                // What the session had to say that nobody waits to send: rarely anything, and it mostly fits.
                if !self.outgoing.is_empty() {
                    self.outgoing.leave_now(&self.socket)?;
                    self.outgoing.rests();
                }
                return Poll::Pending;
            };
            match read? {
                (0, _) => self.reading = Reading::CutOff,
                (_, Ok(())) if self.outgoing.len() > MOST_OWN + AT_ONCE => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                (_, Ok(())) => {}
                (_, Err(error)) => return Poll::Ready(Err(self.failed(&error))),
            }
        }
    }

    /// Reads and decrypts on the stack, and keeps what is no whole record.
    fn poll_read_small(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(usize, Result<(), rustls::Error>)>> {
        let mut buffer = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled_mut();
        let Self { session, plain, outgoing, reading, .. } = self;
        let (done, result) = match bytes.len() {
            0 => (0, Ok(())),
            _ => run(session, bytes, plain, outgoing, reading, Then::Nothing),
        };
        self.incoming.keep(bytes.get(done..).unwrap_or_default());
        Poll::Ready(Ok((bytes.len(), result)))
    }

    /// Encrypts what it is given, up to as much as is sent at once; how much that was.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_leave(cx))?;
        let mut written = 0;
        for slice in slices {
            let size = slice.len().min(AT_ONCE - written);
            let part = slice.get(..size).unwrap_or_default();
            if !part.is_empty() {
                self.process(Then::Encrypt(part)).map_err(|error| self.failed(&error))?;
                written += size;
            }
        }
        // What does not leave at once does with the next call.
        if let Poll::Ready(left) = self.poll_leave(cx) {
            left?;
        }
        Poll::Ready(Ok(written))
    }

    /// Says that nothing follows, once.
    fn say_end(&mut self) {
        if !std::mem::replace(self.closed.get_mut(), true) && self.reading != Reading::Failed {
            // A session that cannot say it any more has failed already.
            let _ = self.process(Then::Close);
        }
    }
}

impl Drop for Inner {
    /// A client that reads to the end is to know that it is the end, if that can be told in passing.
    fn drop(&mut self) {
        if self.outgoing.is_empty() {
            self.say_end();
            let _ = self.outgoing.leave_now(&self.socket);
        }
    }
}

/// Runs the session over what came, until it waits for something; how many bytes it is done with.
fn run(
    session: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    plain: &mut Vec<u8>,
    outgoing: &mut Outgoing,
    reading: &mut Reading,
    then: Then<'_>,
) -> (usize, Result<(), rustls::Error>) {
    let mut done = 0;
    loop {
        let rest = bytes.get_mut(done..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = session.process_tls_records(rest);
        let mut over = false;
        match state {
            Err(error) => return (done + discard, Err(error)),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            plain.extend_from_slice(record.payload);
                            done += record.discard;
                        }
                        Err(error) => return (done + discard, Err(error)),
                    }
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut said)) => {
                over = !encode(outgoing, |room| said.encode(room));
            }
            // They leave in their order, with what follows.
            Ok(ConnectionState::TransmitTlsData(said)) => said.done(),
            Ok(ConnectionState::PeerClosed) => *reading = Reading::Ended,
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let fits = match then {
                    Then::Nothing => true,
                    Then::Encrypt(part) => encrypt(outgoing, part.len(), |room| traffic.encrypt(part, room)),
                    Then::Close => encrypt(outgoing, 0, |room| traffic.queue_close_notify(room)),
                };
                let result = if fits { Ok(()) } else { Err(rustls::Error::EncryptError) };
                return (done + discard, result);
            }
            Ok(ConnectionState::ReadEarlyData(_)) => {
                return (done + discard, Err(rustls::Error::General("early data".into())));
            }
            Ok(_) => over = true,
        }
        done += discard;
        if over {
            let result = match then {
                Then::Nothing => Ok(()),
                _ => Err(rustls::Error::EncryptError),
            };
            return (done, result);
        }
    }
}

/// Bytes that a record is larger than what is in it, at most.
const RECORD: usize = 64;

/// Puts what the session has to say behind what waits to leave.
fn encode(outgoing: &mut Outgoing, mut put: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> bool {
    let mut size = 512;
    loop {
        match put(outgoing.room(size)) {
            Ok(written) => return outgoing.filled(written),
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > size => {
                size = needed.required_size
            }
            Err(_) => return false,
        }
    }
}

/// Likewise what is encrypted.
fn encrypt(
    outgoing: &mut Outgoing,
    size: usize,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> bool {
    let mut size = size + RECORD * (2 + size / (16 * 1024));
    loop {
        match put(outgoing.room(size)) {
            Ok(written) => return outgoing.filled(written),
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > size => {
                size = needed.required_size
            }
            Err(_) => return false,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_leave(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.say_end();
        ready!(self.0.poll_leave(cx))?;
        Pin::new(&mut self.0.socket).poll_shutdown(cx)
    }
}

impl Transport for TlsStream {
    fn reset_on_drop(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.socket.reset_on_drop();
    }

    fn has_input(&self) -> bool {
        !self.0.plain.is_empty() || self.0.socket.has_input()
    }

    const HOLDS_PARTS: bool = true;

    fn holds_part(&self) -> bool {
        !self.0.incoming.is_empty()
    }

    fn rests(&mut self) {
        let Inner { incoming, plain, outgoing, .. } = &mut *self.0;
        incoming.rests();
        outgoing.rests();
        if plain.is_empty() {
            *plain = Vec::new();
        }
    }

    fn is_cut_off(&mut self) {
        *self.0.closed.get_mut() = true;
    }

    fn discards(&mut self) {
        self.0.reading = Reading::Discards;
        self.0.plain.clear();
        self.0.taken = 0;
    }
}
