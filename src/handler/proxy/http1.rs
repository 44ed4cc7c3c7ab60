//! A connection to an upstream that speaks HTTP/1.1.
//!
//! It is driven by whoever uses it: by the request while it waits, then by the answer's body. There
//! is no task between the two, and so no switch from one to the other for each message, which is
//! most of what hyper-util's client costs here.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::failure::Failure;
use super::io::{Doubt, Socket};
use super::upload::Upload;

/// Bytes of an answer's head at most, and of what is read at a time.
const MAX_BUFFER: usize = 64 * 1024;

/// A connection, idle or in use.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<Socket>, Upload>,
    doubt: Doubt,
    /// Since when it is idle.
    pub(super) idle_since: Instant,
    /// Whether it has carried a request before.
    pub(super) used: bool,
}

impl Http1 {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> std::io::Result<Box<Self>> {
        let doubt = Doubt::default();
        let socket = Socket::connect(address, doubt.clone()).await?;
        let mut builder = Builder::new();
        // The number of fields stays at the parser's own 100: any other moves every head to the heap.
        builder.max_buf_size(MAX_BUFFER);
        let (sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(std::io::Error::other)?;
        Ok(Box::new(Self { sender, connection, doubt, idle_since: Instant::now(), used: false }))
    }

    /// Whether it can carry a request: open, and nothing was sent unasked.
    pub(super) fn is_fit(&mut self) -> bool {
        self.doubt.raise();
        let open = self.poll(&mut Context::from_waker(Waker::noop())).is_pending();
        self.doubt.settle();
        open && self.sender.is_ready()
    }

    /// Whether it is done with its message and can carry another.
    pub(super) fn is_done(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx).is_pending() && self.sender.is_ready()
    }

    /// Moves what is under way; ready once the connection has ended, or left HTTP.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.connection.poll_without_shutdown(cx)
    }

    /// Sends a request; the future is ready with the head of its answer.
    pub(super) fn send(&mut self, request: Request<Upload>) -> Sending<'_> {
        let used = std::mem::replace(&mut self.used, true);
        Sending {
            answer: Box::pin(self.sender.try_send_request(request)),
            connection: &mut self.connection,
            used,
        }
    }

    /// The socket, once the upstream has changed to another protocol, and what it has said in it.
    pub(super) async fn leave(mut self: Box<Self>) -> Result<(Socket, Bytes), Failure> {
        poll_fn(|cx| self.poll(cx)).await.map_err(|_| Failure::closed(false))?;
        let parts = self.connection.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }
}

type Answer = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// A request on its way. Boxed inside: it holds the whole request, and whoever waits for it would be
/// made larger by as much at each step of its own.
pub(super) struct Sending<'a> {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    connection: &'a mut Connection<TokioIo<Socket>, Upload>,
    used: bool,
}

impl Future for Sending<'_> {
    type Output = Result<Response<Incoming>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let used = self.used;
        let ended = self.connection.poll_without_shutdown(cx).is_ready();
        match self.answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.map_err(|error| Failure::of_http1(&error, used))),
            // A connection that ends answers whoever waits; that it does not is a fault here.
            Poll::Pending if ended => Poll::Ready(Err(Failure::closed(used))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Whether an answer says that the protocol changes.
pub(super) fn switches<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}
