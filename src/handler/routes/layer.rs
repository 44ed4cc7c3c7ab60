//! Chooses the route.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use super::Routes;
use crate::exchange::Exchange;

/// Chooses each request's route, and tells the layers further in what it asks of them: both are told
/// to the request's [`Exchange`], without which there is no route.
#[derive(Debug, Clone)]
pub struct RouteLayer(pub Routes);

impl<S> Layer<S> for RouteLayer {
    type Service = Routed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Routed { inner, routes: self.0.clone() }
    }
}

/// A service whose requests have a route.
#[derive(Debug, Clone)]
pub struct Routed<S> {
    inner: S,
    routes: Routes,
}

impl<S, B> Service<Request<B>> for Routed<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(exchange) = Exchange::of(&request) {
            let route = self.routes.choose(&request);
            exchange.choose(&route.policy);
            let _ = exchange.chosen.set(route);
        }
        self.inner.call(request)
    }
}
