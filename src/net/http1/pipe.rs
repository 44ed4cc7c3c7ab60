//! A request body on its way from the connection, which reads the socket, to whoever handles the request.
//!
//! Both are mostly one task. Nothing is read before it is asked for, and one piece waits at a time, so that
//! who reads slowly holds back the client.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::body::BoxError;

/// Why a body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// What came is no body.
    Malformed,
    /// The connection ended.
    Incomplete,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the body is not chunked as it should be",
            Self::Incomplete => "the connection ended within the body",
        })
    }
}

impl std::error::Error for Broken {}

/// The side of who reads.
#[derive(Debug)]
pub(crate) struct Outlet(Arc<Mutex<Pipe>>);

/// The side of the connection.
#[derive(Debug)]
pub(super) struct Inlet(Arc<Mutex<Pipe>>);

#[derive(Debug)]
struct Pipe {
    piece: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Nothing comes behind what is here.
    over: Option<Result<(), Broken>>,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    /// Somebody waits for more.
    wanted: bool,
    /// Nobody will ask for more.
    given_up: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

impl Pipe {
    fn register(&mut self, connection: &Context<'_>) {
        match &mut self.connection {
            Some(waker) => waker.clone_from(connection.waker()),
            none => *none = Some(connection.waker().clone()),
        }
    }
}

/// A body of `left` bytes, or of chunks, beside what of it is `here`: that need not be asked for.
pub(super) fn pipe(here: Bytes, left: Option<u64>) -> (Inlet, Outlet) {
    let pipe = Pipe {
        piece: Some(here).filter(|here| !here.is_empty()),
        trailers: None,
        over: None,
        left,
        wanted: false,
        given_up: false,
        reader: None,
        connection: None,
    };
    let shared = Arc::new(Mutex::new(pipe));
    (Inlet(shared.clone()), Outlet(shared))
}

fn lock(pipe: &Arc<Mutex<Pipe>>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inlet {
    /// Whether more is wanted. If not, `cx` is woken once it is.
    pub(super) fn is_wanted(&self, cx: &Context<'_>) -> bool {
        let mut pipe = lock(&self.0);
        if !pipe.wanted && !pipe.given_up {
            pipe.register(cx);
        }
        pipe.wanted
    }

    /// Whether nobody will ever want more.
    pub(super) fn is_given_up(&self) -> bool {
        lock(&self.0).given_up
    }

    /// The same. If not, `cx` is woken once it is so, though more be wanted now.
    pub(super) fn poll_given_up(&self, cx: &Context<'_>) -> bool {
        let mut pipe = lock(&self.0);
        if !pipe.given_up {
            pipe.register(cx);
        }
        pipe.given_up
    }

    /// A piece has come; `last` if it is known to be the last one.
    pub(super) fn put(&self, piece: Bytes, last: bool, cx: &Context<'_>) {
        self.hand_over(cx, |pipe| {
            pipe.left = pipe.left.map(|left| left.saturating_sub(piece.len() as u64));
            pipe.piece = Some(piece);
            pipe.over = last.then_some(Ok(()));
        });
    }

    /// The body is over.
    pub(super) fn end(&self, how: Result<Option<HeaderMap>, Broken>, cx: &Context<'_>) {
        self.hand_over(cx, |pipe| {
            pipe.over = Some(how.map(|trailers| pipe.trailers = trailers));
        });
    }

    fn hand_over(&self, cx: &Context<'_>, how: impl FnOnce(&mut Pipe)) {
        let mut pipe = lock(&self.0);
        pipe.wanted = false;
        how(&mut pipe);
        let reader = pipe.reader.take();
        drop(pipe);
        // The connection asks its own task again anyway.
        if let Some(reader) = reader.filter(|reader| !reader.will_wake(cx.waker())) {
            reader.wake();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        if pipe.over.is_none() {
            pipe.over = Some(Err(Broken::Incomplete));
        }
        if let Some(reader) = pipe.reader.take() {
            drop(pipe);
            reader.wake();
        }
    }
}

impl Outlet {
    pub(crate) fn poll_frame(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut pipe = lock(&self.0);
        if let Some(piece) = pipe.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = pipe.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match pipe.over {
            Some(Ok(())) => return Poll::Ready(None),
            Some(Err(broken)) => return Poll::Ready(Some(Err(broken.into()))),
            None => {}
        }
        match &mut pipe.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if !pipe.wanted {
            pipe.wanted = true;
            let connection = pipe.connection.take();
            drop(pipe);
            // The connection looks once its own task has asked.
            if let Some(connection) = connection.filter(|connection| !connection.will_wake(cx.waker())) {
                connection.wake();
            }
        }
        Poll::Pending
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let pipe = lock(&self.0);
        pipe.piece.is_none() && pipe.trailers.is_none() && pipe.over == Some(Ok(()))
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let pipe = lock(&self.0);
        let here = pipe.piece.as_ref().map_or(0, Bytes::len) as u64;
        pipe.left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + here))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.given_up = true;
        pipe.piece = None;
        if let Some(connection) = pipe.connection.take() {
            drop(pipe);
            connection.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noop() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn pieces_go_one_at_a_time_and_only_when_they_are_asked_for() {
        let (inlet, outlet) = pipe(Bytes::new(), Some(5));
        assert!(!inlet.is_wanted(&noop()));
        assert_eq!(outlet.size_hint().exact(), Some(5));
        assert!(outlet.poll_frame(&noop()).is_pending());
        assert!(inlet.is_wanted(&noop()));
        inlet.put(Bytes::from_static(b"he"), false, &noop());
        assert!(!inlet.is_wanted(&noop()));
        assert_eq!(outlet.size_hint().exact(), Some(5));
        let Poll::Ready(Some(Ok(frame))) = outlet.poll_frame(&noop()) else { panic!("nothing came") };
        assert_eq!(frame.into_data().unwrap(), "he");
        assert!(outlet.poll_frame(&noop()).is_pending());
        inlet.put(Bytes::from_static(b"llo"), true, &noop());
        assert!(!outlet.is_end_stream());
        assert!(matches!(outlet.poll_frame(&noop()), Poll::Ready(Some(Ok(_)))));
        assert!(outlet.is_end_stream());
        assert!(matches!(outlet.poll_frame(&noop()), Poll::Ready(None)));
        drop(outlet);
        assert!(inlet.is_given_up());
    }

    #[test]
    fn what_is_here_need_not_be_asked_for() {
        let (inlet, outlet) = pipe(Bytes::from_static(b"he"), Some(3));
        assert_eq!(outlet.size_hint().exact(), Some(5));
        assert!(matches!(outlet.poll_frame(&noop()), Poll::Ready(Some(Ok(_)))));
        assert!(!inlet.is_wanted(&noop()) && !outlet.is_end_stream());
        assert!(outlet.poll_frame(&noop()).is_pending() && inlet.is_wanted(&noop()));
        assert_eq!(outlet.size_hint().exact(), Some(3));
    }

    #[test]
    fn a_connection_that_goes_breaks_its_body_off() {
        let (inlet, outlet) = pipe(Bytes::new(), None);
        drop(inlet);
        assert!(matches!(outlet.poll_frame(&noop()), Poll::Ready(Some(Err(_)))));
        let (inlet, outlet) = pipe(Bytes::new(), None);
        inlet.end(Ok(None), &noop());
        drop(inlet);
        assert!(matches!(outlet.poll_frame(&noop()), Poll::Ready(None)));
    }

    #[tokio::test]
    async fn each_side_wakes_the_other_on_another_task() {
        let (inlet, outlet) = pipe(Bytes::new(), None);
        let reads = tokio::spawn(async move {
            let mut read = Vec::new();
            while let Some(frame) = std::future::poll_fn(|cx| outlet.poll_frame(cx)).await {
                read.push(frame.unwrap().into_data().unwrap());
            }
            read
        });
        for piece in ["a", "b", "c"] {
            let wanted =
                |cx: &mut Context<'_>| if inlet.is_wanted(cx) { Poll::Ready(()) } else { Poll::Pending };
            std::future::poll_fn(wanted).await;
            inlet.put(Bytes::from(piece), false, &noop());
        }
        inlet.end(Ok(None), &noop());
        assert_eq!(reads.await.unwrap(), ["a", "b", "c"]);
    }
}
