//! The answers of one HTTP/2 connection on their way out, stream by stream.
//!
//! The socket can stay writable while a stream's window is shut, so progress is told by what
//! happens to the bytes themselves: each piece of an answer is dropped once it is in a frame on
//! its way to the socket.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::purse::Purse;
use crate::memory::Charge;
use crate::net::send_watch::{SendLimits, SendWatch};

/// All answers of a connection.
#[derive(Debug)]
pub struct Streams {
    epoch: Instant,
    watched: Mutex<Vec<(Arc<OutStream>, Watched)>>,
    /// The stream whose service was called last: the executor is handed its future next.
    latest: Mutex<Option<Arc<OutStream>>>,
    accused: AtomicBool,
    waker: AtomicWaker,
    limits: SendLimits,
    /// Bytes of all answers that went out.
    delivered: AtomicU64,
    purse: Mutex<Purse>,
}

/// What the watch knows of a stream besides.
#[derive(Debug)]
struct Watched {
    sends: SendWatch,
    waited: Duration,
    looked: Instant,
}

/// One answer on its way out.
#[derive(Debug)]
pub struct OutStream {
    charge: Charge,
    streams: Weak<Streams>,
    outstanding: AtomicUsize,
    delivered: AtomicU64,
    /// Milliseconds of the connection's life at which it last moved.
    moved: AtomicU64,
    finished: AtomicBool,
    /// The end of the answer waits for its last bytes to leave.
    awaited: AtomicBool,
    reset: AtomicBool,
    waker: AtomicWaker,
}

impl Streams {
    /// No streams yet.
    pub fn new(limits: SendLimits) -> Self {
        Self {
            epoch: Instant::now(),
            watched: Mutex::default(),
            latest: Mutex::default(),
            accused: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            limits,
            delivered: AtomicU64::new(0),
            purse: Mutex::default(),
        }
    }

    /// A stream whose request has just been read.
    /// What it holds is `charge`d until its last byte has left.
    pub fn open(self: &Arc<Self>, charge: Charge) -> Arc<OutStream> {
        let stream = Arc::new(OutStream {
            charge,
            streams: Arc::downgrade(self),
            outstanding: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            moved: AtomicU64::new(self.now()),
            finished: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let watched = Watched {
            sends: SendWatch::of_stream(self.limits),
            waited: Duration::ZERO,
            looked: Instant::now(),
        };
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(stream, _)| !stream.is_over());
        all.push((stream.clone(), watched));
        drop(all);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.clone());
        stream
    }

    /// Judges a stream by other bounds than the common ones.
    pub fn hold_to(&self, stream: &Arc<OutStream>, limits: SendLimits) {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // It was opened a moment ago, and is among the last.
        if let Some((_, watched)) = all.iter_mut().rev().find(|(known, _)| Arc::ptr_eq(known, stream)) {
            watched.sends.hold_to(limits);
        }
    }

    /// The stream opened last, once.
    pub fn take_latest(&self) -> Option<Arc<OutStream>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The client gave up too many requests.
    pub fn accuse(&self) {
        self.accused.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it did.
    pub fn is_accused(&self) -> bool {
        self.accused.load(Ordering::Acquire)
    }

    /// Names the task that drives the connection.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Streams that hold something.
    pub fn open_now(&self) -> usize {
        let all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(stream, _)| !stream.is_over()).count()
    }

