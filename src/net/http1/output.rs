//! What is on its way to the socket: small things copied together, large ones as they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use super::stretch::{Sent, Stretch};
use crate::body::file::FilePart;
use crate::net::state::ConnState;
use crate::net::transport::Transport;

/// A piece up to this size is copied: that is cheaper than to hand the system two.
const SMALL: usize = 4 * 1024;
/// Pieces that are handed over at once.
const AT_ONCE: usize = 8;
/// Room that is made at first, for most heads and what is small behind them,
const FIRST: usize = 512;
/// and that is kept for the next answer.
const KEPT: usize = 8 * 1024;

/// What is not copied.
#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    File(Stretch),
}

/// Bytes in order: those of `large`, and behind them those of `flat`.
#[derive(Debug, Default)]
pub(super) struct Output {
    large: VecDeque<Piece>,
    flat: Vec<u8>,
    /// Bytes of `flat` that have left.
    left: usize,
    /// Bytes in all.
    size: usize,
    /// What stand-ins stand for, and from where on.
    part: Option<(Arc<FilePart>, u64)>,
}

impl Output {
    /// Bytes that have not left.
    pub(super) fn len(&self) -> usize {
        self.size
    }

    /// Writes something small at the end.
    pub(super) fn write(&mut self, how: impl FnOnce(&mut Vec<u8>)) {
        let before = self.flat.len();
        if self.flat.capacity() == 0 {
            self.flat.reserve(FIRST);
        }
        how(&mut self.flat);
        self.size += self.flat.len().saturating_sub(before);
    }

    /// From now on the file is sent for what stands in for it.
    pub(super) fn take(&mut self, part: Arc<FilePart>) {
        part.take();
        let at = part.at;
        self.part = Some((part, at));
    }

    /// Puts a piece at the end.
    pub(super) fn push(&mut self, piece: Bytes) {
        let size = piece.len();
        let piece = match &mut self.part {
            Some((part, next)) if FilePart::is_stand_in(&piece) => {
                let (part, at) = (part.clone(), *next);
                *next += size as u64;
                let ends = *next >= part.at.saturating_add(part.size);
                let stretch = Stretch::new(part, at, size);
                if ends {
                    self.part = None;
                }
                Piece::File(stretch)
            }
            _ if size <= SMALL => return self.write(|flat| flat.extend_from_slice(&piece)),
            _ => Piece::Bytes(piece),
        };
        self.size += size;
        if !self.flat.is_empty() {
            let mut flat = Bytes::from(std::mem::take(&mut self.flat));
            flat.advance(std::mem::take(&mut self.left));
            self.large.push_back(Piece::Bytes(flat));
        }
        self.large.push_back(piece);
    }

    /// Hands over as much as the socket takes; ready once that is all. What the client takes, and that it
    /// takes nothing, is noted in `state`.
    pub(super) fn poll_flush<T: Transport>(
        &mut self,
        io: &mut T,
        state: &ConnState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.size > 0 {
            let written = match self.poll_write(Pin::new(io), cx) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    // A file that is being read is none of the client's doing.
                    if matches!(self.large.front(), Some(Piece::File(file)) if file.waits()) {
                        state.unblocked();
                    } else {
                        state.blocked();
                    }
                    return Poll::Pending;
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.wrote(written);
            self.advance(written);
        }
        // A socket has nothing to flush; what encrypts may, and holds then what the socket does not take.
        let flushed = Pin::new(io).poll_flush(cx);
        if flushed.is_pending() {
            state.blocked();
        }
        ready!(flushed)?;
        state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_write<T: Transport>(&mut self, io: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(Piece::File(file)) = self.large.front_mut() {
            match ready!(file.poll_send(&*io, cx))? {
                Sent::Some(sent) => return Poll::Ready(Ok(sent)),
                Sent::Read(bytes) => self.put_in_front(bytes),
            }
        }
        let flat = self.flat.get(self.left..).unwrap_or_default();
        if self.large.is_empty() {
            return io.poll_write(cx, flat);
        }
        if let (Some(Piece::Bytes(first)), Some(Piece::File(_))) = (self.large.front(), self.large.get(1))
            && first.len() <= SMALL
        {
            return io.get_mut().poll_write_more(first, cx);
        }
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let pieces = self.large.iter().map_while(|piece| match piece {
            Piece::Bytes(piece) => Some(piece.as_ref()),
            Piece::File(_) => None,
        });
        let all = self.large.iter().all(|piece| matches!(piece, Piece::Bytes(_)));
        for (slice, piece) in slices.iter_mut().zip(pieces.chain(all.then_some(flat))) {
            *slice = IoSlice::new(piece);
        }
        io.poll_write_vectored(cx, &slices)
    }

    /// What was read of the stretch in front goes before the rest of it.
    fn put_in_front(&mut self, bytes: Bytes) {
        if let Some(Piece::File(file)) = self.large.front_mut() {
            file.advance(bytes.len());
            if file.left() == 0 {
                self.large.pop_front();
            }
        }
        self.large.push_front(Piece::Bytes(bytes));
    }

    fn advance(&mut self, mut written: usize) {
        self.size = self.size.saturating_sub(written);
        while let Some(first) = self.large.front_mut() {
            let left = match first {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::File(file) => file.left(),
            };
            if written < left {
                return match first {
                    Piece::Bytes(bytes) => bytes.advance(written),
                    Piece::File(file) => file.advance(written),
                };
            }
            written -= left;
            self.large.pop_front();
        }
        self.left += written;
        if self.left >= self.flat.len() {
            self.flat.clear();
            self.left = 0;
            self.flat.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::net::admission::Permits;
    use crate::net::registry::Registry;

    fn state() -> Arc<ConnState> {
        Registry::default().enter(|entry| ConnState::new(([127, 0, 0, 1], 1).into(), Permits::none(), entry))
    }

    #[tokio::test]
    async fn everything_leaves_in_its_order_however_little_is_taken_at_a_time() {
        let state = state();
        for room in [1, 100, 4096, 1 << 20] {
            let (mut near, mut far) = tokio::io::duplex(room);
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (index, size) in [5, SMALL + 1, 3, SMALL, 2 * SMALL, 70_000, 0, 1].into_iter().enumerate() {
                let piece = vec![b'a' + u8::try_from(index).unwrap(); size];
                expected.extend_from_slice(&piece);
                output.push(piece.into());
            }
            assert_eq!(output.len(), expected.len());
            let reads = tokio::spawn(async move {
                let mut read = Vec::new();
                far.read_to_end(&mut read).await.map(|_| read)
            });
            poll_fn(|cx| output.poll_flush(&mut near, &state, cx)).await.unwrap();
            assert!(output.len() == 0 && state.blocked_since().is_none());
            drop(near);
            assert!(reads.await.unwrap().unwrap() == expected, "{room}");
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_noted() {
        let (state, mut output) = (state(), Output::default());
        let (mut near, _far) = tokio::io::duplex(10);
        output.push(Bytes::from_static(b"more than ten"));
        let flushed = poll_fn(|cx| Poll::Ready(output.poll_flush(&mut near, &state, cx))).await;
        assert!(flushed.is_pending() && state.blocked_since().is_some());
        assert_eq!((output.len(), state.sent().1), (3, 10));
    }
}
