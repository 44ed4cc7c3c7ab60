//! Bodies on their way through the layers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// The error type of every body here.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// Either a body made of one piece on the spot, or the one from further in.
    ///
    /// A layer that may answer by itself returns this, so that no body needs a box on its account.
    #[project = EitherProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum EitherBody<B> {
        /// Made here; `None` once it has been read.
        Own { bytes: Option<Bytes> },
        /// From further in.
        Inner { #[pin] body: B },
    }
}

impl<B> EitherBody<B> {
    /// A body of these bytes.
    pub fn own(bytes: Bytes) -> Self {
        Self::Own { bytes: if bytes.is_empty() { None } else { Some(bytes) } }
    }

    /// The body from further in.
    pub fn inner(body: B) -> Self {
        Self::Inner { body }
    }
}

impl<B> Body for EitherBody<B>
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
        match self.project() {
            EitherProjection::Own { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            EitherProjection::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes } => bytes.is_none(),
            Self::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Inner { body } => body.size_hint(),
        }
    }
}
