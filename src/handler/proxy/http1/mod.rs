//! A connection to an upstream that speaks HTTP/1.1.
//!
//! It is driven by whoever uses it: by the request while it waits, then by the answer's body. No task
//! stands between the two, and a head goes from the client's fields to the wire, and back from the
//! wire to fields, without a stop. That, and a strictness that is ours to choose, is why this is not
//! hyper's client. `loadtest/bench` measures it beside nginx and HAProxy.

mod familiar;
mod head;
mod output;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode, response};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use self::familiar::Familiar;
use self::head::{Head, Invalid, Reading};
use self::output::{Output, Unsent};
use super::failure::Failure;
use super::head::Length;
use super::io::Socket;
use super::tls::Secured;
use super::upload::{Source, Upload};
use crate::chunked::Decoded;

pub(super) use output::field;

/// Bytes that are read at a time: at first, and where that was not enough.
const READ: usize = 8 * 1024;
const READ_MORE: usize = 64 * 1024;
/// A piece of a body up to this size is copied out of the buffer.
const SMALL: usize = 2 * 1024;
/// Interim answers before the one that counts.
const MAX_INTERIM: u32 = 64;
/// Bytes of an incomplete head that are looked at again whatever has come.
const SHORT: usize = 1024;

/// A connection, idle or in use.
#[derive(Debug)]
pub(super) struct Http1 {
    socket: Socket,
    input: BytesMut,
    /// What its heads look like.
    familiar: Familiar,
    output: Output,
    reading: Reading,
    keep: bool,
    /// The last read filled all the room it had.
    greedy: bool,
    /// The input's memory is more than a small answer needs.
    large: bool,
    /// Since when it is idle.
    pub(super) idle_since: Instant,
    /// Whether it has carried a request before.
    used: bool,
}

/// A request as it is to be sent.
pub(super) struct Outgoing<'a, H> {
    /// Appends the head.
    pub(super) head: H,
    /// Its method, which says whether its answer has a body.
    pub(super) method: &'a Method,
    /// Its body.
    pub(super) body: Upload,
    /// How long that is.
    pub(super) length: Length,
    /// Told where the upstream wants the body.
    pub(super) source: Option<&'a Arc<Source>>,
}

/// An answer's body broke off, or broke its coding.
#[derive(Debug)]
pub(super) struct Broken;

impl Http1 {
    /// Connects.
    pub(super) async fn open(
        address: SocketAddr,
        secured: Option<&Arc<Secured>>,
    ) -> std::io::Result<Box<Self>> {
        Ok(Box::new(Self::over(Socket::connect(address, secured, false).await?)))
    }

    /// A connection that was made already.
    pub(super) fn over(socket: Socket) -> Self {
        Self {
            socket,
            input: BytesMut::new(),
            familiar: Familiar::default(),
            output: Output::new(),
            reading: Reading::Length(0),
            keep: true,
            greedy: false,
            large: false,
            idle_since: Instant::now(),
            used: false,
        }
    }

    /// Whether it can carry a request: nothing has come, not even the end. With `certain`, the kernel
    /// itself is asked: what the runtime knows of a socket is as old as its last look at all of them.
    pub(super) fn is_fit(&mut self, certain: bool) -> bool {
        let mut byte = [0];
        let read = Pin::new(&mut self.socket)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        read.is_pending() && self.socket.is_sound() && (!certain || self.socket.is_quiet())
    }

    /// Sends a request; the future is ready with the head of its answer.
    pub(super) fn send<'a, H>(&'a mut self, request: Outgoing<'a, H>) -> Sending<'a>
    where
        H: FnOnce(&mut Vec<u8>),
    {
        let used = std::mem::replace(&mut self.used, true);
        self.output.begin(request.head, request.body, request.length);
        Sending {
            connection: self,
            method: request.method,
            source: request.source,
            used,
            interim: 0,
            looked: 0,
        }
    }

    /// Whether it is done with its message and can carry another. What stands behind the message was
    /// not asked for, and is nobody's answer.
    pub(super) fn is_done(&mut self) -> bool {
        let done = self.keep && self.is_end() && self.output.is_done() && self.input.is_empty();
        if done {
            self.output.rest();
            // However little of it is left to read into, all of that memory is held by it.
            if self.large {
                (self.input, self.greedy, self.large) = (BytesMut::new(), false, false);
            }
        }
        done
    }

    /// Whether the body has come to its end.
    pub(super) fn is_end(&self) -> bool {
        match self.reading {
            Reading::Length(left) => left == 0,
            Reading::Chunked(coding) => coding.is_over(),
            Reading::Close => false,
        }
    }

