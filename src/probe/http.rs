//! Whether a path is answered with 2xx.

use std::pin::pin;

use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Within, connect};
use crate::resolve::Resolver;

/// Bytes of a response head, which is all that is read.
const LONGEST_HEAD: usize = 64 * 1024;

/// Whether `GET path` on `host` and `port` is answered with 200 to 299. Redirects are not followed.
///
/// # Errors
/// It is not, or what answers does not speak HTTP.
pub async fn http(resolver: &Resolver, host: &str, port: u16, path: &str) -> Result<(), String> {
    http_at(resolver, host, port, path, &authority(host, port, 80), None).await
}

/// Likewise within TLS.
///
/// # Errors
/// Likewise, or who answers is not believed.
pub async fn https(
    resolver: &Resolver,
    host: &str,
    port: u16,
    path: &str,
    within: &Within,
) -> Result<(), String> {
    http_at(resolver, host, port, path, &authority(host, port, 443), Some(within)).await
}

/// Likewise of one address of a name: `authority` is what it is called in `Host`.
///
/// # Errors
/// Likewise.
pub async fn http_at(
    resolver: &Resolver,
    host: &str,
    port: u16,
    path: &str,
    authority: &str,
    within: Option<&Within>,
) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "nessen")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| format!("{path:?} is not a path"))?;
    let stream = connect(resolver, host, port).await?;
    match within {
        None => ask(stream, request).await,
        Some(within) => ask(within.handshake(stream).await?, request).await,
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<(), String> {
    let stream = TokioIo::new(stream);
    let handshake = http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(|error| failure(&error))?;
    let mut connection = pin!(connection);
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // It is over; what became of the request is known now.
        _ = &mut connection => response.await,
    };
    match response.map_err(|error| failure(&error))?.status() {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(format!("{}, a redirect, not 2xx", answered(status))),
        status => Err(answered(status)),
    }
}

fn answered(status: StatusCode) -> String {
    format!("answered {}", status.as_str())
}

/// The value of `Host`: without the port where that goes without saying.
fn authority(host: &str, port: u16, default: u16) -> String {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into() };
    if port == default { host } else { format!("{host}:{port}") }
}

fn failure(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        format!("the head of the answer is over {LONGEST_HEAD} bytes")
    } else if error.is_parse() {
        "the answer is not HTTP/1".into()
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "closed the connection without an answer".into()
    } else {
        "the connection broke".into()
    }
}
