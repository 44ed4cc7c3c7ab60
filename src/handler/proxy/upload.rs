//! The request body on its way to the upstream.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::fields::filtered;
use crate::body::BoxError;

type Inner = UnsyncBoxBody<Bytes, BoxError>;

/// A client's body, which one attempt after the other may try to send, until one has begun.
#[derive(Debug)]
pub(super) struct Source {
    body: Mutex<Option<Inner>>,
    exact: Option<u64>,
    /// Whether the client was told to go on, or does not wait to be told.
    open: AtomicBool,
    opened: AtomicWaker,
    begun: AtomicBool,
    waiting: AtomicBool,
    ended: AtomicBool,
    /// Whoever waits for that: the body may be sent by another task.
    ending: AtomicWaker,
    failed: AtomicBool,
}

impl Source {
    /// A body; `waits` until [`Source::open`] if its client wants to be told to send it.
    pub(super) fn new<B>(body: B, waits: bool) -> Arc<Self>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Arc::new(Self {
            exact: body.size_hint().exact(),
            body: Mutex::new(Some(body.boxed_unsync())),
            open: AtomicBool::new(!waits),
            opened: AtomicWaker::new(),
            begun: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            ending: AtomicWaker::new(),
            failed: AtomicBool::new(false),
        })
    }

    /// How long it is, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        self.exact
    }

    /// The body may be read, which is what tells the client to send it.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.opened.wake();
    }

    /// Whether any of it was read.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Whether more of it was asked for than the client has sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether all of it was; wakes the task when it is.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        self.ending.register(cx.waker());
        self.ended.load(Ordering::Acquire)
    }

    fn ends(&self) {
        self.ended.store(true, Ordering::Release);
        self.ending.wake();
    }

    /// Whether it was the body that failed, and not the upstream.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// What one attempt sends.
    pub(super) fn lend(self: &Arc<Self>) -> Upload {
        Upload::Lent { source: self.clone(), body: None }
    }
}

/// A request body as one attempt sends it.
#[derive(Debug)]
pub(super) enum Upload {
    /// There is none.
    Empty,
    /// The client's.
    Lent {
        /// Where it comes from.
        source: Arc<Source>,
        /// Taken out with the first byte.
        body: Option<Inner>,
    },
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self::Lent { source, body } = &mut *self else { return Poll::Ready(None) };
        if !source.open.load(Ordering::Acquire) {
            source.opened.register(cx.waker());
            if !source.open.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        if body.is_none() {
            source.begun.store(true, Ordering::Release);
            *body = source.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let Some(inner) = body else {
            return Poll::Ready(Some(Err("the body has been sent elsewhere".into())));
        };
        let frame = Pin::new(&mut *inner).poll_frame(cx);
        source.waiting.store(frame.is_pending(), Ordering::Release);
        let frame = ready!(frame);
        match &frame {
            None => source.ends(),
            Some(Err(_)) => source.failed.store(true, Ordering::Release),
            Some(Ok(_)) if inner.is_end_stream() => source.ends(),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame.map(|frame| frame.map(filtered)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Lent { body, .. } => body.as_ref().is_some_and(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Lent { body: Some(body), .. } => body.size_hint(),
            Self::Lent { source, body: None } => {
                source.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
