//! Goes where the route leads.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::Service;

use super::{Route, Target, is_ambiguous};
use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::handler::body::AnswerBody;
use crate::handler::router::AppFuture;
use crate::refusal::{Reason, Refusal};

/// The service behind all layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dispatch;

type Boxed = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Refusal>> + Send>>;

impl<B> Service<Request<B>> for Dispatch
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Refusal;
    type Future = DispatchFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request).cloned();
        let chosen = exchange.as_ref().and_then(|exchange| exchange.chosen.get());
        let route = chosen.and_then(|route| route.clone().downcast::<Route>().ok());
        let (Some(exchange), Some(route)) = (&exchange, route) else {
            return DispatchFuture::refused(Refusal::new(Reason::InternalError, "no route was chosen"));
        };
        match &route.target {
            Target::App(app) => DispatchFuture::App { inner: app.clone().call(request) },
            Target::Proxy(_) if is_ambiguous(request.uri().path()) => {
                let detail = "the path can be read in more than one way";
                DispatchFuture::refused(Refusal::new(Reason::InvalidPath, detail))
            }
            Target::Proxy(proxy) => {
                let (parts, body) = request.into_parts();
                DispatchFuture::Boxed { inner: Box::pin(proxy.forward(parts, body, exchange.clone())) }
            }
            Target::Files(files) => {
                let files = files.clone();
                let (parts, _) = request.into_parts();
                let inner = async move {
                    let path = parts.uri.path().to_owned();
                    // A path that only meets its route once it is decoded is none that a page of
                    // these files would hold.
                    let rest = route
                        .rest(&path)
                        .ok_or_else(|| Refusal::new(Reason::InvalidPath, "the path is oddly encoded"))?;
                    files.serve(&parts, rest).await.map(boxed)
                };
                DispatchFuture::Boxed { inner: Box::pin(inner) }
            }
            Target::Fixed(fixed) => {
                let (parts, _) = request.into_parts();
                let rest = route.rest(parts.uri.path()).unwrap_or("/");
                let answer = boxed(fixed.answer(&parts, rest));
                DispatchFuture::Ready { answer: Some(Ok(answer)) }
            }
            Target::Nothing => {
                DispatchFuture::refused(Refusal::new(Reason::NotFound, "no route leads to this path"))
            }
        }
    }
}

fn boxed(response: Response<Body>) -> Response<AnswerBody> {
    response.map(|body| AnswerBody::Boxed { body: body.map_err(Into::into).boxed_unsync() })
}

pin_project_lite::pin_project! {
    /// The answer of what the route leads to.
    #[project = DispatchProjection]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum DispatchFuture {
        /// Of the application.
        App { #[pin] inner: AppFuture },
        /// Of something that takes its time.
        Boxed { inner: Boxed },
        /// Known already.
        Ready { answer: Option<Result<Response<AnswerBody>, Refusal>> },
    }
}

impl DispatchFuture {
    fn refused(refusal: Refusal) -> Self {
        Self::Ready { answer: Some(Err(refusal)) }
    }
}

impl std::fmt::Debug for DispatchFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatchFuture").finish_non_exhaustive()
    }
}

impl Future for DispatchFuture {
    type Output = Result<Response<AnswerBody>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            DispatchProjection::App { inner } => {
                let response = ready!(inner.poll(cx))?;
                Poll::Ready(Ok(response.map(|body| AnswerBody::App { body })))
            }
            DispatchProjection::Boxed { inner } => inner.as_mut().poll(cx),
            DispatchProjection::Ready { answer } => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            },
        }
    }
}
