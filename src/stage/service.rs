//! The service that leads a request through its stages, and the answer back.

use std::fmt;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::{Answering, Came, Inbound, Outbound, Stage, Stop};
use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// The stages of a service, from the outside in.
#[derive(Debug)]
pub struct Stages<O, A, I> {
    /// Those that are shown an answer for every request, refused or not, and refuse nothing.
    pub outer: O,
    /// What answers refusals.
    pub answer: A,
    /// Those that refuse.
    pub inner: I,
}

impl<O, A, I> Stages<O, A, I> {
    /// The service with these stages in front of `handler`.
    pub fn before<S>(self, handler: S) -> Staged<O, A, I, S> {
        Staged { stages: Arc::new(self), handler }
    }
}

/// A service behind stages. Clones share them.
#[derive(Debug)]
pub struct Staged<O, A, I, S> {
    stages: Arc<Stages<O, A, I>>,
    handler: S,
}

impl<O, A, I, S: Clone> Clone for Staged<O, A, I, S> {
    fn clone(&self) -> Self {
        Self { stages: self.stages.clone(), handler: self.handler.clone() }
    }
}

/// A request, and the exchange that it belongs to: what a connection asks of the stages.
#[derive(Debug)]
pub struct Asked<B> {
    /// What is asked.
    pub request: Request<B>,
    /// All else that is known of it.
    pub exchange: Arc<Exchange>,
}

/// One request on its way, with all that its stages hold.
struct Passage<O: Stage, A: Answering, I: Stage> {
    stages: Arc<Stages<O, A, I>>,
    exchange: Option<Arc<Exchange>>,
    outer: O::Held,
    inner: I::Held,
}

impl<O: Stage, A: Answering, I: Stage> Passage<O, A, I> {
    fn enter<B: Body>(&mut self, request: &mut Request<Inbound<B>>) -> Result<(), Stop> {
        let exchange = self.exchange.as_ref();
        self.stages.outer.enter(&mut self.outer, exchange, request)?;
        self.stages.inner.enter(&mut self.inner, exchange, request)
    }

    /// Leads an answer out.
    fn leave<B>(
        &mut self,
        answer: Result<Response<Outbound<B>>, Refusal>,
    ) -> Result<Response<Outbound<B>>, A::Error>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let stages = &*self.stages;
        let exchange = self.exchange.as_ref();
        let refusal;
        let mut response = match answer {
            Ok(mut response) => {
                refusal = match stages.inner.leave(&mut self.inner, exchange, &mut response) {
                    Ok(()) => stages.answer.left_beside(&mut response).map(|mut refused| {
                        stages.inner.refused(&mut self.inner, &mut refused);
                        refused
                    }),
                    Err(refusal) => Some(refusal),
                };
                response
            }
            Err(mut refused) => {
                stages.inner.refused(&mut self.inner, &mut refused);
                refusal = Some(refused);
                Response::new(Outbound::own(Bytes::new()))
            }
        };
        if let Some(refusal) = refusal {
            // What was held for the answer that is not given is given back.
            stages.inner.over(&mut self.inner, exchange);
            self.inner = I::Held::default();
            response = stages.answer.answer(refusal, exchange)?.map(Outbound::own);
        }
        // These refuse nothing.
        let _ = stages.outer.leave(&mut self.outer, exchange, &mut response);
        Ok(response)
    }

    fn frame(&mut self, frame: &mut Came) {
        self.stages.inner.frame(&mut self.inner, frame);
        self.stages.outer.frame(&mut self.outer, frame);
    }
}

impl<O: Stage, A: Answering, I: Stage> Drop for Passage<O, A, I> {
    fn drop(&mut self) {
        let exchange = self.exchange.as_ref();
        self.stages.inner.over(&mut self.inner, exchange);
        // Given back before the request is reported as over.
        drop(take(&mut self.inner));
        self.stages.outer.over(&mut self.outer, exchange);
    }
}

/// Goes on with a request that a stage has stopped for a while, and answers what its handler made of it.
/// Boxed: it is rare, and no other request pays for it.
type Later<F, O, A, I> =
    Box<dyn FnMut(&mut Passage<O, A, I>, &mut Context<'_>) -> Poll<Result<F, Stop>> + Send>;

fn later<O, A, I, S, B>(mut handler: S, request: Request<Inbound<B>>) -> Later<S::Future, O, A, I>
where
    O: Stage,
    A: Answering,
    I: Stage,
    S: Service<Request<Inbound<B>>> + Send + 'static,
    B: Body + Send + 'static,
{
    let mut waiting = Some(request);
    Box::new(move |passage, cx| {
        let Some(request) = &mut waiting else { return Poll::Pending };
        let Passage { stages, exchange, inner, .. } = passage;
        match stages.inner.resume(inner, exchange.as_ref(), request, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(stop)) => return Poll::Ready(Err(stop)),
            // Those that it has passed may lose patience.
            Poll::Pending => return stages.inner.wait(inner, cx).map(|refusal| Err(refusal.into())),
        }
        match waiting.take() {
            Some(request) => Poll::Ready(Ok(handler.call(request))),
            None => Poll::Pending,
        }
    })
}

