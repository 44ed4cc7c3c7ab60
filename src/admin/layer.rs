//! The endpoints as a layer in front of the app.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{AdminState, Endpoint};
use crate::body::EitherBody;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::telemetry::metrics::ADMIN_ROUTES;

/// Answers the endpoints, and passes everything else on.
#[derive(Debug, Clone)]
pub struct EndpointsLayer {
    /// What they tell about.
    pub state: Arc<AdminState>,
    /// The probes alone: the rest is on a port of its own.
    pub probes_only: bool,
}

impl<S> Layer<S> for EndpointsLayer {
    type Service = Endpoints<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Endpoints { inner, endpoints: self.clone() }
    }
}

/// A service behind the endpoints.
#[derive(Debug, Clone)]
pub struct Endpoints<S> {
    inner: S,
    endpoints: EndpointsLayer,
}

impl<S, B, R> Service<Request<B>> for Endpoints<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
{
    type Response = Response<EitherBody<R>>;
    type Error = Refusal;
    type Future = EndpointsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let EndpointsLayer { state, probes_only } = &self.endpoints;
        let endpoint = Endpoint::of(request.uri().path()).filter(|it| it.is_probe() || !probes_only);
        let Some(endpoint) = endpoint else {
            return EndpointsFuture::Passed { inner: self.inner.call(request) };
        };
        if let Some(exchange) = Exchange::of(&request) {
            // The admin routes are the first, after the route that is none.
            let place = ADMIN_ROUTES.iter().position(|path| *path == endpoint.path()).unwrap_or(0);
            exchange.set_route(u32::try_from(place + 1).unwrap_or(0));
        }
        EndpointsFuture::Answered { answer: Some(state.answer(endpoint, request.method())) }
    }
}

pin_project! {
    /// The endpoint's answer, or that from further in.
    #[project = EndpointsProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum EndpointsFuture<F> {
        /// Not one of them.
        Passed { #[pin] inner: F },
        /// One of them.
        Answered { answer: Option<Result<Response<Bytes>, Refusal>> },
    }
}

impl<F, R> Future for EndpointsFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
{
    type Output = Result<Response<EitherBody<R>>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            EndpointsProjection::Passed { inner } => {
                Poll::Ready(ready!(inner.poll(cx)).map(|response| response.map(EitherBody::inner)))
            }
            EndpointsProjection::Answered { answer } => match answer.take() {
                Some(answer) => Poll::Ready(answer.map(|response| response.map(EitherBody::own))),
                None => Poll::Pending,
            },
        }
    }
}
