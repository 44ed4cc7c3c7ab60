//! From hyper's request to the layers, and from their answer back to hyper.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;

use super::context::Context;
use super::date;
use super::http2::Streams;
use super::outgoing::{ConnBody, Running};
use super::secure;
use super::send_watch::SendLimits;
use super::state::{ConnState, Order};
use super::upload::Upload;
use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::lifecycle::Phase;
use crate::memory::{Charge, FEW, Purpose, STREAM};
use crate::protocol::Protocol;
use crate::refusal::Reason;
use crate::seen::Seen;
use crate::stage::Asked;

/// Everything between the connection and the handler.
pub trait Stack:
    Service<
        Asked<Upload>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error = BoxError> + Send + 'static;
}

impl<S, B> Stack for S
where
    S: Service<Asked<Upload>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Body = B;
}

/// What the service knows of the wire under it.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    /// HTTP/1, with a request that wishes for another protocol; whether its target had a fragment.
    Http1 { fragment: bool },
    /// HTTP/2, and its streams.
    Http2(Arc<Streams>),
}

/// The service of one connection.
#[derive(Debug)]
pub(crate) struct ConnService<S> {
    stack: RefCell<S>,
    state: Arc<ConnState>,
    context: Arc<Context>,
    wire: Wire,
}

impl<S> ConnService<S> {
    /// Serves the requests of one connection with `stack`.
    pub(crate) fn new(stack: S, state: Arc<ConnState>, context: Arc<Context>, wire: Wire) -> Self {
        Self { stack: RefCell::new(stack), state, context, wire }
    }
}

/// What is known of a request whose head is whole: the `number`th of its connection, `started` with its
/// first byte.
pub(super) fn exchange<B>(
    state: &ConnState,
    context: &Context,
    protocol: Protocol,
    request: &Request<B>,
    started: Instant,
    number: u64,
) -> Exchange {
    let peer = state.peer();
    let trusted = &context.trusted;
    let client = trusted.client(peer.ip(), request.headers());
    let mut exchange = Exchange::new(peer, client, protocol, started);
    exchange.trusted_peer = trusted.trusts(peer.ip());
    exchange.tls = state.tls.version();
    if exchange.tls.is_some() {
        exchange.client_certificate = secure::certificate(state);
    }
    exchange.probe_only = state.probe_only();
    exchange.share = state.share().cloned();
    exchange.promised = (state.accepted_in_drain && number == 1)
        || (protocol == Protocol::Http2 && !state.was_told_long_ago());
    exchange
}

/// How slowly the answer of this request may be taken, where its route says otherwise than the server.
pub(super) fn own_send_limits(running: &Running) -> Option<SendLimits> {
    let policy = running.exchange.policy()?;
    let own = SendLimits { timeout: policy.write_timeout, min_rate: policy.min_send_rate };
    (own != running.context.limits.send).then_some(own)
}

impl<S> ConnService<S> {
    /// What the memory of the next request is charged as.
    fn purpose(&self) -> Purpose {
        match &self.wire {
            Wire::Http2(streams) if streams.open_now() >= FEW => Purpose::More,
            _ => Purpose::Work,
        }
    }

    /// Charges what a stream holds whatever becomes of it; `None` where there is no room.
    fn stream_memory(&self, purpose: Purpose) -> Option<Charge> {
        let charge = self.context.memory.open(self.state.share().cloned());
        // Those of probes are few, and paid for with their connection.
        let paid = self.state.probe_only().is_some() || charge.add(STREAM, purpose).is_ok();
        paid.then_some(charge)
    }

    /// The route is known by now, and with it how slowly its answers may be taken.
    fn hold_to_route(&self, running: &Running) {
        let own = own_send_limits(running);
        match (&self.wire, &running.stream) {
            (Wire::Http1 { .. }, _) => self.state.hold_to(own),
            (Wire::Http2(streams), Some(stream)) => {
                if let Some(own) = own {
                    streams.hold_to(stream, own);
                }
            }
            (Wire::Http2(_), None) => {}
        }
    }
}

