//! HTTP calls that the process makes on its own account: to a collector, to an object store.
//!
//! One [`Caller`] has one connection to one origin, kept between calls, and makes one call at a time. Each
//! call ends by its deadline, whatever the other end does, and takes no more of an answer than it was told
//! to: head and body are bounded, redirects are not followed, nothing is decompressed. Where nothing is sent
//! of a request because the kept connection had ended, it goes out on a new one.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use rustls::ClientConfig;
use tokio::sync::Mutex;

use crate::deadline::within;
use crate::dial::Dialer;

mod link;
#[cfg(test)]
mod tests;

use link::Link;

/// What is spoken with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// HTTP/2 where TLS agrees on it, else HTTP/1.1.
    Either,
}

impl Speak {
    /// What TLS is to offer (ALPN), the best first.
    pub fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        }
    }
}

/// `http://host:port/path`, or `https`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whether within TLS.
    pub tls: bool,
    /// A name in lower case, or an address; IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with its query.
    pub path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", bracketed(&self.host), self.port, self.path)
    }
}

/// IPv6 addresses in brackets, all else as it is.
fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

/// Whom to call.
#[derive(Debug, Clone)]
pub struct Origin {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Present: within TLS. It is to offer [`Speak::protocols`].
    pub tls: Option<Arc<ClientConfig>>,
    /// What is spoken there.
    pub speak: Speak,
}

impl Origin {
    /// `host` or `host:port`, as in a URL: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match (self.port, self.tls.is_some()) {
            (443, true) | (80, false) => bracketed(&self.host).into_owned(),
            (port, _) => format!("{}:{port}", bracketed(&self.host)),
        }
    }
}

/// How far one call may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the call to the last byte of its answer: name, connection, TLS and turns included.
    pub deadline: Duration,
    /// Bytes of an answer's body.
    pub max_body: usize,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The fields behind its body; empty where there are none.
    pub trailers: HeaderMap,
}

/// Why there is no answer. None of it is text of the other end.
#[derive(Debug)]
pub enum CallError {
    /// The deadline has passed.
    Deadline(Duration),
    /// The name has no address, nobody takes the connection, or TLS failed.
    Connect(std::io::Error),
    /// The connection ended before the answer did, or what came was not HTTP.
    Broken(hyper::Error),
    /// The answer is larger than it may be.
    TooLarge(usize),
    /// The request is none that can be sent.
    Unsayable,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(after) => write!(f, "no answer within {} ms", after.as_millis()),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Broken(error) => {
                write!(f, "the connection broke: {error}")?;
                let cause = std::error::Error::source(error);
                cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::TooLarge(most) => write!(f, "the answer is over {most} bytes"),
            Self::Unsayable => f.write_str("the request cannot be sent"),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Broken(error) => Some(error),
            Self::Deadline(_) | Self::TooLarge(_) | Self::Unsayable => None,
        }
    }
}

/// Calls one origin.
#[derive(Debug)]
pub struct Caller {
    dialer: Dialer,
    origin: Origin,
    /// The connection, while nobody is calling; whoever is has taken it out, so that a call given up takes
    /// its connection along.
    kept: Mutex<Option<Link>>,
}

impl Caller {
    /// Calls `origin`, once there is something to say.
    pub fn new(dialer: Dialer, origin: Origin) -> Self {
        Self { dialer, origin, kept: Mutex::new(None) }
    }

    /// Whom it calls.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends `request` and waits for the whole answer, whatever its status. Of its URI only path and query
    /// count; `Host` and `Content-Length` are added. Others who call meanwhile wait for their turn.
    ///
    /// # Errors
    /// There was no whole answer. Unless the error is of [`CallError::Connect`], the other end may have
    /// done what it was asked.
    pub async fn call(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Answer, CallError> {
        let called = within(bounds.deadline, self.in_turn(request, bounds.max_body)).await;
        called.unwrap_or(Err(CallError::Deadline(bounds.deadline)))
    }

    async fn in_turn(&self, request: Request<Bytes>, max_body: usize) -> Result<Answer, CallError> {
        let mut kept = self.kept.lock().await;
        let request = link::Said::new(request, &self.origin).ok_or(CallError::Unsayable)?;
        if let Some(mut link) = kept.take().filter(Link::is_of_use)
            && let Some(answer) = link.send(&request, max_body).await
        {
            let answer = answer?;
            *kept = Some(link);
            return Ok(answer);
        }
        let mut link = Link::open(&self.dialer, &self.origin).await?;
        let answer = match link.send(&request, max_body).await {
            Some(answer) => answer?,
            None => return Err(CallError::Connect(std::io::ErrorKind::ConnectionReset.into())),
        };
        *kept = Some(link);
        Ok(answer)
    }
}
