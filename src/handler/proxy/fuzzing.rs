//! The HTTP/1.1 client over a stream in memory, for who fuzzes it.

use std::future::poll_fn;

use bytes::Bytes;
use http::Method;
use http::response::Parts;
use http_body_util::{BodyExt, Full};

use super::head::Length;
use super::http1::{Http1, Outgoing};
use super::io::{Memory, Socket};
use super::upload::{Source, Upload};

/// A connection to an upstream.
pub(crate) struct Client(Http1);

impl Client {
    pub(crate) fn new(stream: Box<dyn Memory>) -> Self {
        Self(Http1::over(Socket::Memory(stream)))
    }

    /// Asks, and gives the head of the answer, or why there is none.
    pub(crate) async fn ask(&mut self, method: &Method, body: &[u8]) -> Result<Parts, String> {
        let source =
            Source::new(Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {}), false);
        let (body, length) = match body.len() as u64 {
            0 => (Upload::Empty, Length::None),
            length => (source.lend(false), Length::Exactly(length)),
        };
        let head = |out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        };
        let request = Outgoing { head, method, body, length, source: Some(&source) };
        self.0.send(request).await.map_err(|failure| format!("{failure:?}"))
    }

    /// The next part of the body: `None` at its end, `Some(None)` where it breaks off.
    pub(crate) async fn next(&mut self) -> Option<Option<Bytes>> {
        let frame = poll_fn(|cx| self.0.poll_frame(cx)).await?;
        Some(frame.ok().map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// Whether the pool would keep it, and give it out again.
    pub(crate) fn is_reusable(&mut self) -> bool {
        self.0.is_done() && self.0.is_fit(true)
    }
}
