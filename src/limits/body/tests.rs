use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::mpsc;
use tower::{Layer, Service};

use super::watched::PIECE;
use super::*;
use crate::memory::BUFFERED;

const LIMITS: BodyLimitsLayer = BodyLimitsLayer {
    max_size: 10,
    timeout: Duration::from_secs(10),
    min_rate: Some(Rate { bytes_per_second: 1, grace: Duration::from_secs(5) }),
    memory: None,
};

type Chunks = Vec<(u64, &'static str)>;

/// Sends each chunk after a pause in milliseconds.
fn paced(chunks: Chunks) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for (pause, chunk) in chunks {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if sender.send(Ok(Frame::data(Bytes::from(chunk)))).await.is_err() {
                return;
            }
        }
    });
    Box::pin(StreamBody::new(futures_stream(move |cx: &mut Context<'_>| receiver.poll_recv(cx))))
}

/// A stream out of a poll function; the crate has no other use for a stream library.
fn futures_stream<T, F: FnMut(&mut Context<'_>) -> Poll<Option<T>>>(poll: F) -> PollStream<F> {
    PollStream(poll)
}

struct PollStream<F>(F);

impl<T, F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin> tokio_stream::Stream for PollStream<F> {
    type Item = T;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        (self.0)(cx)
    }
}

async fn answer(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Result<(), Reason> {
    let handler = tower::service_fn(|request: Request<Inbound<_>>| async move {
        // A handler that swallows the error and says everything is fine.
        let _: Result<_, BoxError> = BodyExt::collect(request.into_body()).await;
        Ok(Response::new(Full::new(Bytes::new())))
    });
    let mut service = LIMITS.layer(handler);
    service.call(Request::new(body)).await.map(drop).map_err(|refusal| refusal.reason)
}

#[tokio::test(start_paused = true)]
async fn a_body_within_all_bounds_passes() {
    assert_eq!(answer(paced(vec![(0, "12345"), (4000, "67890")])).await, Ok(()));
    assert_eq!(answer(Full::new(Bytes::new())).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_is_refused_by_its_length_and_by_its_bytes() {
    let declared = Full::new(Bytes::from_static(b"12345678901"));
    assert_eq!(answer(declared).await, Err(Reason::BodyTooLarge));
    assert_eq!(answer(paced(vec![(0, "123456"), (0, "78901")])).await, Err(Reason::BodyTooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_gap_and_a_drip_are_told_apart() {
    let gap = vec![(0, "123456789"), (10_001, "0")];
    assert_eq!(answer(paced(gap)).await, Err(Reason::BodyTimeout));
    let drip = vec![(3000, "1"), (3000, "2"), (3000, "3"), (3000, "4")];
    assert_eq!(answer(paced(drip)).await, Err(Reason::BodyTooSlow));
}

#[tokio::test(start_paused = true)]
async fn a_drip_does_not_put_off_a_clock_that_is_looked_at_again() {
    // Found overdue, since the process stood still, it is looked at again for 60 ms.
    let drip = [(7_990, "")].into_iter().chain([(40, ""); 50]).collect();
    let refused = tokio::spawn(answer(paced(drip)));
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(refused.await.unwrap(), Err(Reason::BodyTooSlow));
}

#[tokio::test]
async fn an_answer_under_way_is_cut_off() {
    let (sender, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
    let body = Box::pin(StreamBody::new(futures_stream(move |cx: &mut Context<'_>| receiver.poll_recv(cx))));
    let echo =
        tower::service_fn(
            |request: Request<Inbound<_>>| async move { Ok(Response::new(request.into_body())) },
        );
    let mut answer = LIMITS.layer(echo).call(Request::new(body)).await.unwrap().into_body();
    sender.send(Ok(Frame::data(Bytes::from("12345")))).await.unwrap();
    assert!(answer.frame().await.unwrap().is_ok());
    sender.send(Ok(Frame::data(Bytes::from("678901")))).await.unwrap();
    assert!(answer.frame().await.unwrap().is_err());
    assert!(!answer.is_end_stream());
}

#[tokio::test]
async fn a_body_is_charged_until_its_answer_is_over() {
    // What a body takes in the hands of who collects it, beyond what its connection's buffers hold.
    const HELD: u64 = 32_000 + 16_000 + PIECE - BUFFERED;
    // Bodies may fill seven eighths of it.
    let memory = MemoryAccount::new(2 * HELD);
    let limits = BodyLimitsLayer { memory: Some(memory.clone()), max_size: 64_000, ..LIMITS };
    let drain = tower::service_fn(|request: Request<Inbound<_>>| async move {
        let _: Result<_, BoxError> = BodyExt::collect(request.into_body()).await;
        Ok(Response::new(Full::new(Bytes::from_static(b"done"))))
    });
    let mut service = limits.layer(drain);
    let request = || Request::new(Full::new(Bytes::from(vec![b'a'; 32_000])));
    let first = service.call(request()).await.unwrap();
    assert_eq!(memory.used(), HELD);
    assert_eq!(service.call(request()).await.unwrap_err().reason, Reason::Overloaded);
    drop(first);
    assert_eq!(memory.used(), 0);
    assert!(service.call(request()).await.is_ok());
}

#[tokio::test]
async fn a_piece_that_is_held_holds_nothing_but_itself() {
    for held in [true, false] {
        let read = Bytes::from(vec![0; 8192]);
        let piece = read.slice(..1);
        let limits = BodyLimitsLayer { memory: held.then(|| MemoryAccount::new(1 << 20)), ..LIMITS };
        let handler = tower::service_fn(|request: Request<Inbound<_>>| async move {
            let collected: Result<_, BoxError> = BodyExt::collect(request.into_body()).await;
            Ok(Response::new(Full::new(collected.expect("a body").to_bytes())))
        });
        let answer = limits.layer(handler).call(Request::new(Full::new(piece))).await.expect("an answer");
        // Whoever only passes it on lets go of it soon, and is spared the copy.
        assert_eq!(read.is_unique(), held);
        drop(answer);
    }
}
