//! A request body on its way from the wire to the layers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::http1::Seen;
use super::service::Wire;
use super::state::ConnState;
use crate::exchange::Exchange;

/// Bytes of a refused upload that are thrown away at most.
const MAX_BYTES: usize = 16 << 20;
/// Bytes of a body that are read before others have their turn.
const IN_A_TURN: usize = 64 << 10;
/// Time that is spent on it at most.
const MAX_TIME: Duration = Duration::from_secs(5);

/// The body of a request.
///
/// Dropped before its end on an HTTP/2 stream, it is drained for a moment: to stop reading there
/// is to reset the stream, and clients take the reset for a failure and throw away the answer that
/// says why. (RFC 9113 section 8.1 asks them not to; HTTP/1 connections linger for the same reason.)
/// On HTTP/1 the answer then says that the connection closes: the parser gives up one whose body
/// has not come, and a client that was not told would send its next request into nothing.
#[derive(Debug)]
pub struct Upload {
    body: Option<Incoming>,
    drain: bool,
    unread: Option<Arc<Exchange>>,
    state: Option<Arc<ConnState>>,
    awaited: bool,
    /// Bytes that came one after the other.
    in_turn: usize,
    /// Where it comes in chunks: what was seen of its connection.
    chunks: Option<Arc<Mutex<Seen>>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, wire: Wire, exchange: &Arc<Exchange>, state: &Arc<ConnState>) -> Self {
        let empty = body.is_end_stream();
        let (drain, chunks) = match wire {
            Wire::Http1(seen) => (false, body.size_hint().exact().is_none().then_some(seen)),
            Wire::Http2(_) => (!empty, None),
        };
        let unread = (!empty).then(|| exchange.clone());
        let state = (!empty).then(|| state.clone());
        Self { body: Some(body), drain, unread, state, awaited: false, in_turn: 0, chunks }
    }

    /// Tells the connection whether somebody waits for its client.
    fn is_awaited(&mut self, awaited: bool) {
        if awaited != self.awaited
            && let Some(state) = &self.state
        {
            self.awaited = awaited;
            state.progress.waits_for_upload(awaited);
        }
    }

    /// What came is held against what was read for it.
    fn came(&self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        let Some(seen) = &self.chunks else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match frame {
            Some(Ok(frame)) => {
                if let (Some(chunks), Some(data)) = (&mut seen.chunks, frame.data_ref()) {
                    chunks.yields(data.len());
                }
            }
            // What is read from now on is no part of it.
            Some(Err(_)) | None => seen.chunks = None,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.is_awaited(false);
        if self.is_end_stream() {
            return;
        }
        // Dropped while the layers were being called, the parser sees it before it writes the answer,
        // and decides for itself.
        if let Some(exchange) = self.unread.take().filter(|exchange| exchange.was_called()) {
            exchange.close_after();
        }
        if !self.drain {
            return;
        }
        // The runtime may be gone before its last connection is.
        if let (Some(body), Ok(runtime)) = (self.body.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(discard(body));
        }
    }
}

/// Reads the body to its end, within bounds. It counts against its connection's streams until then.
async fn discard(mut body: Incoming) {
    let deadline = Instant::now() + MAX_TIME;
    let mut left = MAX_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // SECURITY: a body that comes as fast as it is read would keep its turn until it is whole.
        if self.in_turn >= IN_A_TURN {
            self.in_turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        self.in_turn = match &frame {
            Poll::Ready(Some(Ok(frame))) => self.in_turn + frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        self.is_awaited(frame.is_pending());
        if let Poll::Ready(frame) = &frame {
            self.came(frame.as_ref());
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(state)) = (&frame, &self.state) {
            state.progress.uploaded(frame.data_ref().map_or(0, Bytes::len));
        }
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.drain = false;
            self.unread = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