    /// Whether any bytes of any answer are still buffered.
    pub fn outstanding(&self) -> bool {
        let all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|(stream, _)| stream.outstanding.load(Ordering::Acquire) > 0)
    }

    /// Looks at every stream: one that its client does not read is reset. Returns how many were.
    ///
    /// A stream whose answer is finished is past resetting; what it may still have buffered is
    /// little, and goes with the connection.
    pub fn judge(&self) -> usize {
        let now = Instant::now();
        let mut resets = 0;
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = self.is_paid(&all, now);
        all.retain_mut(|(stream, watched)| {
            if stream.is_over() {
                return false;
            }
            let blocked = stream.outstanding.load(Ordering::Acquire) > 0;
            if blocked {
                watched.waited += now - watched.looked;
            }
            watched.looked = now;
            let since = self.epoch + Duration::from_millis(stream.moved.load(Ordering::Relaxed));
            let sent = stream.delivered.load(Ordering::Relaxed);
            let slow = watched.sends.deadline(now, since, watched.waited, sent);
            let deadline = if paid { watched.sends.stall(since) } else { slow };
            if !blocked || deadline > now || stream.finished.load(Ordering::Acquire) {
                return true;
            }
            resets += 1;
            stream.reset();
            false
        });
        resets
    }

    /// Whether the client takes as much as the streams that wait should take together.
    fn is_paid(&self, all: &[(Arc<OutStream>, Watched)], now: Instant) -> bool {
        let waiting = all.iter().filter(|(stream, _)| {
            stream.outstanding.load(Ordering::Acquire) > 0 && !stream.finished.load(Ordering::Acquire)
        });
        #[allow(clippy::cast_precision_loss, reason = "a rate beyond 2^53 B/s is not told apart from 2^53")]
        let rates = waiting.filter_map(|(_, watched)| watched.sends.min_rate());
        let (due, most) = rates.fold((0.0, 0.0), |(due, most), rate| {
            let bytes = rate.bytes_per_second as f64;
            (due + bytes, most + bytes * rate.grace.as_secs_f64())
        });
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        purse.pays(now, due, most, self.delivered.load(Ordering::Relaxed))
    }

    /// Resets all that is left: the connection is gone.
    pub fn reset_all(&self) {
        let all = std::mem::take(&mut *self.watched.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, _) in all {
            stream.reset();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl OutStream {
    /// The connection's streams, while there is a connection.
    pub fn streams(&self) -> Accuser {
        Accuser(self.streams.upgrade())
    }

    /// Bytes that went out.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Whether bytes of it are still buffered; registers the task to be woken once none are.
    pub fn is_outstanding(&self, waker: &Waker) -> bool {
        self.awaited.store(true, Ordering::Release);
        self.waker.register(waker);
        self.outstanding.load(Ordering::Acquire) > 0
    }

    /// The answer has been handed over whole, or given up.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Release);
        self.settle();
    }

    /// Pays back once it is over.
    fn settle(&self) {
        if self.is_over() {
            self.charge.release();
        }
    }

    fn is_over(&self) -> bool {
        self.finished.load(Ordering::Acquire) && self.outstanding.load(Ordering::Acquire) == 0
    }

    fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether its task is to give up; registers the task to be told otherwise.
    pub fn is_reset(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.reset.load(Ordering::Acquire)
    }

    fn now(&self) -> u64 {
        self.streams.upgrade().map_or(0, |streams| streams.now())
    }
}

/// The streams of a connection, if it is still there.
#[derive(Debug)]
pub struct Accuser(Option<Arc<Streams>>);

impl Accuser {
    /// See [`Streams::accuse`].
    pub fn accuse(&self) {
        if let Some(streams) = &self.0 {
            streams.accuse();
        }
    }
}

/// A piece of an answer. On an HTTP/2 stream it tells, when it is dropped, that it has left.
#[derive(Debug)]
pub(crate) struct OutBuf {
    bytes: Bytes,
    size: usize,
    stream: Option<Arc<OutStream>>,
}

impl OutBuf {
    /// A piece of `stream`'s answer; of nobody's in HTTP/1, where the socket itself is watched.
    pub(crate) fn new(bytes: Bytes, stream: Option<&Arc<OutStream>>) -> Self {
        let size = bytes.len();
        if let Some(stream) = stream
            && stream.outstanding.fetch_add(size, Ordering::AcqRel) == 0
        {
            stream.moved.store(stream.now(), Ordering::Relaxed);
        }
        Self { bytes, size, stream: stream.cloned() }
    }

    fn left(&mut self, bytes: usize) {
        self.size -= bytes;
        if let Some(stream) = &self.stream {
            if let Some(streams) = stream.streams.upgrade() {
                stream.moved.store(streams.now(), Ordering::Relaxed);
                streams.delivered.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            stream.delivered.fetch_add(bytes as u64, Ordering::Relaxed);
            let before = stream.outstanding.fetch_sub(bytes, Ordering::AcqRel);
            stream.settle();
            if before == bytes && stream.awaited.load(Ordering::Acquire) {
                stream.waker.wake();
            }
        }
    }
}

impl Buf for OutBuf {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(dst)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        // Bytes leave one by one: a frame takes its part of a piece, and the rest waits.
        self.left(count);
    }
}

impl Drop for OutBuf {
    fn drop(&mut self) {
        // Dropped with its stream, unsent: it no longer waits, and did not arrive.
        if self.size > 0
            && let Some(stream) = &self.stream
        {
            stream.outstanding.fetch_sub(self.size, Ordering::AcqRel);
            stream.settle();
        }
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
