//! A request body on its way from the wire to the layers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::http1::Outlet;
use super::state::ConnState;
use crate::body::BoxError;

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
#[derive(Debug)]
pub struct Upload {
    source: Source,
    state: Option<Arc<ConnState>>,
    awaited: bool,
    /// Bytes that came one after the other.
    in_turn: usize,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    /// Nothing comes.
    Nothing,
    /// All of it is here.
    Whole(Bytes),
    /// An HTTP/1 connection.
    Pipe(Outlet),
    /// An HTTP/2 stream.
    Stream(Incoming),
}

impl Upload {
    fn new(source: Source, state: Option<&Arc<ConnState>>) -> Self {
        Self { source, state: state.cloned(), awaited: false, in_turn: 0 }
    }

    /// None.
    pub(super) fn empty() -> Self {
        Self::new(Source::Nothing, None)
    }

    /// One that came with its head.
    pub(super) fn whole(bytes: Bytes, state: &Arc<ConnState>) -> Self {
        Self::new(Source::Whole(bytes), Some(state))
    }

    /// One that comes over an HTTP/1 connection.
    pub(super) fn piped(outlet: Outlet, state: &Arc<ConnState>) -> Self {
        Self::new(Source::Pipe(outlet), Some(state))
    }

    /// One that comes over an HTTP/2 stream.
    pub(super) fn of_stream(body: Incoming, state: &Arc<ConnState>) -> Self {
        if body.is_end_stream() { Self::empty() } else { Self::new(Source::Stream(body), Some(state)) }
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
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.is_awaited(false);
        let Source::Stream(body) = std::mem::replace(&mut self.source, Source::Nothing) else { return };
        // The runtime may be gone before its last connection is.
        if let (false, Ok(runtime)) = (body.is_end_stream(), tokio::runtime::Handle::try_current()) {
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
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // SECURITY: a body that comes as fast as it is read would keep its turn until it is whole.
        if self.in_turn >= IN_A_TURN {
            self.in_turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = match &mut self.source {
            Source::Nothing => return Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Nothing;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Pipe(outlet) => outlet.poll_frame(cx),
            Source::Stream(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
        };
        self.is_awaited(frame.is_pending());
        self.in_turn = match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(state) = &self.state {
                    state.progress.uploaded(bytes);
                }
                self.in_turn + bytes
            }
            Poll::Ready(Some(Err(_)) | None) => {
                self.source = match std::mem::replace(&mut self.source, Source::Nothing) {
                    // Nothing is left to be thrown away.
                    Source::Stream(_) => Source::Nothing,
                    other => other,
                };
                0
            }
            Poll::Pending => 0,
        };
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Whole(_) => false,
            Source::Pipe(outlet) => outlet.is_end_stream(),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pipe(outlet) => outlet.size_hint(),
            Source::Stream(body) => body.size_hint(),
        }
    }
}
