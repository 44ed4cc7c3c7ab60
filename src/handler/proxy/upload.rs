//! The request body on its way to the upstream.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::fields::filtered;
use crate::body::BoxError;

type Inner = UnsyncBoxBody<Bytes, BoxError>;

/// Bytes of a body at most that are kept for another attempt.
///
/// SECURITY: each request in flight may hold them; they are within what one is reckoned to hold.
const KEPT: usize = 4 << 10;

/// A client's body, which one attempt after the other may try to send, until more of it has been read
/// than is kept.
#[derive(Debug)]
pub(super) struct Source {
    held: Mutex<Held>,
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

/// The body, and what has been read of it.
#[derive(Debug)]
struct Held {
    body: Inner,
    /// All that was read, while it is little and somebody may want it again.
    kept: Option<Vec<Bytes>>,
    /// The attempt that may read.
    attempt: u32,
    /// The last attempt that has read anything.
    reader: Option<u32>,
    /// There is nothing more to be read.
    done: bool,
}

impl Held {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        let before: usize = kept.iter().map(Bytes::len).sum();
        match frame.data_ref() {
            // A copy: what was read may be a small part of a large buffer.
            Some(data) if before + data.len() <= KEPT => kept.push(Bytes::copy_from_slice(data)),
            _ => self.kept = None,
        }
    }
}

impl Source {
    /// A body; `waits` until [`Source::open`] if its client wants to be told to send it.
    pub(super) fn new<B>(body: B, waits: bool) -> Arc<Self>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Arc::new(Self {
            exact: body.size_hint().exact(),
            held: Mutex::new(Held {
                body: body.boxed_unsync(),
                kept: None,
                attempt: 0,
                reader: None,
                done: false,
            }),
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

    /// What one attempt sends. With `keep`, the beginning of the body is kept for the next.
    pub(super) fn lend(self: &Arc<Self>, keep: bool) -> Upload {
        let mut held = self.held();
        held.attempt += 1;
        if keep && !self.has_begun() {
            held.kept = Some(Vec::new());
        }
        Upload::Lent { source: self.clone(), attempt: held.attempt, at: 0 }
    }

    /// Whether another attempt can send the body from its beginning.
    pub(super) fn can_begin_again(&self) -> bool {
        !self.has_begun() || self.held().kept.is_some()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        /// Which attempt this is: once there is another, this one is over.
        attempt: u32,
        /// How much of what was kept has been sent.
        at: usize,
    },
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self::Lent { source, attempt, at } = &mut *self else { return Poll::Ready(None) };
        if !source.open.load(Ordering::Acquire) {
            source.opened.register(cx.waker());
            if !source.open.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        let mut held = source.held();
        if held.attempt != *attempt {
            return Poll::Ready(Some(Err("the body is sent elsewhere".into())));
        }
        if let Some(again) = held.kept.as_ref().and_then(|kept| kept.get(*at)) {
            *at += 1;
            return Poll::Ready(Some(Ok(Frame::data(again.clone()))));
        }
        if held.kept.is_none() && held.reader.is_some_and(|reader| reader != *attempt) {
            return Poll::Ready(Some(Err("the body has been sent elsewhere".into())));
        }
        source.begun.store(true, Ordering::Release);
        held.reader = Some(*attempt);
        if held.done {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut held.body).poll_frame(cx);
        source.waiting.store(frame.is_pending(), Ordering::Release);
        let frame = ready!(frame);
        match &frame {
            None => {
                held.done = true;
                source.ends();
            }
            Some(Err(_)) => source.failed.store(true, Ordering::Release),
            Some(Ok(frame)) => {
                held.keep(frame);
                *at += 1;
                if held.body.is_end_stream() {
                    source.ends();
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map(filtered)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Lent { source, at, .. } => {
                source.has_begun() && {
                    let held = source.held();
                    let all = held.kept.as_ref().is_none_or(|kept| kept.len() <= *at);
                    all && held.body.is_end_stream()
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Lent { source, at: 0, .. } => {
                source.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Self::Lent { source, .. } => source.held().body.size_hint(),
        }
    }
}
