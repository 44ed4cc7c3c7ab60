//! `limits.max_in_flight`: requests being served at a time, 503 with `Retry-After` beyond it.
//!
//! A request counts until the last byte of its response body: an answer that is still streaming
//! costs as much as one that is still being made.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};

/// Bounds the requests in flight. Clones of the layer share one count.
#[derive(Debug, Clone)]
pub struct InFlightLayer {
    max: usize,
    count: Arc<AtomicUsize>,
}

impl InFlightLayer {
    /// Serves `max` requests at a time.
    pub fn new(max: usize) -> Self {
        Self { max, count: Arc::default() }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight { inner, limit: self.clone() }
    }
}

/// A service that serves so many requests at a time.
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    limit: InFlightLayer,
}

/// One request's share of the limit, given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlightLayer {
    fn acquire(&self) -> Result<Permit, Refusal> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        // From here on the permit gives back what was taken, also on the way out of an error.
        let permit = Permit(self.count.clone());
        if before < self.max {
            return Ok(permit);
        }
        Err(Refusal::new(Reason::Overloaded, format!("{} requests are being served", self.max))
            .limit("limits.max_in_flight")
            .retry_after(Duration::from_secs(1)))
    }
}

impl<S, B, R> Service<Request<B>> for InFlight<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
{
    type Response = Response<PermitBody<R>>;
    type Error = Refusal;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.limit.acquire() {
            Ok(permit) => {
                let mut permit = Some(permit);
                // A tunnel outlives its answer, and counts for as long as it is open: whoever runs
                // it takes a share of what the exchange holds.
                if request.headers().contains_key(header::UPGRADE)
                    && let Some(exchange) = Exchange::of(&request)
                    && let Some(permit) = permit.take()
                {
                    let _ = exchange.permit.set(Arc::new(permit));
                }
                InFlightFuture::Serving { inner: self.inner.call(request), permit }
            }
            Err(refusal) => InFlightFuture::Refused { refusal: Some(refusal) },
        }
    }
}

pin_project! {
    /// The answer from further in, which takes the permit along; or the refusal.
    #[project = InFlightProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum InFlightFuture<F> {
        /// Counted.
        Serving { #[pin] inner: F, permit: Option<Permit> },
        /// Not served.
        Refused { refusal: Option<Refusal> },
    }
}

impl<F, R> Future for InFlightFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
{
    type Output = Result<Response<PermitBody<R>>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            InFlightProjection::Serving { inner, permit } => {
                let response = ready!(inner.poll(cx))?;
                Poll::Ready(Ok(response.map(|body| PermitBody { body, permit: permit.take() })))
            }
            InFlightProjection::Refused { refusal } => match refusal.take() {
                Some(refusal) => Poll::Ready(Err(refusal)),
                None => Poll::Pending,
            },
        }
    }
}

pin_project! {
    /// A response body that counts as in flight until it is dropped.
    #[derive(Debug)]
    pub struct PermitBody<B> {
        #[pin]
        body: B,
        permit: Option<Permit>,
    }
}

impl<B: Body> Body for PermitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_given_back_and_a_refusal_takes_none() {
        let limit = InFlightLayer::new(1);
        let first = limit.acquire().unwrap();
        assert_eq!(limit.acquire().unwrap_err().reason, Reason::Overloaded);
        assert_eq!(limit.acquire().unwrap_err().retry_after, Some(Duration::from_secs(1)));
        drop(first);
        assert!(limit.acquire().is_ok());
    }
}
