use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::body::BoxError;
use crate::handler::proxy::io::Memory;
use crate::handler::proxy::upload::Source;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Takes so much at a time, and remembers what came in which call.
#[derive(Debug, Clone)]
struct Taker(usize, Arc<Mutex<Vec<Vec<u8>>>>);

impl Memory for Taker {
    fn is_quiet(&self) -> bool {
        true
    }
}

impl AsyncRead for Taker {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Taker {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(self.0).collect();
        let taken = all.len();
        self.1.lock().unwrap().push(all);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a request with a body of such pieces is written in, by a socket that takes so much at a time.
async fn written(pieces: &[usize], with_length: bool, at_a_time: usize) -> Vec<Vec<u8>> {
    let length =
        if with_length { Length::Exactly(pieces.iter().sum::<usize>() as u64) } else { Length::Open };
    let pieces: Vec<_> = pieces.iter().map(|size| Ok::<_, BoxError>(piece(*size))).collect();
    let body = StreamBody::new(tokio_stream::iter(pieces));
    let taker = Taker(at_a_time, Arc::default());
    let mut socket = Socket::Memory(Box::new(taker.clone()));
    let mut output = Output::new();
    output.begin(|out| out.extend_from_slice(HEAD), Source::new(body, false).lend(false), length);
    assert!(poll_fn(|cx| output.poll(&mut socket, cx)).await.is_ok() && output.is_done());
    std::mem::take(&mut *taker.1.lock().unwrap())
}

fn piece(size: usize) -> Frame<Bytes> {
    Frame::data(Bytes::from(bytes(size)))
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect()
}

fn chunk(size: usize) -> Vec<u8> {
    [format!("{size:x}\r\n").as_bytes(), &bytes(size), b"\r\n"].concat()
}

#[tokio::test]
async fn a_head_and_what_is_here_of_its_body_leave_in_one_write() {
    for size in [1, COPIED, COPIED + 1, 32 * 1024] {
        assert_eq!(written(&[size], true, usize::MAX).await, [[HEAD, &bytes(size)].concat()], "{size}");
    }
    let small = [HEAD, &chunk(10), &chunk(20), b"0\r\n\r\n"].concat();
    assert_eq!(written(&[10, 20], false, usize::MAX).await, [small]);
    let large = COPIED + 1;
    let expected = [[HEAD, &chunk(10), &chunk(large)].concat(), [chunk(large), b"0\r\n\r\n".into()].concat()];
    let came = written(&[10, large, large], false, usize::MAX).await;
    assert_eq!(came.concat(), expected.concat());
    assert_eq!(came.first(), expected.first());
}

#[tokio::test]
async fn everything_leaves_in_its_order_however_little_is_taken_at_a_time() {
    let pieces = [1, COPIED + 7, 3, 2 * COPIED, COPIED, 5, COPIED + 1];
    let plain: Vec<u8> = pieces.iter().flat_map(|size| bytes(*size)).collect();
    let chunks: Vec<u8> = pieces.iter().flat_map(|size| chunk(*size)).collect();
    for at_a_time in [1, 2, 3, 100, COPIED, COPIED + 9, 70_000] {
        let came = written(&pieces, true, at_a_time).await.concat();
        assert!(came == [HEAD, &plain].concat(), "{at_a_time}");
        let came = written(&pieces, false, at_a_time).await.concat();
        assert!(came == [HEAD, &chunks, b"0\r\n\r\n"].concat(), "{at_a_time}");
    }
}

#[tokio::test]
async fn what_has_left_is_not_held() {
    let read = Bytes::from(bytes(2 * COPIED));
    let body = http_body_util::Full::new(read.clone()).map_err(|never| match never {});
    let mut socket = Socket::Memory(Box::new(Taker(1000, Arc::default())));
    let mut output = Output::new();
    output.begin(|_| (), Source::new(body, false).lend(false), Length::Exactly(read.len() as u64));
    assert!(poll_fn(|cx| output.poll(&mut socket, cx)).await.is_ok());
    assert!(read.is_unique());
}

/// Takes these bytes one call after the other, and nothing in between.
#[derive(Debug, Clone)]
struct Stopper(Vec<usize>, Arc<Mutex<(usize, Vec<u8>)>>);

impl Memory for Stopper {
    fn is_quiet(&self) -> bool {
        true
    }
}

impl AsyncRead for Stopper {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stopper {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = self.1.lock().unwrap();
        let (calls, came) = &mut *taken;
        *calls += 1;
        if *calls % 2 == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = self.0.get(*calls / 2).copied().unwrap_or(usize::MAX);
        let before = came.len();
        came.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(most));
        Poll::Ready(Ok(came.len() - before))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// SECURITY: what ends a chunk goes before the next one, wherever the socket takes no more: else a client could
/// have its bytes read as the size of a chunk, and as a request behind the last one.
#[tokio::test]
async fn what_ends_a_chunk_goes_before_the_next_one_wherever_the_socket_stops() {
    let large = COPIED + 1;
    for next in [3, large] {
        let expected = [HEAD, &chunk(large), &chunk(next), b"0\r\n\r\n"].concat();
        let end = HEAD.len() + chunk(large).len();
        for stop in [1, HEAD.len(), end - large - 2, end - 3, end - 2, end - 1, end, end + 1] {
            let body =
                StreamBody::new(tokio_stream::iter([large, next].map(|size| Ok::<_, BoxError>(piece(size)))));
            let stopper = Stopper(vec![stop], Arc::default());
            let mut socket = Socket::Memory(Box::new(stopper.clone()));
            let mut output = Output::new();
            output.begin(
                |out| out.extend_from_slice(HEAD),
                Source::new(body, false).lend(false),
                Length::Open,
            );
            assert!(poll_fn(|cx| output.poll(&mut socket, cx)).await.is_ok() && output.is_done());
            assert!(stopper.1.lock().unwrap().1 == expected, "stopped {stop} of {end}, before {next}");
        }
    }
}

/// Takes everything, and lets it go by a flush alone, at the second try: as TLS may.
#[derive(Debug, Default, Clone)]
struct Holder(Arc<Mutex<(usize, usize, bool)>>);

impl Memory for Holder {
    fn is_quiet(&self) -> bool {
        true
    }
}

impl AsyncRead for Holder {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Holder {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().0 += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (held, gone, again) = &mut *self.0.lock().unwrap();
        *again = !*again;
        if *again {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *gone += std::mem::take(held);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_request_is_done_once_all_of_it_has_left() {
    let holder = Holder::default();
    let mut socket = Socket::Memory(Box::new(holder.clone()));
    let body = StreamBody::new(tokio_stream::iter([Ok::<_, BoxError>(piece(10)), Ok(piece(10_000))]));
    let mut output = Output::new();
    output.begin(|out| out.extend_from_slice(HEAD), Source::new(body, false).lend(false), Length::Open);
    while poll_fn(|cx| Poll::Ready(output.poll(&mut socket, cx).is_pending())).await {
        assert!(!output.is_done(), "{holder:?}");
    }
    let (held, gone, _) = *holder.0.lock().unwrap();
    assert!(output.is_done() && held == 0 && gone > HEAD.len() + 10_010, "{holder:?}");
}

#[tokio::test]
async fn what_has_come_of_a_body_leaves_while_more_of_it_is_waited_for() {
    let holder = Holder::default();
    let mut socket = Socket::Memory(Box::new(holder.clone()));
    let first = tokio_stream::iter([Ok::<_, BoxError>(piece(10))]);
    let body = StreamBody::new(tokio_stream::StreamExt::chain(first, tokio_stream::pending()));
    let mut output = Output::new();
    output.begin(
        |out| out.extend_from_slice(HEAD),
        Source::new(body, false).lend(false),
        Length::Exactly(20),
    );
    for _ in 0..2 {
        assert!(poll_fn(|cx| Poll::Ready(output.poll(&mut socket, cx).is_pending())).await);
    }
    assert_eq!(*holder.0.lock().unwrap(), (0, HEAD.len() + 10, false));
    assert!(!output.is_done());
}
