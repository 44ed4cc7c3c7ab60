//! The shape of every refusal that needs nothing but the head: look at it, pass it on or refuse it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::refusal::Refusal;

/// A question about a request head that needs nothing but the head.
pub trait Check {
    /// Refuses the request, or lets it pass.
    ///
    /// # Errors
    /// The refusal, where there is one.
    fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal>;
}

/// Checks one after the other: the first that refuses decides. As one layer they move a request
/// along once, where a layer each would move it six times.
macro_rules! in_turn {
    ($($check:ident $place:tt),+) => {
        impl<$($check: Check),+> Check for ($($check,)+) {
            fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
                $(self.$place.check(request)?;)+
                Ok(())
            }
        }
    };
}
in_turn!(A 0, C 1, D 2, E 3, F 4, G 5);

/// Puts a [`Check`] in front of a service.
#[derive(Debug, Clone, Copy)]
pub struct CheckLayer<C>(pub C);

impl<S, C: Clone> Layer<S> for CheckLayer<C> {
    type Service = Checked<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, check: self.0.clone() }
    }
}

/// A service behind a [`Check`].
#[derive(Debug, Clone)]
pub struct Checked<S, C> {
    inner: S,
    check: C,
}

impl<S, C, B, R> Service<Request<B>> for Checked<S, C>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
    C: Check,
{
    type Response = Response<R>;
    type Error = Refusal;
    type Future = CheckedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check.check(&request) {
            Ok(()) => CheckedFuture::Passed { inner: self.inner.call(request) },
            Err(refusal) => CheckedFuture::Refused { refusal: Some(refusal) },
        }
    }
}

pin_project! {
    /// The answer from further in, or the refusal.
    #[project = CheckedProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum CheckedFuture<F> {
        /// The request was passed on.
        Passed { #[pin] inner: F },
        /// It was not.
        Refused { refusal: Option<Refusal> },
    }
}

impl<F, T> Future for CheckedFuture<F>
where
    F: Future<Output = Result<T, Refusal>>,
{
    type Output = Result<T, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CheckedProjection::Passed { inner } => Poll::Ready(ready!(inner.poll(cx))),
            CheckedProjection::Refused { refusal } => match refusal.take() {
                Some(refusal) => Poll::Ready(Err(refusal)),
                // Polled again after it was ready, which a future need not answer.
                None => Poll::Pending,
            },
        }
    }
}
