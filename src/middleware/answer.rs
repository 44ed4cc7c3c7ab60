//! Turns refusals into answers. Everything further in refuses by its error; this is where the one
//! table of [`Reason`]s becomes HTTP, and where each is counted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::EitherBody;
use crate::exchange::Exchange;
use crate::refusal::{Fate, Reason, Refusal};
use crate::telemetry::Metrics;

/// Answers what the service refuses.
#[derive(Debug, Clone)]
pub struct AnswerLayer(pub Arc<Metrics>);

impl<S> Layer<S> for AnswerLayer {
    type Service = Answer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Answer { inner, metrics: self.0.clone() }
    }
}

/// A service that never fails: it refuses.
#[derive(Debug, Clone)]
pub struct Answer<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

/// The answer to a refusal, which says so to the layers further out.
fn answer(refusal: Refusal, exchange: Option<&Exchange>, metrics: &Metrics) -> Response<Bytes> {
    let reason: Reason = refusal.reason;
    metrics.rejected(reason);
    if reason.fate() != Fate::Keep
        && let Some(exchange) = exchange
    {
        exchange.close_after();
    }
    let mut response = refusal.into_response(exchange.map_or("", Exchange::id));
    response.extensions_mut().insert(reason);
    response
}

impl<S, B, R> Service<Request<B>> for Answer<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
{
    type Response = Response<EitherBody<R>>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A service that refuses to be ready says so again when it is called.
        match ready!(self.inner.poll_ready(cx)) {
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request).cloned();
        AnswerFuture { inner: self.inner.call(request), exchange, metrics: self.metrics.clone() }
    }
}

pin_project! {
    /// The answer from further in, or that to its refusal.
    #[derive(Debug)]
    pub struct AnswerFuture<F> {
        #[pin]
        inner: F,
        exchange: Option<Arc<Exchange>>,
        metrics: Arc<Metrics>,
    }
}

impl<F, R> Future for AnswerFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
{
    type Output = Result<Response<EitherBody<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let exchange = this.exchange.as_deref();
        let own = |refusal| answer(refusal, exchange, this.metrics).map(EitherBody::own);
        Poll::Ready(Ok(match ready!(this.inner.poll(cx)) {
            Err(refusal) => own(refusal),
            Ok(mut response) => match response.extensions_mut().remove::<Refusal>() {
                // A handler can refuse as well, by leaving the refusal beside its answer.
                Some(refusal) => own(refusal),
                None => response.map(EitherBody::inner),
            },
        }))
    }
}
