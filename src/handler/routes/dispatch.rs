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
use crate::handler::body::AnswerBody;
use crate::handler::router::AppFuture;
use crate::refusal::{Reason, Refusal};
use crate::stage::Inbound;

/// The service behind all layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dispatch;

type Boxed = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Refusal>> + Send>>;

impl<B> Service<Request<Inbound<B>>> for Dispatch
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Refusal;
    type Future = DispatchFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Inbound<B>>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let chosen = body.exchange().and_then(|exchange| Some((exchange, exchange.chosen()?)));
        let Some((exchange, route)) =
            chosen.and_then(|(exchange, route)| Some((exchange, route.downcast_ref::<Route>()?)))
        else {
            return DispatchFuture::refused(Refusal::new(Reason::InternalError, "no route was chosen"));
        };
        match &route.target {
            Target::App(app) => {
                let mut app = app.clone();
                DispatchFuture::App { inner: app.call(Request::from_parts(parts, body)) }
            }
            Target::Proxy(_) if is_ambiguous(parts.uri.path()) => {
                let detail = "the path can be read in more than one way";
                DispatchFuture::refused(Refusal::new(Reason::InvalidPath, detail))
            }
            Target::Proxy(proxy) => {
                let (proxy, exchange) = (proxy.clone(), exchange.clone());
                DispatchFuture::Boxed { inner: Box::pin(proxy.forward(parts, body, exchange)) }
            }
            Target::Files(files) => {
                // A path that only meets its route once it is decoded is none that a page of
                // these files would hold.
                let Some(rest) = route.rest(parts.uri.path()).map(str::to_owned) else {
                    let refusal = Refusal::new(Reason::InvalidPath, "the path is oddly encoded");
                    return DispatchFuture::refused(refusal);
                };
                let files = files.clone();
                let inner = async move { files.serve(&parts, &rest).await.map(boxed) };
                DispatchFuture::Boxed { inner: Box::pin(inner) }
            }
            Target::Fixed(fixed) => {
                let rest = || route.rest(parts.uri.path()).unwrap_or("/");
                let fields = std::mem::take(&mut parts.headers);
                let answer = fixed.answer(&parts.method, &parts.uri, rest, fields);
                DispatchFuture::Ready { answer: Some(Ok(answer.map(AnswerBody::whole))) }
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
