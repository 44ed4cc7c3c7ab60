//! The body of an answer, whichever handler it comes from.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;

use super::proxy::UpstreamBody;
use crate::body::BoxError;

pin_project! {
    /// The body of an answer.
    #[project = AnswerProjection]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum AnswerBody {
        /// Made here.
        Boxed { #[pin] body: UnsyncBoxBody<Bytes, BoxError> },
        /// Of the application.
        App { #[pin] body: tower_http::body::UnsyncBoxBody<Bytes, BoxError> },
        /// On its way from an upstream.
        Upstream { #[pin] body: UpstreamBody },
        /// All of it, or `None` once it has been taken; or of nothing.
        Whole { bytes: Option<Bytes> },
    }
}

impl AnswerBody {
    /// A body of these bytes.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            AnswerProjection::Boxed { body } => body.poll_frame(cx),
            AnswerProjection::App { body } => body.poll_frame(cx),
            AnswerProjection::Upstream { body } => body.poll_frame(cx),
            AnswerProjection::Whole { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Boxed { body } => body.is_end_stream(),
            Self::App { body } => body.is_end_stream(),
            Self::Upstream { body } => body.is_end_stream(),
            Self::Whole { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Boxed { body } => body.size_hint(),
            Self::App { body } => body.size_hint(),
            Self::Upstream { body } => body.size_hint(),
            Self::Whole { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
