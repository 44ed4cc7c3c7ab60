//! What goes into a compressor, and what comes out of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::body::BoxError;

/// The most that a compressor is given at a time: some of them make room for twice as much.
pub(super) const PIECE: usize = 32 * 1024;
/// After so many bytes the compressor is made to hand out what it holds, and the worker is free
/// for its other connections: it takes about a millisecond.
pub(super) const PAUSE: usize = 128 * 1024;

pin_project! {
    /// A body in small pieces, with pauses in between.
    ///
    /// A compressor that is given more whenever it asks goes on within one poll for as long as
    /// nothing comes out of it, and well-compressible data can be endless. It flushes when it is
    /// told that there is nothing for now, and so does it for a chunk of a stream that pauses by
    /// itself.
    #[derive(Debug)]
    pub(super) struct Pieces<B> {
        #[pin]
        body: B,
        rest: Bytes,
        in_a_row: usize,
        ended: bool,
    }
}

impl<B> Pieces<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new(), in_a_row: 0, ended: false }
    }
}

impl<B> Body for Pieces<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        // tower-http asks for trailers even after the end, where a body may panic.
        if *this.ended {
            return Poll::Ready(None);
        }
        if *this.in_a_row >= PAUSE {
            *this.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.rest.is_empty() {
            let Poll::Ready(frame) = this.body.poll_frame(cx) else {
                *this.in_a_row = 0;
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => *this.rest = bytes,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => {
                    *this.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    *this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        // An empty frame costs a poll, too.
        *this.in_a_row += piece.len().max(1);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

pin_project! {
    /// A body that holds its permit until it has ended, or is given up.
    #[derive(Debug)]
    pub(super) struct Permitted<B> {
        #[pin]
        body: B,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl<B> Permitted<B> {
    pub(super) fn new(body: B, permit: OwnedSemaphorePermit) -> Self {
        Self { body, permit: Some(permit) }
    }
}

impl<B: Body<Data = Bytes, Error = BoxError>> Body for Permitted<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if matches!(frame, None | Some(Err(_))) {
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
