//! Closing so that the last answer arrives.
//!
//! A socket that is closed with unread bytes in it is reset, and the reset destroys what the
//! client has not read yet: the very answer that says why. So the writing side is closed first,
//! and what still comes is read and thrown away within bounds
//! ([RFC 9112 section 9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::transport::Transport;

/// Bytes that are thrown away at most.
const MAX_BYTES: usize = 64 << 20;
/// Time that is spent on it at most.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Longest pause of a client that is still sending.
const MAX_GAP: Duration = Duration::from_secs(2);

/// Sends `last` if there is something, closes the writing side, and drains the reading side.
///
/// With `more` the client is known to have something left to send; otherwise it is only drained
/// of what has come already, if that is anything.
pub async fn close<T: Transport>(mut io: T, last: &[u8], more: bool) {
    let deadline = Instant::now() + MAX_TIME;
    if !last.is_empty() && !matches!(timeout(MAX_GAP, io.write_all(last)).await, Ok(Ok(()))) {
        return;
    }
    if !matches!(timeout(MAX_GAP, io.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    io.discards();
    let mut left = MAX_BYTES;
    let mut gap = if more { MAX_GAP } else { Duration::ZERO };
    while left > 0 {
        let read = timeout_at(deadline, timeout(gap, discard(&mut io))).await;
        gap = MAX_GAP;
        match read {
            Ok(Ok(bytes)) if bytes > 0 => left = left.saturating_sub(bytes),
            _ => return,
        }
        // SECURITY: what is thrown away is nobody's work, and gets a short turn at a time.
        tokio::task::yield_now().await;
    }
}

/// Sends `last` if it can be sent at once, closes the writing side, and waits for nothing.
pub async fn say<T: Transport>(mut io: T, last: &[u8]) {
    const AT_ONCE: Duration = Duration::from_millis(10);
    if matches!(timeout(AT_ONCE, io.write_all(last)).await, Ok(Ok(()))) {
        let _ = timeout(AT_ONCE, io.shutdown()).await;
    }
}

/// Reads once into a buffer that lives only for the call: a thousand lingering connections hold
/// a thousand sockets, and no memory.
async fn discard<T: Transport>(io: &mut T) -> usize {
    poll_fn(|cx| {
        let mut buffer = [0; 16 * 1024];
        let mut buffer = ReadBuf::new(&mut buffer);
        let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
        Poll::Ready(read.map_or(0, |()| buffer.filled().len()))
    })
    .await
}
