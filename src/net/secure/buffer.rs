//! Ciphertext on its way in and out.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// A record at its largest, with its head and what encryption may add (RFC 5246 section 6.2.3).
const RECORD: usize = 5 + 16 * 1024 + 2048;
/// Bytes that are read at once where records are large.
const READ: usize = RECORD;
/// A record of which more is missing is large; and room is made for this much at least.
const LARGE: usize = 4 * 1024;
const LITTLE: usize = 512;
/// Bytes of the head of a record.
const HEAD: usize = 5;

/// Records that are not whole, or not looked at yet.
#[derive(Debug)]
pub(super) struct Incoming {
    bytes: BytesMut,
    /// So many may wait.
    most: usize,
}

impl Incoming {
    /// Begins with these, and may hold `most` until the handshake is over.
    pub(super) fn new(first: &[u8], most: usize) -> Self {
        Self { bytes: BytesMut::from(first), most }
    }

    /// The handshake is over: what follows comes in records, one by one.
    pub(super) fn is_in_use(&mut self) {
        self.most = READ;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is here.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// So many bytes are done with.
    pub(super) fn advance(&mut self, done: usize) {
        self.bytes.advance(done.min(self.bytes.len()));
        if self.bytes.is_empty() {
            // A client that uploads goes on, and has its room again; others do not come to so much.
            self.bytes = match self.bytes.try_reclaim(READ) {
                true => std::mem::take(&mut self.bytes),
                false => BytesMut::new(),
            };
        }
    }

    /// Keeps these behind what is here.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Gives back what is not in use.
    pub(super) fn rests(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// Bytes that are missing of the record in front.
    fn missing(&self) -> usize {
        match self.bytes.as_ref() {
            [_, _, _, high, low, ..] => {
                let whole = HEAD + usize::from(u16::from_be_bytes([*high, *low]));
                whole.saturating_sub(self.bytes.len())
            }
            _ => HEAD,
        }
    }

    /// Reads once behind what is here; how many bytes came, 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // SECURITY: a client that sends what is never whole holds no more than this.
        let room = self.most.saturating_sub(self.bytes.len());
        if room == 0 {
            let problem = "more than a handshake or a record may have";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        let missing = self.missing().max(LITTLE);
        // One record that is large is likely to be one of many.
        let wanted =
            if missing > LARGE { READ.saturating_sub(self.bytes.len()).max(missing) } else { missing };
        self.bytes.reserve(wanted.min(room));
        pin!(socket.read_buf(&mut (&mut self.bytes).limit(room))).poll(cx)
    }
}

/// What waits to leave.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    pub(super) fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    /// Room for so many bytes more.
    pub(super) fn room(&mut self, size: usize) -> &mut [u8] {
        let end = self.to + size;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.to..end).unwrap_or_default()
    }

    /// So many of them were written.
    pub(super) fn filled(&mut self, written: usize) -> bool {
        self.to += written;
        true
    }

    fn left(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.from += written;
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        }
        Ok(())
    }

    /// Hands the socket what it takes; ready once that is all.
    pub(super) fn poll_leave(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let bytes = self.bytes.get(self.from..self.to).unwrap_or_default();
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, bytes))?;
            self.left(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands it what it takes at this moment. Nobody is woken for the rest, who may be another than the one who
    /// waits to write.
    pub(super) fn leave_now(&mut self, socket: &TcpStream) -> io::Result<()> {
        while !self.is_empty() {
            let bytes = self.bytes.get(self.from..self.to).unwrap_or_default();
            match socket.try_write(bytes) {
                Ok(written) => self.left(written)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives back what is not in use.
    pub(super) fn rests(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
