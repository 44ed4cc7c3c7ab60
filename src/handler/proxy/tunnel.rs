//! A connection that has left HTTP: bytes pass both ways until one side ends it, nothing moves for
//! too long, or the server drains.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::Instant;

use super::balance::Lease;
use super::io::Socket;
use super::pool::{Counted, Gauge, Pool};
use super::series::Series;
use crate::deadline::Deadline;
use crate::telemetry::Metrics;

/// Bytes that are on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// What a tunnel holds for as long as it is open.
#[derive(Debug)]
#[expect(dead_code, reason = "it is there to be dropped")]
pub(super) struct Held {
    pub(super) lease: Lease<Pool>,
    pub(super) active: Counted<Series>,
    pub(super) permit: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) tunnels: Counted<Tunnels>,
}

/// The gauge of open tunnels.
#[derive(Debug)]
pub(super) struct Tunnels(pub(super) Arc<Metrics>);

impl Gauge for Tunnels {
    fn gauge(&self) -> &AtomicI64 {
        self.0.tunnels()
    }
}

/// Runs a tunnel from the moment that both sides have changed.
pub(super) async fn run(client: OnUpgrade, upstream: Socket, said: Bytes, idle: Duration, held: Held) {
    let Ok(client) = client.await else { return };
    let moved = Arc::new(Moved { epoch: Instant::now(), last: AtomicU64::new(0) });
    let mut client = TokioIo::new(client);
    let mut upstream = Side { socket: upstream, said, moved: moved.clone() };
    tokio::select! {
        // Which side failed and how is the tunnel's own affair: both see it end.
        _ = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER) => {}
        () = moved.idle_for(idle) => {
            tracing::debug!(idle_ms = idle.as_millis(), "a tunnel was idle for upstream.tunnel_idle_timeout");
        }
    }
    drop(held);
}

/// When a byte last moved.
#[derive(Debug)]
struct Moved {
    epoch: Instant,
    last: AtomicU64,
}

impl Moved {
    fn now(&self) {
        let millis = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    async fn idle_for(&self, time: Duration) {
        loop {
            let until = self.epoch + Duration::from_millis(self.last.load(Ordering::Relaxed)) + time;
            if until <= Instant::now() {
                return;
            }
            Deadline::at(until).await;
        }
    }
}

/// The upstream's side, through which everything passes.
struct Side {
    socket: Socket,
    /// What came behind the head of the answer.
    said: Bytes,
    moved: Arc<Moved>,
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.has_remaining() {
            let size = self.said.len().min(buffer.remaining());
            buffer.put_slice(&self.said.split_to(size));
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if read.is_ready() {
            self.moved.now();
        }
        read
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if written.is_ready() {
            self.moved.now();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
