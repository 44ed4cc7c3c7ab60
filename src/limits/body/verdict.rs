//! What the watch over a request body found, and how it overrules the handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::BoxError;
use crate::memory::{Charge, Purpose};
use crate::refusal::Refusal;

/// Filled at most once, by the body; read by the answer. It lives as long as either, and with it
/// what the body has charged.
#[derive(Debug, Clone)]
pub struct Verdict(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refusal: OnceLock<Refusal>,
    charge: Option<Charge>,
}

impl Verdict {
    pub(super) fn new(charge: Option<Charge>) -> Self {
        Self(Arc::new(Inner { refusal: OnceLock::new(), charge }))
    }

    /// Charges bytes of the body.
    pub(super) fn charge(&self, bytes: u64) -> Result<(), Refusal> {
        self.0.charge.as_ref().map_or(Ok(()), |charge| charge.add(bytes, Purpose::Body))
    }

    /// Keeps the first refusal; what comes later is its consequence.
    pub(super) fn set(&self, refusal: Refusal) {
        let _ = self.0.refusal.set(refusal);
    }

    /// The refusal, if there is one.
    pub fn get(&self) -> Option<&Refusal> {
        self.0.refusal.get()
    }
}

pin_project! {
    /// The answer from further in, unless the body was refused.
    #[derive(Debug)]
    pub struct VerdictFuture<F> {
        #[pin]
        inner: Option<F>,
        verdict: Option<Verdict>,
        refusal: Option<Refusal>,
    }
}

impl<F> VerdictFuture<F> {
    pub(super) fn unwatched(inner: F) -> Self {
        Self { inner: Some(inner), verdict: None, refusal: None }
    }

    pub(super) fn watched(inner: F, verdict: Verdict) -> Self {
        Self { inner: Some(inner), verdict: Some(verdict), refusal: None }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { inner: None, verdict: None, refusal: Some(refusal) }
    }
}

impl<F, R> Future for VerdictFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
{
    type Output = Result<Response<VerdictBody<R>>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(refusal) = this.refusal.take() {
            return Poll::Ready(Err(refusal));
        }
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Pending };
        let answer = ready!(inner.poll(cx));
        let verdict = this.verdict.take();
        if let Some(refusal) = verdict.as_ref().and_then(Verdict::get) {
            return Poll::Ready(Err(refusal.clone()));
        }
        Poll::Ready(answer.map(|response| response.map(|body| VerdictBody { body, verdict })))
    }
}

pin_project! {
    /// A response body that is cut off once the request body turns out bad: a client must never
    /// take an answer to half its request for a whole one.
    #[derive(Debug)]
    pub struct VerdictBody<B> {
        #[pin]
        body: B,
        verdict: Option<Verdict>,
    }
}

impl<B> Body for VerdictBody<B>
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
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(refusal) = this.verdict.as_ref().and_then(Verdict::get) {
            return Poll::Ready(Some(Err(refusal.clone().into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        // The last piece may not be announced as the last while it could still be overruled.
        self.verdict.as_ref().is_none_or(|verdict| verdict.get().is_none()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
