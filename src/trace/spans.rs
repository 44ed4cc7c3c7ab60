//! Where spans wait for their exporter: bounded in number and in bytes. What does not fit is dropped and
//! counted; nobody who has a span to give ever waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::span::Span;

/// Bytes set aside for each place in the queue. A span takes 1 to 2 KiB, and at most 6.
pub const SPAN_COST: usize = 2 * 1024;

/// Why a span came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// There was no place.
    QueueFull,
    /// The collector did not take it, however often it was asked.
    ExportFailed,
    /// The collector took its batch, and not this one.
    Rejected,
    /// The process ended first.
    Shutdown,
}

impl Lost {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::ExportFailed, Self::Rejected, Self::Shutdown];

    /// As in the metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// How large it may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Spans that wait.
    pub spans: usize,
    /// Spans that are exported together.
    pub batch: usize,
}

/// The queue, and what became of spans.
#[derive(Debug)]
pub struct Spans {
    room: Room,
    waiting: Mutex<Waiting>,
    /// A batch is full.
    full: Notify,
    closed: AtomicBool,
    exported: AtomicU64,
    failures: AtomicU64,
    dropped: [AtomicU64; Lost::ALL.len()],
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Span>,
    bytes: usize,
}

impl Spans {
    /// An empty one.
    pub fn new(room: Room) -> Self {
        Self {
            room,
            waiting: Mutex::default(),
            full: Notify::new(),
            closed: AtomicBool::new(false),
            exported: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            dropped: Default::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a span to be exported.
    pub fn push(&self, span: Span) {
        if self.closed.load(Ordering::Relaxed) {
            return self.lose(Lost::Shutdown, 1);
        }
        let weight = span.weight();
        let mut waiting = self.lock();
        let bytes = waiting.bytes + weight;
        if waiting.spans.len() >= self.room.spans || bytes > self.room.spans * SPAN_COST {
            drop(waiting);
            return self.lose(Lost::QueueFull, 1);
        }
        waiting.bytes = bytes;
        waiting.spans.push_back(span);
        let is_full = waiting.spans.len() == self.room.batch;
        drop(waiting);
        if is_full {
            self.full.notify_one();
        }
    }

    /// Takes the next batch.
    pub fn take(&self) -> Vec<Span> {
        let mut waiting = self.lock();
        let (mut count, mut bytes) = (0, 0);
        for span in waiting.spans.iter().take(self.room.batch) {
            let more = bytes + span.weight();
            if count > 0 && more > self.room.batch * SPAN_COST {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        waiting.bytes -= bytes;
        waiting.spans.drain(..count).collect()
    }

    /// Spans that wait.
    pub fn len(&self) -> usize {
        self.lock().spans.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a batch is full.
    pub async fn filled(&self) {
        if self.len() < self.room.batch {
            self.full.notified().await;
        }
    }

    /// Takes no more, and drops what waits.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let left = std::mem::take(&mut *self.lock()).spans.len();
        self.lose(Lost::Shutdown, left);
    }

    /// So many came to nothing.
    pub fn lose(&self, why: Lost, count: usize) {
        if let Some(dropped) = self.dropped.get(why as usize) {
            dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// So many were taken by the collector.
    pub fn exported(&self, count: usize) {
        self.exported.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The collector did not take a batch when it was asked.
    pub fn export_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What has become of all so far.
    pub fn counts(&self) -> Counts {
        Counts {
            exported: self.exported.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            dropped: Lost::ALL.map(|why| {
                let count = self.dropped.get(why as usize);
                (why, count.map_or(0, |count| count.load(Ordering::Relaxed)))
            }),
        }
    }
}

/// What has become of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Taken by the collector.
    pub exported: u64,
    /// Times that it did not take a batch when it was asked.
    pub failures: u64,
    /// Come to nothing.
    pub dropped: [(Lost, u64); Lost::ALL.len()],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::{SpanId, TraceId};
    use crate::trace::span::{Kind, Value};

    fn span(text: usize) -> Span {
        Span {
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
            parent: None,
            remote_parent: false,
            flags: 1,
            state: None,
            kind: Kind::Server,
            name: "GET".into(),
            start: 0,
            end: 0,
            attributes: vec![("url.path", Value::Text("x".repeat(text).into()))],
            link: None,
            failed: false,
        }
    }

    fn dropped(spans: &Spans, why: Lost) -> u64 {
        spans.counts().dropped.iter().find(|(known, _)| *known == why).unwrap().1
    }

    #[test]
    fn what_has_no_place_is_dropped_and_counted() {
        let spans = Spans::new(Room { spans: 5, batch: 2 });
        for _ in 0..8 {
            spans.push(span(1));
        }
        assert_eq!((spans.len(), dropped(&spans, Lost::QueueFull)), (5, 3));
        assert_eq!(
            [spans.take().len(), spans.take().len(), spans.take().len(), spans.take().len()],
            [2, 2, 1, 0]
        );
        assert_eq!(spans.lock().bytes, 0);
    }

    #[test]
    fn a_few_large_ones_take_the_place_of_many() {
        let spans = Spans::new(Room { spans: 10, batch: 5 });
        for _ in 0..10 {
            spans.push(span(6000));
        }
        assert_eq!((spans.len(), dropped(&spans, Lost::QueueFull)), (3, 7));
        assert!(spans.lock().bytes <= 10 * SPAN_COST);
        assert_eq!([spans.take().len(), spans.take().len(), spans.take().len()], [1, 1, 1]);
    }

    #[tokio::test]
    async fn a_batch_that_is_full_wakes_the_exporter() {
        let spans = Spans::new(Room { spans: 5, batch: 2 });
        spans.push(span(1));
        let mut filled = std::pin::pin!(spans.filled());
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(filled.as_mut().poll(cx))).await;
        assert!(waits.is_pending());
        spans.push(span(1));
        filled.await;
        // One that comes too late for the word sees the length.
        spans.filled().await;
    }

    #[test]
    fn after_the_end_nothing_is_kept() {
        let spans = Spans::new(Room { spans: 5, batch: 2 });
        spans.push(span(1));
        spans.close();
        spans.push(span(1));
        assert_eq!((spans.len(), dropped(&spans, Lost::Shutdown)), (0, 2));
    }
}
