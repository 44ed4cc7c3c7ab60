//! What has been read and not been used.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadBuf};

use super::pipe::{Broken, Inlet};
use super::request::Reading;
use crate::chunked::Decoded;
use crate::net::transport::Transport;

/// Bytes that are read at once; more where a large body is read.
const READ: usize = 8 * 1024;
const READ_LARGE: usize = 32 * 1024;
/// Room below which a buffer is not read into; and bytes of a head that are read without one.
const LITTLE: usize = 2 * 1024;

/// What was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// Nothing: more has to be read.
    Nothing,
    /// A piece.
    Piece,
    /// The last there is, for better or worse.
    Last,
}

/// Bytes from the client.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What has been read.
    pub(super) unread: Bytes,
    /// Where it is read into. The room is used again once nobody holds what came before.
    room: BytesMut,
    /// How large that is.
    size: usize,
    /// The client has closed its side.
    pub(super) ended: bool,
}

impl Input {
    pub(super) fn new(unread: Bytes) -> Self {
        Self { unread, ..Self::default() }
    }

    /// Reads once, where a head comes next: mostly nothing has come yet, and perhaps nothing will until the
    /// connection is parked, so that a buffer is made only for bytes that are there.
    pub(super) fn poll_read_head<T: Transport>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.room.capacity() > 0 {
            return self.poll_read(io, false, cx);
        }
        let mut buffer = [MaybeUninit::uninit(); LITTLE];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read > 0 {
            self.room.reserve(READ);
            self.room.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(self.take_in(read)))
    }

    /// Reads once; how many bytes came, 0 at the end.
    pub(super) fn poll_read<T: Transport>(
        &mut self,
        io: &mut T,
        large: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            // However empty, it holds what it was read into.
            self.unread = Bytes::new();
        }
        // Where a large body was read, the next is likely to come, and is read along with its head.
        let size = if large { READ_LARGE } else { self.size.max(READ) };
        if !self.room.try_reclaim(size) && self.room.capacity() < LITTLE {
            self.room = BytesMut::with_capacity(size);
            self.size = size;
        }
        let read = ready!(pin!(io.read_buf(&mut self.room)).poll(cx))?;
        Poll::Ready(Ok(self.take_in(read)))
    }

    /// So many bytes have been read into the room.
    fn take_in(&mut self, read: usize) -> usize {
        self.ended |= read == 0;
        let came = self.room.split().freeze();
        self.unread = if self.unread.is_empty() {
            came
        } else {
            // Rare: part of a head, or of a chunk's size.
            [self.unread.as_ref(), &came].concat().into()
        };
        read
    }

    /// Empty lines before a request are no head (RFC 9112 section 2.2).
    pub(super) fn skip_empty_lines(&mut self) {
        loop {
            match self.unread.as_ref() {
                [b'\r', b'\n', ..] => self.unread.advance(2),
                [b'\n', ..] => self.unread.advance(1),
                _ => return,
            }
        }
    }

    /// Whether a head may have begun.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.unread.as_ref(), [] | [b'\r'])
    }

    /// What came with its head of a body that is longer.
    pub(super) fn begin_body(&mut self, reading: &mut Reading) -> Bytes {
        if let Reading::Length(left) = reading { self.part(left) } else { Bytes::new() }
    }

    /// What is here of so many bytes.
    fn part(&mut self, left: &mut u64) -> Bytes {
        let here = usize::try_from(*left).map_or(self.unread.len(), |left| left.min(self.unread.len()));
        *left -= here as u64;
        self.unread.split_to(here)
    }

    /// Hands over what is here of a body.
    pub(super) fn hand_over(&mut self, reading: &mut Reading, inlet: &Inlet, cx: &Context<'_>) -> Handed {
        match reading {
            Reading::Length(left) => {
                let here = self.part(left);
                if here.is_empty() && *left > 0 {
                    return Handed::Nothing;
                }
                inlet.put(here, *left == 0, cx);
            }
            Reading::Chunked(chunked) => match chunked.decode(&mut self.unread) {
                Ok(Decoded::More) => return Handed::Nothing,
                Ok(Decoded::Data(data)) => inlet.put(data, false, cx),
                Ok(Decoded::Trailers(trailers)) => inlet.end(Ok(Some(trailers)), cx),
                Ok(Decoded::End) => inlet.end(Ok(None), cx),
                Err(_) => {
                    inlet.end(Err(Broken::Malformed), cx);
                    return Handed::Last;
                }
            },
        }
        if reading.is_over() { Handed::Last } else { Handed::Piece }
    }

    /// Throws away what is here of a body that nobody reads.
    pub(super) fn discard(&mut self, reading: &mut Reading) {
        match reading {
            Reading::Length(left) => drop(self.part(left)),
            Reading::Chunked(chunked) => while let Ok(Decoded::Data(_)) = chunked.decode(&mut self.unread) {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;

    /// Sends so many bytes, and reads once.
    async fn read(
        input: &mut Input,
        ends: &mut (DuplexStream, DuplexStream),
        size: usize,
        large: bool,
    ) -> usize {
        ends.1.write_all(&vec![b'a'; size]).await.unwrap();
        poll_fn(|cx| input.poll_read(&mut ends.0, large, cx)).await.unwrap()
    }

    #[tokio::test]
    async fn what_follows_a_large_body_is_read_at_once_with_all_it_brings() {
        let (mut input, mut ends) = (Input::default(), tokio::io::duplex(1 << 20));
        let whole = READ + READ_LARGE / 2;
        assert_eq!(read(&mut input, &mut ends, whole, false).await, READ);
        input.unread.clear();
        assert_eq!(read(&mut input, &mut ends, 0, true).await, whole - READ);
        for _ in 0..5 {
            input.unread.clear();
            assert_eq!(read(&mut input, &mut ends, whole, false).await, whole);
        }
        input.unread.clear();
        assert_eq!(read(&mut input, &mut ends, 2 * READ_LARGE, true).await, READ_LARGE);
    }

    #[tokio::test]
    async fn room_is_used_again_once_nobody_holds_what_was_read() {
        let (mut input, mut ends) = (Input::default(), tokio::io::duplex(1 << 20));
        read(&mut input, &mut ends, 100, false).await;
        let first = input.unread.as_ptr();
        input.unread.advance(100);
        read(&mut input, &mut ends, 100, false).await;
        assert_eq!(input.unread.as_ptr(), first);
        let held = input.unread.split_to(50);
        input.unread.advance(50);
        read(&mut input, &mut ends, READ - LITTLE, false).await;
        assert_eq!(input.unread.as_ptr(), first.wrapping_add(100));
        input.unread.clear();
        // So little is left that it is read elsewhere.
        read(&mut input, &mut ends, READ, false).await;
        assert!(input.unread.len() == READ && held == [b'a'; 50][..]);
    }
}
