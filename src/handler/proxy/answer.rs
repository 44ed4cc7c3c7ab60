//! The body of an upstream's answer on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Inner;
use super::balance::Lease;
use super::fields::filtered;
use super::http1::{Broken, Http1};
use super::http2::Stream;
use super::pool::{Counted, Pool};
use super::series::Series;
use crate::body::BoxError;
use crate::deadline::Deadline;
use crate::refusal::{Reason, Refusal};
use crate::trace::Attempt;

/// A body that an upstream sends. It is passed on as it comes.
#[derive(Debug)]
pub struct UpstreamBody(Box<Streaming>);

#[derive(Debug)]
struct Streaming {
    carrier: Carrier,
    proxy: Arc<Inner>,
    /// The address counts it in flight until the last byte.
    lease: Lease<Pool>,
    _active: Counted<Series>,
    clock: Option<Pin<Box<Deadline>>>,
    waiting: bool,
    /// What was read before anybody asked.
    ahead: Option<Frame<Bytes>>,
    /// The attempt that it is the answer of, where that is recorded.
    span: Option<Box<Attempt>>,
}

/// What brings the bytes.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A connection of our own, which we drive.
    Http1(Box<Http1>),
    /// A stream on one that is driven elsewhere, held for its place there; and its body.
    Http2(#[expect(dead_code, reason = "it counts for as long as it is held")] Stream, Incoming),
    /// Given back, or given up.
    None,
}

impl Carrier {
    /// Bytes that are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Http1(connection) => connection.left(),
            Self::Http2(_, body) => body.size_hint().exact(),
            Self::None => Some(0),
        }
    }

    /// The next frame, or that there is none yet.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Http1(connection) => connection.poll_frame(cx),
            Self::Http2(_, body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| Broken)))
            }
            Self::None => Poll::Ready(None),
        }
    }

    /// Takes in what has come with the head: an answer that is broken right from its beginning can
    /// still be told from a good one.
    pub(super) fn look_ahead(&mut self, cx: &mut Context<'_>) -> Result<Option<Frame<Bytes>>, Refusal> {
        if self.is_end() {
            return Ok(None);
        }
        match self.next(cx) {
            Poll::Pending | Poll::Ready(None) => Ok(None),
            Poll::Ready(Some(Ok(frame))) => Ok(Some(filtered(frame))),
            Poll::Ready(Some(Err(_))) => Err(broken()),
        }
    }

    /// Whether nothing is to come any more.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_end(),
            Self::Http2(_, body) => body.is_end_stream(),
            Self::None => true,
        }
    }
}

impl UpstreamBody {
    pub(super) fn new(
        carrier: Carrier,
        ahead: Option<Frame<Bytes>>,
        proxy: Arc<Inner>,
        lease: Lease<Pool>,
        active: Counted<Series>,
        span: Option<Box<Attempt>>,
    ) -> Self {
        Self(Box::new(Streaming {
            carrier,
            proxy,
            lease,
            _active: active,
            clock: None,
            waiting: false,
            ahead,
            span,
        }))
    }
}

impl Streaming {
    /// The last byte is here: the connection may carry another request.
    fn ends(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end();
        }
        let carrier = std::mem::replace(&mut self.carrier, Carrier::None);
        self.proxy.give_back(carrier, &self.lease);
    }

    /// A frame on its way to the client.
    fn passes(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        self.waiting = false;
        // Nobody asks a body that says so for its end, nor behind trailers.
        if frame.is_trailers() || self.carrier.is_end() {
            self.ends();
        }
        filtered(frame)
    }

    /// The attempt ends with this.
    fn fails(&mut self, reason: Reason) {
        if let Some(mut span) = self.span.take() {
            span.fail(reason.label());
        }
    }

    /// The answer cannot be read any further.
    fn breaks(&mut self) -> Refusal {
        self.carrier = Carrier::None;
        self.fails(Reason::UpstreamInvalid);
        broken()
    }

    /// Waits for the upstream, and not for ever.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        let timeout = self.proxy.options.upstream.read_timeout;
        let clock = self.clock.get_or_insert_with(|| Box::pin(Deadline::after(timeout)));
        if !std::mem::replace(&mut self.waiting, true) {
            clock.as_mut().reset(Instant::now() + timeout);
        }
        ready!(clock.as_mut().poll(cx));
        self.carrier = Carrier::None;
        self.fails(Reason::UpstreamTimeout);
        let detail = format!("no byte of the upstream's answer came for {} ms", timeout.as_millis());
        Poll::Ready(Refusal::new(Reason::UpstreamTimeout, detail).limit("upstream.read_timeout"))
    }
}

fn broken() -> Refusal {
    Refusal::new(Reason::UpstreamInvalid, "the upstream's answer is malformed, or ended before its end")
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self.0;
        if let Some(frame) = this.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.carrier.next(cx) {
            Poll::Pending => this.wait(cx).map(|refusal| Some(Err(refusal.into()))),
            Poll::Ready(None) => {
                this.ends();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.breaks().into()))),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(this.passes(frame)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.ahead.is_none() && self.0.carrier.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.0.ahead.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        match self.0.carrier.left() {
            Some(left) => SizeHint::with_exact(left + ahead),
            None => SizeHint::default(),
        }
    }
}
