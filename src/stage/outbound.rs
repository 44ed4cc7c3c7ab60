//! The body of an answer on its way out.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;

use crate::body::BoxError;
use crate::refusal::Refusal;

pin_project! {
    /// The handler's body, or what a stage has put in its place; bounded, where somebody bounds it.
    pub struct Outbound<B> {
        #[pin]
        body: OutboundBody<B>,
        bound: Option<Bound>,
    }
}

pin_project! {
    /// Whose the body is.
    #[project = OutboundProjection]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum OutboundBody<B> {
        /// The handler's.
        Handler { #[pin] body: B },
        /// Made here; `None` once it has been read.
        Own { bytes: Option<Bytes> },
        /// What the handler's was made into.
        Boxed { #[pin] body: UnsyncBoxBody<Bytes, BoxError> },
    }
}

/// How much of a body may go out, and what becomes of one that is longer.
struct Bound {
    left: u64,
    max: u64,
    refusal: fn(u64) -> Refusal,
}

impl<B> Outbound<B> {
    /// The handler's body.
    pub fn handler(body: B) -> Self {
        Self { body: OutboundBody::Handler { body }, bound: None }
    }

    /// A body of these bytes.
    pub fn own(bytes: Bytes) -> Self {
        Self { body: OutboundBody::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) }, bound: None }
    }

    /// A body that was made of the handler's.
    pub fn boxed(body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        Self { body: OutboundBody::Boxed { body }, bound: None }
    }

    /// Ends the body in the refusal once it is over `max` bytes.
    pub fn bound(&mut self, max: u64, refusal: fn(u64) -> Refusal) {
        self.bound = Some(Bound { left: max, max, refusal });
    }
}

impl<B> fmt::Debug for Outbound<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl<B> Body for Outbound<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = match this.body.project() {
            OutboundProjection::Handler { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            OutboundProjection::Own { bytes } => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            OutboundProjection::Boxed { body } => ready!(body.poll_frame(cx)),
        };
        if let (Some(bound), Some(Ok(frame))) = (this.bound, &frame)
            && let Some(data) = frame.data_ref()
        {
            match bound.left.checked_sub(data.len() as u64) {
                Some(left) => bound.left = left,
                None => return Poll::Ready(Some(Err((bound.refusal)(bound.max).into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            OutboundBody::Handler { body } => body.is_end_stream(),
            OutboundBody::Own { bytes } => bytes.is_none(),
            OutboundBody::Boxed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            OutboundBody::Handler { body } => body.size_hint(),
            OutboundBody::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            OutboundBody::Boxed { body } => body.size_hint(),
        }
    }
}
