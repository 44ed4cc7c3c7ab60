//! Connections to an upstream that speaks HTTP/2 without TLS, by prior knowledge.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::failure::{self, Failure};
use super::io::Socket;
use super::upload::Upload;

/// Streams on one connection before another is opened: what most servers allow.
const STREAMS: usize = 100;
/// Bytes of one stream that an upstream may send unread.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of one connection that an upstream may send unread.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer's head at most.
const MAX_HEAD: u32 = 64 * 1024;

/// The connections to one address.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    open: Mutex<Vec<Shared>>,
    /// One who opens a connection lets the others wait for it.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Shared {
    sender: SendRequest<Upload>,
    streams: Arc<AtomicUsize>,
    /// It ended because what came was no HTTP/2.
    invalid: Arc<AtomicBool>,
}

/// One stream's place on its connection.
#[derive(Debug)]
pub(super) struct Stream {
    shared: Shared,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http2 {
    /// A place on a connection with room, or on a new one.
    pub(super) async fn stream(&self, address: SocketAddr) -> std::io::Result<Stream> {
        if let Some(stream) = self.existing() {
            return Ok(stream);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(stream) = self.existing() {
            return Ok(stream);
        }
        let socket = Socket::connect(address).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_send_buf_size(64 * 1024);
        let (sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(std::io::Error::other)?;
        // Many requests share it, so that none of them can drive it.
        let invalid = Arc::new(AtomicBool::new(false));
        let ends = invalid.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                ends.store(failure::breaks_http2(&error), Ordering::Release);
            }
        });
        let shared = Shared { sender, streams: Arc::new(AtomicUsize::new(1)), invalid };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(shared.clone());
        Ok(Stream { shared })
    }

    fn existing(&self) -> Option<Stream> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|shared| !shared.sender.is_closed());
        let shared = open.iter().find(|shared| shared.streams.load(Ordering::Relaxed) < STREAMS)?.clone();
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Some(Stream { shared })
    }

    /// Lets go of connections that nobody uses.
    pub(super) fn sweep(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|shared| !shared.sender.is_closed());
        // The first stays: the next request finds it open.
        let mut first = true;
        open.retain(|shared| {
            let kept = first || shared.streams.load(Ordering::Relaxed) > 0;
            first = false;
            kept
        });
    }
}

impl Stream {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Failure> {
        let answer = self.shared.sender.try_send_request(request).await;
        answer.map_err(|error| match self.shared.invalid.load(Ordering::Acquire) {
            true => Failure::invalid("the upstream does not speak HTTP/2"),
            false => Failure::of_http2(&error),
        })
    }
}
