//! An answer on its way from the layers to the wire.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::context::Context;
use super::http2::{OutBuf, OutStream};
use super::state::ConnState;
use crate::body::BoxError;
use crate::exchange::Exchange;

/// Content of one HTTP/2 DATA frame at most (RFC 9113 section 4.2): an answer goes out in such
/// pieces, so that what a stream has buffered is bounded and its progress is seen.
const PIECE: usize = 16 * 1024;

/// An answer up to this size may end with its last piece. A longer one ends once that piece has
/// left: until then it can be taken back, and counts as being served.
const AT_ONCE: u64 = 2 * 1024;

/// A request that is being served. Dropped before its answer is whole, it counts as cancelled.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) state: Arc<ConnState>,
    pub(super) context: Arc<Context>,
    pub(super) exchange: Arc<Exchange>,
    /// The stream it goes out on; `None` in HTTP/1.
    pub(super) stream: Option<Arc<OutStream>>,
    pub(super) answered: bool,
    /// The method is HEAD: its answer has no body, whatever it says.
    pub(super) head: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Bytes that reached the client make a cancelled download, which is everybody's right.
        let answered = self.answered || self.stream.as_ref().is_some_and(|stream| stream.delivered() > 0);
        self.state.leaves_body(!self.exchange.body_ended());
        let cancelled = self.state.request_ends(answered, self.exchange.ended());
        if let (Some(stream), Some(http2)) = (&self.stream, &self.context.limits.http2) {
            stream.finish();
            // A trusted proxy brings many clients over one connection, and in an hour some of them leave
            // early: it may cancel as many again as it has let finish.
            let trusted = self.context.trusted.trusts(self.state.socket_peer.ip());
            let finished = if trusted { self.state.requests().saturating_sub(cancelled) } else { 0 };
            if !answered && cancelled > http2.max_cancelled_streams.saturating_add(finished) {
                stream.streams().accuse();
            }
        }
    }
}

pin_project! {
    /// A response body that keeps its request running until it is whole.
    pub(crate) struct ConnBody<B> {
        #[pin]
        body: B,
        // What the stream has not been given yet.
        rest: Bytes,
        size: u64,
        ended: bool,
        broken: Option<BoxError>,
        running: Running,
    }
}

impl<B> ConnBody<B> {
    pub(super) fn new(body: B, running: Running) -> Self {
        Self { body, rest: Bytes::new(), size: 0, ended: false, broken: None, running }
    }
}

impl<B> Body for ConnBody<B>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    type Data = OutBuf;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<OutBuf>, BoxError>>> {
        let mut this = self.project();
        if let Some(error) = this.broken.take() {
            // That it ends here is none of the client's doing.
            this.running.answered = true;
            return Poll::Ready(Some(Err(error)));
        }
        let stream = this.running.stream.as_ref();
        if this.rest.is_empty() && !*this.ended {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                None => *this.ended = true,
                Some(Err(error)) => {
                    // Told with the next look: what was said before goes out until then. An answer
                    // that is cut off within its first write would leave the client with nothing
                    // at all, which many take for leave to ask again.
                    *this.broken = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        *this.size += bytes.len() as u64;
                        *this.rest = bytes;
                    }
                    Err(other) => {
                        // Nobody asks for more behind trailers, and they may leave after this is
                        // dropped.
                        this.running.answered = true;
                        return Poll::Ready(Some(Ok(other.map_data(|bytes| OutBuf::new(bytes, None)))));
                    }
                },
            }
        }
        if !this.rest.is_empty() {
            let piece = if stream.is_some() { this.rest.len().min(PIECE) } else { this.rest.len() };
            let piece = this.rest.split_to(piece);
            this.running.answered = this.rest.is_empty() && this.body.is_end_stream();
            return Poll::Ready(Some(Ok(Frame::data(OutBuf::new(piece, stream)))));
        }
        if *this.ended {
            if stream.is_some_and(|stream| stream.is_outstanding(cx.waker())) {
                return Poll::Pending;
            }
            this.running.answered = true;
            return Poll::Ready(None);
        }
        // An empty piece in the middle says nothing.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        // HTTP/1 leaves out the body of an answer to HEAD by itself.
        (self.running.head && self.running.stream.is_some())
            || self.size <= AT_ONCE && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}
