//! An axum router at the end of the layers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower::{Layer, Service};
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanic;

use super::catch_panic::{self, OnPanic};
use crate::body::BoxError;
use crate::refusal::Refusal;
use crate::stage::Inbound;

type Inner = CatchPanic<Router, OnPanic>;
type InnerFuture = <Inner as Service<Request<Body>>>::Future;

/// The application.
#[derive(Clone)]
pub struct AppHandler {
    router: Inner,
}

impl std::fmt::Debug for AppHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppHandler").finish_non_exhaustive()
    }
}

impl AppHandler {
    /// Serves with `router`.
    pub fn new(router: Router) -> Self {
        Self { router: catch_panic::layer().layer(router) }
    }
}

impl<B> Service<Request<Inbound<B>>> for AppHandler
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = Refusal;
    type Future = AppFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Inbound<B>>) -> Self::Future {
        // Handlers find it among the extensions.
        if let Some(exchange) = request.body().exchange().cloned() {
            request.extensions_mut().insert(exchange);
        }
        // Most requests have no body, and an empty one needs no box.
        let request =
            request.map(|body| if body.inner().is_end_stream() { Body::empty() } else { Body::new(body) });
        AppFuture(Box::pin(self.router.call(request)))
    }
}

/// The application's answer. The one box on the way: who waits for this future moves it along, and
/// would move all that the application waits for with it.
pub struct AppFuture(Pin<Box<InnerFuture>>);

impl std::fmt::Debug for AppFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppFuture").finish_non_exhaustive()
    }
}

impl Future for AppFuture {
    type Output = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(self.0.as_mut().poll(cx)) {
            Ok(response) => Poll::Ready(Ok(response)),
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::Empty;

    use super::*;
    use crate::refusal::Reason;

    #[tokio::test]
    async fn a_handler_that_panics_costs_its_own_request() {
        async fn panics() -> &'static str {
            panic!("on purpose")
        }
        let router = Router::new().route("/panics", get(panics)).route("/fine", get(|| async { "fine" }));
        let mut app = AppHandler::new(router);
        let request = |path| {
            let body = Inbound::new(Empty::<Bytes>::new(), None);
            Request::builder().uri(path).body(body).unwrap()
        };
        let refused = app.call(request("/panics")).await.unwrap();
        let refusal = refused.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.reason, Reason::InternalError);
        // The message may hold anything, and is for the log alone.
        assert!(!refusal.detail.contains("purpose"));
        assert_eq!(app.call(request("/fine")).await.unwrap().status(), 200);
    }
}