impl<O: Stage, A: Answering, I: Stage, S> Staged<O, A, I, S> {
    fn lead<B, R>(
        &mut self,
        request: Request<B>,
        exchange: Option<Arc<Exchange>>,
    ) -> Passing<S::Future, O, A, I>
    where
        S: Service<Request<Inbound<B>>, Response = Response<R>, Error = Refusal> + Clone + Send + 'static,
        B: Body + Send + 'static,
    {
        let mut passage = Passage {
            stages: self.stages.clone(),
            exchange: exchange.clone(),
            outer: O::Held::default(),
            inner: I::Held::default(),
        };
        let mut request = request.map(|body| Inbound::new(body, exchange));
        let way = match passage.enter(&mut request) {
            Ok(()) => Way::In { inner: self.handler.call(request) },
            Err(Stop::Later) => Way::Waiting { later: later(self.handler.clone(), request) },
            Err(stop) => Way::Stopped { stop: Some(stop) },
        };
        Passing { way, passage: Some(passage) }
    }
}

/// A request by itself brings its exchange in its extensions, or has none.
impl<O, A, I, S, B, R> Service<Request<B>> for Staged<O, A, I, S>
where
    O: Stage,
    A: Answering,
    I: Stage,
    S: Service<Request<Inbound<B>>, Response = Response<R>, Error = Refusal> + Clone + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Passed<R, O, A, I>>;
    type Error = A::Error;
    type Future = Passing<S::Future, O, A, I>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        // A service that refuses to be ready says so again when it is called.
        self.handler.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request).cloned();
        self.lead(request, exchange)
    }
}

impl<O, A, I, S, B, R> Service<Asked<B>> for Staged<O, A, I, S>
where
    O: Stage,
    A: Answering,
    I: Stage,
    S: Service<Request<Inbound<B>>, Response = Response<R>, Error = Refusal> + Clone + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Passed<R, O, A, I>>;
    type Error = A::Error;
    type Future = Passing<S::Future, O, A, I>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        self.handler.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, Asked { request, exchange }: Asked<B>) -> Self::Future {
        self.lead(request, Some(exchange))
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<F, O: Stage, A: Answering, I: Stage> {
        In { #[pin] inner: F },
        Waiting { later: Later<F, O, A, I> },
        Stopped { stop: Option<Stop> },
    }
}

pin_project! {
    /// The answer from further in, led out through the stages.
    pub struct Passing<F, O: Stage, A: Answering, I: Stage> {
        #[pin]
        way: Way<F, O, A, I>,
        passage: Option<Passage<O, A, I>>,
    }
}

impl<F, O: Stage, A: Answering, I: Stage> fmt::Debug for Passing<F, O, A, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").finish_non_exhaustive()
    }
}

impl<F, R, O, A, I> Future for Passing<F, O, A, I>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    O: Stage,
    A: Answering,
    I: Stage,
{
    type Output = Result<Response<Passed<R, O, A, I>>, A::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Polled again after it was ready, which a future need not answer.
        let Some(passage) = this.passage else { return Poll::Pending };
        if let WayProjection::Waiting { later } = this.way.as_mut().project() {
            let way = match ready!(later(passage, cx)) {
                Ok(inner) => Way::In { inner },
                Err(stop) => Way::Stopped { stop: Some(stop) },
            };
            this.way.set(way);
        }
        let answer = match this.way.project() {
            WayProjection::In { inner } => match inner.poll(cx) {
                Poll::Ready(answer) => answer.map(|response| response.map(Outbound::handler)),
                Poll::Pending => {
                    let Passage { stages, inner, .. } = passage;
                    Err(ready!(stages.inner.wait(inner, cx)))
                }
            },
            WayProjection::Waiting { .. } => return Poll::Pending,
            WayProjection::Stopped { stop } => match stop.take() {
                // Where nothing further in can be waited for, nobody would ever go on.
                None | Some(Stop::Later) => return Poll::Pending,
                Some(Stop::Refused(refusal)) => Err(refusal),
                Some(Stop::Answered(response)) => Ok((*response).map(Outbound::own)),
            },
        };
        let answer = passage.leave(answer);
        let passage = this.passage.take();
        Poll::Ready(answer.map(|response| response.map(|body| Passed { body, passage })))
    }
}

pin_project! {
    /// A response body that takes along what its stages hold, to its end.
    pub struct Passed<B, O: Stage, A: Answering, I: Stage> {
        #[pin]
        body: Outbound<B>,
        passage: Option<Passage<O, A, I>>,
    }
}

impl<B, O: Stage, A: Answering, I: Stage> fmt::Debug for Passed<B, O, A, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").finish_non_exhaustive()
    }
}

impl<B, O, A, I> Body for Passed<B, O, A, I>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: Stage,
    A: Answering,
    I: Stage,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let mut frame = ready!(this.body.poll_frame(cx));
        if let Some(passage) = this.passage {
            passage.frame(&mut frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let may_end = |passage: &Passage<O, A, I>| {
            passage.stages.inner.may_end(&passage.inner) && passage.stages.outer.may_end(&passage.outer)
        };
        self.body.is_end_stream() && self.passage.as_ref().is_none_or(may_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
