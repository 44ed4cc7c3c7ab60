//! `/events`: a sample a second, to everybody the same bytes
//! ([server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! A reader who is slow misses samples, and holds none: there is only ever the last one. One who takes
//! nothing at all is dropped by `limits.write_timeout`, as anywhere.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Inner, MOST_STREAMS, Page, answer as respond, live, refused};
use crate::body::BoxError;
use crate::lifecycle::{Lifecycle, Phase};
use crate::refusal::{Reason, Refusal};
use crate::telemetry::history::Sample;

/// Without a sample for so long, the stream says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a browser comes back whose stream has ended, in milliseconds.
const RETRY: u32 = 2000;

/// The event of one sample, and of how things stand.
pub(super) fn frame(page: &Inner, sample: &Sample) -> Bytes {
    let data = serde_json::json!({"sample": live::sample(sample), "state": live::state(page)});
    Bytes::from(format!("id: {}\nevent: sample\ndata: {data}\n\n", sample.at))
}

pub(super) async fn answer(State(page): State<Page>) -> Response<Body> {
    let inner = &page.0;
    let Ok(permit) = inner.streams.clone().try_acquire_owned() else {
        let detail = format!("{MOST_STREAMS} streams of events are open");
        return refused(Refusal::new(Reason::Overloaded, detail).retry_after(Duration::from_secs(15)));
    };
    let frames = inner.frames.subscribe();
    let lifecycle = inner.admin.lifecycle.clone();
    let first = format!("retry: {RETRY}\nevent: history\ndata: {}\n\n", live::history(inner));
    let stream = Stream {
        first: Some(Bytes::from(first)),
        next: Some(Box::pin(next(frames, lifecycle))),
        _permit: permit,
    };
    respond("text/event-stream", "no-store", Body::new(stream))
}

type Next = (watch::Receiver<Bytes>, Lifecycle, Option<Bytes>);

/// The next event, or nothing once the process stops. While it drains, there is something to see.
async fn next(mut frames: watch::Receiver<Bytes>, mut lifecycle: Lifecycle) -> Next {
    let event = tokio::select! {
        biased;
        () = lifecycle.reached(Phase::Stopping) => None,
        changed = frames.changed() => changed.ok().map(|()| frames.borrow_and_update().clone()),
        () = tokio::time::sleep(HEARTBEAT) => Some(Bytes::from_static(b": still here\n\n")),
    };
    (frames, lifecycle, event)
}

struct Stream {
    first: Option<Bytes>,
    next: Option<Pin<Box<dyn Future<Output = Next> + Send>>>,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(waiting) = self.next.as_mut() else { return Poll::Ready(None) };
        let (frames, lifecycle, event) = ready!(waiting.as_mut().poll(cx));
        self.next = event.is_some().then(|| Box::pin(next(frames, lifecycle)) as _);
        // The script knows then that this is no fault.
        let event = event.unwrap_or(Bytes::from_static(b"event: end\ndata: stopping\n\n"));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.next.is_none()
    }
}
