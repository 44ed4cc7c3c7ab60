//! Connections to an upstream that speaks HTTP/2: without TLS by prior knowledge, within it by ALPN.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use super::failure::{self, Failure};
use super::io::{Socket, Watched};
use super::tls::Secured;
use super::upload::Upload;

/// Streams on one connection before another is opened: what most servers allow.
const STREAMS: u32 = 100;
/// Bytes of one stream that an upstream may send unread.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of one connection that an upstream may send unread: what all its streams may.
///
/// SECURITY: were it less, a few clients that do not read would hold up the answers of all others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Bytes of an answer's head at most.
const MAX_HEAD: u32 = 64 * 1024;

/// A request that is given up after so long, while nothing at all was answered on its connection,
/// is the last one there: the other end may be gone without a word, and the system finds that out
/// only after many minutes.
const SILENCE: Duration = Duration::from_secs(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections to one address.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    open: Mutex<Vec<Shared>>,
    /// One who opens a connection lets the others wait for it.
    opening: tokio::sync::Mutex<()>,
}

type Driven = Connection<TokioIo<Watched>, Upload, TokioExecutor>;

#[derive(Debug)]
struct Shared {
    /// Whoever waits for an answer holds no other: what is said into a connection as it ends is only
    /// found unsaid once nobody can say any more.
    sender: SendRequest<Upload>,
    link: Link,
    /// That of the certificates by which it came about.
    generation: u64,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
struct Link {
    /// Driven by a task of its own; here to be asked what the upstream allows.
    connection: Arc<Mutex<Option<Driven>>>,
    streams: Arc<AtomicUsize>,
    /// It ended because what came was no HTTP/2.
    invalid: Arc<AtomicBool>,
    /// The upstream has ended it, or it broke.
    ended: Arc<AtomicBool>,
    /// Answers that have begun.
    answers: Arc<AtomicU64>,
    /// It is asked for nothing more.
    retired: Arc<AtomicBool>,
}

impl Shared {
    fn is_of_use(&self) -> bool {
        !self.sender.is_closed() && !self.link.retired.load(Ordering::Relaxed)
    }

    /// Whether another request would be served rather than wait for a place: the upstream says how
    /// many it takes.
    fn has_room(&self) -> bool {
        let allowed = lock(&self.link.connection).as_ref().map(Driven::current_max_send_streams);
        allowed
            .is_some_and(|most| self.link.streams.load(Ordering::Relaxed) < most.clamp(1, STREAMS as usize))
    }

    fn stream(&self) -> Stream {
        let before = self.link.answers.load(Ordering::Relaxed);
        Stream { sender: Some(self.sender.clone()), link: self.link.clone(), waits: None, before }
    }
}

/// One stream's place on its connection.
#[derive(Debug)]
pub(super) struct Stream {
    /// Until the request is on its way.
    sender: Option<SendRequest<Upload>>,
    link: Link,
    /// Since when it waits for its answer.
    waits: Option<Instant>,
    /// Answers that had begun before.
    before: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.link.streams.fetch_sub(1, Ordering::Relaxed);
        let silent = self.link.answers.load(Ordering::Relaxed) == self.before;
        if silent && self.waits.is_some_and(|since| since.elapsed() >= SILENCE) {
            self.link.retired.store(true, Ordering::Relaxed);
        }
    }
}

impl Http2 {
    /// A place on a connection with room, or on a new one.
    pub(super) async fn stream(
        &self,
        address: SocketAddr,
        secured: Option<&Arc<Secured>>,
    ) -> std::io::Result<Stream> {
        if let Some(stream) = self.existing() {
            return Ok(stream);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(stream) = self.existing() {
            return Ok(stream);
        }
        let generation = secured.map_or(0, |secured| secured.generation());
        let (socket, ended) = Watched::new(Socket::connect(address, secured, true).await?);
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
        let connection = Arc::new(Mutex::new(Some(connection)));
        let driven = connection.clone();
        tokio::spawn(poll_fn(move |cx| {
            let mut driven = lock(&driven);
            let Some(connection) = driven.as_mut() else { return Poll::Ready(()) };
            if let Err(error) = ready!(Pin::new(connection).poll(cx)) {
                ends.store(failure::breaks_http2(&error), Ordering::Release);
            }
            // Requests that it has not sent are told so when it goes.
            *driven = None;
            Poll::Ready(())
        }));
        let link = Link {
            connection,
            streams: Arc::new(AtomicUsize::new(1)),
            invalid,
            ended,
            answers: Arc::default(),
            retired: Arc::default(),
        };
        let shared = Shared { sender, link, generation };
        let stream = shared.stream();
        lock(&self.open).push(shared);
        Ok(stream)
    }

    fn existing(&self) -> Option<Stream> {
        let mut open = lock(&self.open);
        open.retain(Shared::is_of_use);
        let shared = open.iter().find(|shared| shared.has_room())?;
        shared.link.streams.fetch_add(1, Ordering::Relaxed);
        Some(shared.stream())
    }

    /// Opens no more streams on those that there are.
    pub(super) fn close(&self) {
        lock(&self.open).clear();
    }

    /// Lets go of connections that nobody uses, and of those that came about by other certificates.
    pub(super) fn sweep(&self, generation: u64) {
        let mut open = lock(&self.open);
        open.retain(|shared| shared.is_of_use() && shared.generation == generation);
        // The first stays: the next request finds it open.
        let mut first = true;
        open.retain(|shared| {
            let kept = first || shared.link.streams.load(Ordering::Relaxed) > 0;
            first = false;
            kept
        });
    }
}

impl Stream {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Failure> {
        self.waits = Some(Instant::now());
        let Some(mut sender) = self.sender.take() else { return Err(Failure::closed(false)) };
        let answer = sender.try_send_request(request);
        // hyper's queue of requests may take one in while its other end is being dropped, and then holds it
        // until nobody can send: whoever waits must not be who keeps it so.
        drop(sender);
        let answer = answer.await;
        self.waits = None;
        if answer.is_ok() {
            self.link.answers.fetch_add(1, Ordering::Relaxed);
        }
        answer.map_err(|error| {
            if self.link.invalid.load(Ordering::Acquire) {
                return Failure::invalid("the upstream does not speak HTTP/2");
            }
            // We end a connection ourselves once it has no stream left that was opened. What fails with
            // it then was still waiting to be.
            let ours = !self.link.ended.load(Ordering::Acquire) && failure::is_end(error.error());
            let mut failure = Failure::of_http2(&error);
            if ours {
                failure = failure.unsent();
            }
            // A connection that is going away finishes what it has, and takes nothing new: whoever is
            // asked next must not be sent into it as well.
            if failure::is_leaving(error.error()) {
                self.link.retired.store(true, Ordering::Relaxed);
            }
            failure
        })
    }
}
