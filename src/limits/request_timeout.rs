//! `limits.request_timeout`: from the request head to the response head, 504 beyond it.
//!
//! The clock is only made once the answer is not there at once: most are.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::deadline::Deadline;
use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};

/// Gives a service so long to begin its answer.
#[derive(Debug, Clone, Copy)]
pub struct RequestTimeoutLayer(pub Duration);

impl<S> Layer<S> for RequestTimeoutLayer {
    type Service = RequestTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestTimeout { inner, timeout: self.0 }
    }
}

/// A service with a deadline.
#[derive(Debug, Clone)]
pub struct RequestTimeout<S> {
    inner: S,
    timeout: Duration,
}

impl<S, B, R> Service<Request<B>> for RequestTimeout<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
{
    type Response = Response<R>;
    type Error = Refusal;
    type Future = RequestTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let policy = Exchange::of(&request).and_then(|exchange| exchange.policy());
        let timeout = policy.map_or(Some(self.timeout), |policy| policy.request_timeout);
        RequestTimeoutFuture { inner: self.inner.call(request), timeout, clock: None }
    }
}

pin_project! {
    /// The answer from further in, or the refusal at the deadline.
    #[derive(Debug)]
    pub struct RequestTimeoutFuture<F> {
        #[pin]
        inner: F,
        timeout: Option<Duration>,
        clock: Option<Pin<Box<Deadline>>>,
    }
}

impl<F, T> Future for RequestTimeoutFuture<F>
where
    F: Future<Output = Result<T, Refusal>>,
{
    type Output = Result<T, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        let Some(timeout) = *this.timeout else { return Poll::Pending };
        let clock = this.clock.get_or_insert_with(|| Box::pin(Deadline::after(timeout)));
        match clock.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Refusal::new(
                Reason::RequestTimeout,
                format!("no answer within {} ms", timeout.as_millis()),
            )
            .limit("limits.request_timeout"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_passes_and_a_late_one_is_refused() {
        let service = tower::service_fn(|request: Request<u64>| async move {
            sleep(Duration::from_millis(*request.body())).await;
            Ok(Response::new(()))
        });
        let mut service = RequestTimeoutLayer(Duration::from_millis(100)).layer(service);
        assert!(service.call(Request::new(99)).await.is_ok());
        let refusal = service.call(Request::new(101)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RequestTimeout);
    }
}