    /// Bytes of the body that are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.reading {
            Reading::Length(left) => Some(left),
            Reading::Chunked(coding) if coding.is_over() => Some(0),
            Reading::Chunked(_) | Reading::Close => None,
        }
    }

    /// The next frame of the answer's body. What is left of the request goes out meanwhile.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.output.is_done() {
            match self.output.poll(&mut self.socket, cx) {
                Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Some(Err(Broken))),
                // An upstream that takes no more may still be answering.
                Poll::Ready(Err(Unsent::Closed)) => self.keep = false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            match self.take() {
                Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Decoded::Trailers(fields)) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::More) => {}
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
            match ready!(self.read(cx)) {
                Ok(0) if self.reading == Reading::Close => {
                    self.reading = Reading::Length(0);
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Broken))),
                Ok(_) => {}
            }
        }
    }

    /// What can be had of the body without reading.
    fn take(&mut self) -> Result<Decoded, Broken> {
        match &mut self.reading {
            Reading::Length(0) => Ok(Decoded::End),
            Reading::Chunked(coding) => coding.decode(&mut self.input).map_err(|_| Broken),
            Reading::Length(_) | Reading::Close if self.input.is_empty() => Ok(Decoded::More),
            Reading::Length(left) => {
                let here = usize::try_from(*left).map_or(self.input.len(), |left| left.min(self.input.len()));
                *left -= here as u64;
                Ok(Decoded::Data(piece(&mut self.input, here)))
            }
            Reading::Close => Ok(Decoded::Data(self.input.split().freeze())),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let room = if self.greedy { READ_MORE } else { READ };
        if self.input.capacity() - self.input.len() < room / 2 {
            self.input.reserve(room);
            self.large |= self.greedy;
        }
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx));
        self.greedy = matches!(read, Ok(read) if read == room);
        Poll::Ready(read)
    }

    /// The socket, once the upstream has changed to another protocol, and what it has said in it.
    pub(super) fn leave(self) -> (Socket, Bytes) {
        (self.socket, self.input.freeze())
    }
}

/// The first `length` bytes of the input. A small piece is copied, so that what it came in is not
/// shared and can be read into again.
fn piece(input: &mut BytesMut, length: usize) -> Bytes {
    if length > SMALL {
        return input.split_to(length).freeze();
    }
    let piece = Bytes::copy_from_slice(input.get(..length).unwrap_or_default());
    input.advance(length);
    piece
}

/// A request on its way.
pub(super) struct Sending<'a> {
    connection: &'a mut Http1,
    method: &'a Method,
    source: Option<&'a Arc<Source>>,
    used: bool,
    interim: u32,
    /// Bytes of the head that were looked at.
    looked: usize,
}

impl Future for Sending<'_> {
    type Output = Result<response::Parts, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.connection.output.is_done() {
            match this.connection.output.poll(&mut this.connection.socket, cx) {
                Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Err(Failure::of_body())),
                Poll::Ready(Err(Unsent::Closed)) => this.connection.keep = false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            if let Some(head) = this.look()? {
                return Poll::Ready(Ok(this.answer(head)));
            }
            match ready!(this.connection.read(cx)) {
                Ok(1..) => {}
                // Nothing at all came: it had been closed, or the upstream failed.
                _ => {
                    let unseen = this.used && this.connection.input.is_empty() && this.interim == 0;
                    return Poll::Ready(Err(Failure::closed(unseen)));
                }
            }
        }
    }
}

impl Sending<'_> {
    /// Looks for the head of the answer that counts.
    fn look(&mut self) -> Result<Option<Head>, Failure> {
        let invalid = |why| match why {
            Invalid::NotHttp => Failure::invalid("the upstream's answer is not HTTP"),
            Invalid::Fields => Failure::of_fields(),
            Invalid::TooLarge => Failure::too_large(),
        };
        loop {
            let Http1 { input, familiar, .. } = &mut *self.connection;
            // An upstream that says its head letter by letter does not make us read it as often.
            let new = input.get(self.looked..).unwrap_or_default();
            if new.is_empty()
                || (self.looked > SHORT && !new.contains(&b'\n') && input.len() < 2 * self.looked)
            {
                return Ok(None);
            }
            self.looked = input.len();
            let Some(head) = head::parse(input, self.method, familiar).map_err(invalid)? else {
                return Ok(None);
            };
            self.looked = 0;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Failure::invalid("the upstream says something interim again and again"));
            }
            if head.status == StatusCode::CONTINUE
                && let Some(source) = self.source
            {
                source.open();
            }
        }
    }

    fn answer(&mut self, head: Head) -> response::Parts {
        let Head { status, version, fields, body, keep } = head;
        self.connection.reading = body;
        // An answer that came before its request was sent may be the last thing that is read there:
        // whether the upstream still takes the rest of it, and what comes behind, is not known.
        let asked = self.connection.output.is_done();
        self.connection.keep &= keep && asked && status != StatusCode::SWITCHING_PROTOCOLS;
        let mut parts = http::Response::new(()).into_parts().0;
        (parts.status, parts.version, parts.headers) = (status, version, fields);
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_the_memory_of_a_large_answer() {
        const LENGTH: usize = 1 << 20;
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = Http1::open(upstream.local_addr().unwrap(), None).await.unwrap();
        let (mut socket, _) = upstream.accept().await.unwrap();
        let answering = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            socket.write_all(&[head.as_bytes(), &vec![b'a'; LENGTH]].concat()).await.unwrap();
            socket
        });
        let request = Outgoing {
            head: |out: &mut Vec<u8>| out.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            method: &Method::GET,
            body: Upload::Empty,
            length: Length::None,
            source: None,
        };
        connection.send(request).await.unwrap();
        let (mut read, mut largest) = (0, 0);
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            let size = frame.unwrap().into_data().unwrap().len();
            (read, largest) = (read + size, largest.max(size));
        }
        assert!(read == LENGTH && largest > READ, "{read}, {largest} at a time");
        assert!(connection.is_done() && connection.is_fit(true));
        assert_eq!(connection.input.capacity(), 0);
        drop(answering.await.unwrap());
    }
}
