//! One connection: HTTP/1 or HTTP/2 by hyper, driven by a task that ends with it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{self, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Answer, CallError, Origin, Speak};
use crate::dial::Dialer;

/// Bytes of an answer's head, and fields of it.
const MAX_HEAD: u32 = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// Bytes that an answer over HTTP/2 may send unread.
const WINDOW: u32 = 64 * 1024;
/// A connection that was idle for longer is not used again: the other end, or something on the way, may have
/// forgotten it without a word.
const KEEP: Duration = Duration::from_secs(30);

/// A request that can be sent more than once.
pub(super) struct Said {
    method: Method,
    /// The path alone, for HTTP/1.
    path: Uri,
    /// With scheme and authority, for HTTP/2.
    whole: Uri,
    host: HeaderValue,
    headers: HeaderMap,
    body: Bytes,
}

impl Said {
    /// `None` where it cannot be said.
    pub(super) fn new(request: Request<Bytes>, origin: &Origin) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let authority = origin.authority();
        let host = HeaderValue::from_str(&authority).ok()?;
        headers.remove(header::HOST);
        let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let mut whole = uri::Parts::default();
        whole.scheme = Some(if origin.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        whole.authority = Some(authority.parse().ok()?);
        whole.path_and_query = Some(path.clone());
        let whole = Uri::from_parts(whole).ok()?;
        Some(Self { method: parts.method, path: path.into(), whole, host, headers, body })
    }

    fn request(&self, http2: bool) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if http2 {
            *request.uri_mut() = self.whole.clone();
            *request.version_mut() = http::Version::HTTP_2;
        } else {
            *request.uri_mut() = self.path.clone();
            request.headers_mut().insert(header::HOST, self.host.clone());
        }
        request
    }
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    sender: Sender,
    driver: AbortHandle,
    used: Instant,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects.
    pub(super) async fn open(dialer: &Dialer, origin: &Origin) -> Result<Self, CallError> {
        let stream = dialer.connect(&origin.host, origin.port, origin.tls.as_ref()).await;
        let stream = stream.map_err(CallError::Connect)?;
        let agreed = stream.protocol() == Some(b"h2");
        let http2 = match origin.speak {
            Speak::Http1 => false,
            Speak::Http2 if origin.tls.is_some() && !agreed => {
                // What would come is a puzzle; this is an answer.
                let problem = "the server does not speak HTTP/2 within TLS";
                return Err(CallError::Connect(io::Error::new(io::ErrorKind::Unsupported, problem)));
            }
            Speak::Http2 => true,
            Speak::Either => agreed,
        };
        let io = TokioIo::new(stream);
        let (sender, driver) = if http2 {
            let shaken = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_header_list_size(MAX_HEAD)
                .handshake(io)
                .await;
            let (sender, connection) = shaken.map_err(CallError::Broken)?;
            // How it ends is told to whoever waits for an answer.
            let driver = tokio::spawn(async { drop(connection.await) });
            (Sender::Http2(sender), driver.abort_handle())
        } else {
            let mut builder = http1::Builder::new();
            builder.max_headers(MAX_FIELDS).max_buf_size(MAX_HEAD as usize);
            let (sender, connection) = builder.handshake(io).await.map_err(CallError::Broken)?;
            let driver = tokio::spawn(async { drop(connection.await) });
            (Sender::Http1(sender), driver.abort_handle())
        };
        Ok(Self { sender, driver, used: Instant::now() })
    }

    /// Whether another request may go out on it.
    pub(super) fn is_of_use(&self) -> bool {
        let closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        !closed && self.used.elapsed() < KEEP
    }

    /// Sends `said`, and reads the answer; `None`: nothing of it was sent.
    pub(super) async fn send(&mut self, said: &Said, max_body: usize) -> Option<Result<Answer, CallError>> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(said.request(false)).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(said.request(true)).await
            }
        };
        let answer = match sent {
            Ok(response) => read(response, max_body).await,
            Err(error) if error.message().is_some() => return None,
            Err(error) => Err(CallError::Broken(TrySendError::into_error(error))),
        };
        self.used = Instant::now();
        Some(answer)
    }
}

async fn read(response: Response<Incoming>, max_body: usize) -> Result<Answer, CallError> {
    let (parts, mut body) = response.into_parts();
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > max_body {
        return Err(CallError::TooLarge(max_body));
    }
    let mut bytes = BytesMut::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(CallError::Broken)?.into_data() {
            Ok(data) if bytes.len() + data.len() > max_body => return Err(CallError::TooLarge(max_body)),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body: bytes.freeze(), trailers })
}