impl<S: Stack> hyper::service::Service<Request<Incoming>> for ConnService<S> {
    type Response = Response<ConnBody<S::Body>>;
    type Error = h2::Error;
    type Future = ConnFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let purpose = self.purpose();
        let stream = match &self.wire {
            Wire::Http1 { .. } => None,
            Wire::Http2(streams) => match self.stream_memory(purpose) {
                Some(charge) => Some(streams.open(charge)),
                None => {
                    self.context.refused(Reason::Overloaded, self.state.peer().ip(), Protocol::Http2);
                    return ConnFuture { inner: None, number: 0, running: None };
                }
            },
        };
        let (protocol, fragment, (started, number)) = match self.wire {
            Wire::Http1 { fragment } => (Protocol::Http1, fragment, self.state.request_begins()),
            Wire::Http2(_) => (Protocol::Http2, false, self.state.stream_begins()),
        };
        let mut exchange = exchange(&self.state, &self.context, protocol, &request, started, number);
        exchange.fragment = fragment;
        exchange.purpose = purpose;
        exchange.seen = self
            .context
            .evidence
            .as_ref()
            .map(|evidence| Box::new(Seen::fields(&request, evidence.body_bytes())));
        if request.body().is_end_stream() {
            exchange.body_ends();
        }
        let exchange = Arc::new(exchange);
        let asked = exchange.clone();
        let running = Running {
            state: self.state.clone(),
            context: self.context.clone(),
            exchange,
            stream,
            answered: false,
            head: request.method() == Method::HEAD,
        };
        let request = request.map(|body| Upload::of_stream(body, &self.state));
        let inner = self.stack.borrow_mut().call(Asked { request, exchange: asked });
        self.hold_to_route(&running);
        ConnFuture { inner: Some(inner), number, running: Some(running) }
    }
}

impl Running {
    /// Whether this is the last answer on its connection.
    pub(super) fn is_last(&self, number: u64) -> bool {
        let limits = &self.context.limits;
        self.exchange.closes()
            || number >= limits.max_requests
            || self.context.lifecycle.phase() >= Phase::Draining
            || self.state.probe_only().is_some()
            || self.state.is_old_at(self.exchange.started)
    }
}

pin_project! {
    /// The answer on its way to the connection.
    pub(crate) struct ConnFuture<F> {
        // `None`: the stream is refused, and may be asked for again (RFC 9113 section 8.7).
        #[pin]
        inner: Option<F>,
        number: u64,
        running: Option<Running>,
    }
}

impl<F, B> Future for ConnFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body,
{
    type Output = Result<Response<ConnBody<B>>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Err(h2::Reason::REFUSED_STREAM.into()));
        };
        let mut response = match ready!(inner.poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let Some(mut running) = this.running.take() else { return Poll::Pending };
        running.state.answer_begins();
        response.headers_mut().entry(header::DATE).or_insert_with(date::now);
        if running.stream.is_some() {
            if running.head
                && let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0)
            {
                // The answer ends with its head, and still tells of the body that it stands for.
                response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
            }
            // Fields of the connection have no place on a stream (RFC 9113 section 8.2.2).
            response.headers_mut().remove(header::CONNECTION);
            // A stream that was refused is answered alone; only what concerns the connection
            // as a whole ends it.
            if number_or_life(&running, *this.number) {
                running.state.order(Order::GoAway);
            }
        } else if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            running.state.upgrades();
        } else if running.is_last(*this.number) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        running.answered = running.head || response.body().is_end_stream();
        Poll::Ready(Ok(response.map(|body| ConnBody::new(body, running))))
    }
}

/// Whether an HTTP/2 connection has served its time.
fn number_or_life(running: &Running, number: u64) -> bool {
    let limits = &running.context.limits;
    number >= limits.max_requests
        || running.state.probe_only().is_some()
        || running.state.is_old_at(running.exchange.started)
        // A connection from before the drain is told in its turn, by the spread over the delay.
        || (running.state.accepted_in_drain && running.context.lifecycle.phase() >= Phase::Draining)
}
