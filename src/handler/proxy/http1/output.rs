//! A request on its way out: its head, then its body as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::handler::proxy::head::Length;
use crate::handler::proxy::io::Socket;
use crate::handler::proxy::upload::Upload;

/// A piece of a body up to this size is copied behind what is to be written anyhow; a larger one is
/// written from where it is, in the same call.
const COPIED: usize = 4 * 1024;
/// Room that is kept for the next request.
const KEPT: usize = 8 * 1024;

/// What is still to be sent: what is left of the buffer, then a piece, then what ends it.
#[derive(Debug)]
pub(super) struct Output {
    buffer: Vec<u8>,
    sent: usize,
    piece: Bytes,
    tail: &'static [u8],
    body: Upload,
    length: Length,
    ended: bool,
    /// All that was taken has left the socket's own buffers: within TLS it has some.
    flushed: bool,
}

/// Why it cannot be.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The connection takes nothing more. The upstream may still have said why.
    Closed,
    /// The body is not what it was said to be.
    Body,
}

impl Output {
    /// Nothing, in a buffer to be filled.
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            sent: 0,
            piece: Bytes::new(),
            tail: &[],
            body: Upload::Empty,
            length: Length::None,
            ended: true,
            flushed: true,
        }
    }

    /// Begins to send a request.
    pub(super) fn begin(&mut self, head: impl FnOnce(&mut Vec<u8>), body: Upload, length: Length) {
        self.buffer.clear();
        head(&mut self.buffer);
        (self.sent, self.body, self.length) = (0, body, length);
        self.ended = length == Length::None;
    }

    /// Whether all of it has left.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.flushed && self.is_written()
    }

    fn is_written(&self) -> bool {
        self.sent == self.buffer.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether what the body gives next can go behind what is here. Behind a piece it cannot, nor behind what is
    /// left of its end.
    ///
    /// SECURITY: a size written before the end of the chunk that it follows would have a client's bytes read
    /// as sizes, and as a request behind the last one.
    fn takes_more(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.buffer.len() < COPIED
    }

    /// Lets go of memory that an idle connection has no use for.
    pub(super) fn rest(&mut self) {
        self.body = Upload::Empty;
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.sent = 0;
    }

    /// Sends what can be sent; ready when all of it has left.
    pub(super) fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            // First what may go out in the same write.
            let mut waits = false;
            while !waits && !self.ended && self.takes_more() {
                waits = self.fill(cx)?;
            }
            while !self.is_written() {
                let written = ready!(self.write(socket, cx))?;
                self.advance(written);
                self.flushed = false;
            }
            self.buffer.clear();
            self.sent = 0;
            if !self.flushed {
                ready!(Pin::new(&mut *socket).poll_flush(cx)).map_err(|_| Unsent::Closed)?;
                self.flushed = true;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    fn write(&self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
        let rest = self.buffer.get(self.sent..).unwrap_or_default();
        let written = match (rest, self.piece.as_ref(), self.tail) {
            (rest, [], []) => Pin::new(socket).poll_write(cx, rest),
            ([], piece, []) => Pin::new(socket).poll_write(cx, piece),
            (rest, piece, tail) => {
                let slices = [rest, piece, tail].map(IoSlice::new);
                Pin::new(socket).poll_write_vectored(cx, &slices)
            }
        };
        match ready!(written) {
            Ok(written) if written > 0 => Poll::Ready(Ok(written)),
            _ => Poll::Ready(Err(Unsent::Closed)),
        }
    }

    fn advance(&mut self, written: usize) {
        let of_buffer = written.min(self.buffer.len() - self.sent);
        self.sent += of_buffer;
        let of_piece = (written - of_buffer).min(self.piece.len());
        // However empty, what is left of a piece would hold what the client's bytes were read into.
        drop(self.piece.split_to(of_piece));
        self.tail = self.tail.get(written - of_buffer - of_piece..).unwrap_or_default();
    }

    /// Asks the body for its next frame; whether there is none yet.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, Unsent> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(true) };
        let frame = match frame {
            None => return self.end(None).map(|()| false),
            Some(frame) => frame.map_err(|_| Unsent::Body)?,
        };
        match frame.into_data() {
            Ok(data) => self.take(data)?,
            Err(frame) => self.end(frame.into_trailers().ok())?,
        }
        Ok(false)
    }

    fn take(&mut self, data: Bytes) -> Result<(), Unsent> {
        match &mut self.length {
            _ if data.is_empty() => return Ok(()),
            Length::Exactly(left) => *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Body)?,
            Length::Open => {
                use io::Write;
                // Writing to a Vec does not fail.
                let _ = write!(self.buffer, "{:x}\r\n", data.len());
            }
            Length::None => return Err(Unsent::Body),
        }
        if data.len() > COPIED {
            self.piece = data;
            if self.length == Length::Open {
                self.tail = b"\r\n";
            }
        } else {
            self.buffer.extend_from_slice(&data);
            if self.length == Length::Open {
                self.buffer.extend_from_slice(b"\r\n");
            }
        }
        // Nobody need ask a body that says so for its end.
        if self.length == Length::Exactly(0) && self.body.is_end_stream() {
            self.ended = true;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unsent> {
        match self.length {
            Length::Exactly(1..) => return Err(Unsent::Body),
            Length::Open => {
                self.buffer.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    field(&mut self.buffer, name.as_str(), value.as_bytes());
                }
                self.buffer.extend_from_slice(b"\r\n");
            }
            Length::Exactly(0) | Length::None => {}
        }
        self.ended = true;
        Ok(())
    }
}

/// Appends a field line. Names and values are of their types already: nothing in them ends it.
pub(in crate::handler::proxy) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
