//! Compresses what is worth it, on the way out.
//!
//! Whether, and with what, is decided here: tower-http would answer 406 to a client that takes
//! nothing we have, and compress whatever is no image. It does the work: one compressor a body,
//! which flushes whenever the body pauses.
//!
//! Where an answer holds a secret beside something that the client chose, its length tells about
//! the secret (BREACH); it is off unless a route asks for it.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::sync::Semaphore;
use tower::{ServiceExt, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::Compression;

use self::body::{Permitted, Pieces};
use crate::body::BoxError;

mod accept;
mod body;
mod eligible;
mod layer;
#[cfg(test)]
mod tests;

pub use layer::{CompressionLayer, RouteCompressors, Wanted};

/// Content of a known size up to this is worth brotli's window, and bounds it.
const BROTLI_WINDOWED: u64 = 1024 * 1024;

/// How an answer can be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

impl Algorithm {
    /// All of them, in the order that serves most: about as small as each other, the fastest first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The content coding, as in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is_called(self, coding: &str) -> bool {
        coding.eq_ignore_ascii_case(self.as_str())
            || self == Self::Gzip && coding.eq_ignore_ascii_case("x-gzip")
    }

    /// How hard to try, so that one compressor never holds more than 4 MiB. Measured in the middle
    /// of text and of noise (`what_one_compressor_costs`): zstd 3.2 MiB, its window being 2 MiB;
    /// gzip 0.4 MiB; brotli at level 4 2.8 MiB for 1 MiB of content, but nearly 10 MiB from 8 MiB
    /// on, since tower-http leaves it a window of 4 MiB. Levels 0 and 1 keep no window: 0.2 MiB.
    fn level(self, size: Option<u64>) -> CompressionLevel {
        CompressionLevel::Precise(match self {
            Self::Zstd => 3,
            Self::Brotli if size.is_some_and(|size| size <= BROTLI_WINDOWED) => 4,
            Self::Brotli => 1,
            Self::Gzip => 5,
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is compressed, with what, and how much at a time.
#[derive(Debug, Clone)]
pub struct CompressionOptions {
    /// In order of preference, where the client has none.
    pub algorithms: Vec<Algorithm>,
    /// Answers known to be smaller go out as they are.
    pub min_size: u64,
    /// One for each answer being compressed; without one it goes out as it is.
    pub permits: Arc<Semaphore>,
}

/// Compresses answers.
#[derive(Debug, Clone)]
pub struct Compressor(Arc<CompressionOptions>);

impl Compressor {
    /// Compresses as `options` say.
    pub fn new(options: CompressionOptions) -> Self {
        Self(Arc::new(options))
    }

    /// What the client takes, to be asked before the request is given away.
    pub fn wanted(&self, request: &HeaderMap) -> Option<Algorithm> {
        accept::preferred(request, &self.0.algorithms)
    }

    /// Compresses `response` with what was [`wanted`](Self::wanted), if it is worth it and may be.
    /// The answer to a HEAD goes as it is, as nginx does it: what its body would come to nobody
    /// knows.
    pub async fn compress<B>(&self, wanted: Option<Algorithm>, response: Response<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = response.into_parts();
        let exact = body.size_hint().exact();
        let announced =
            parts.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        let size = announced.or(exact);
        if !eligible::eligible(&parts, size, self.0.min_size) {
            return Response::from_parts(parts, Body::new(body));
        }
        // On the plain answer as well: a cache must not give it to those who take another, nor the
        // other way round.
        if !["accept-encoding", "*"].iter().any(|name| eligible::lists(&parts.headers, header::VARY, name)) {
            parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        let response = Response::from_parts(parts, body);
        let Some(algorithm) = wanted.filter(|_| exact != Some(0) && !response.body().is_end_stream()) else {
            return response.map(Body::new);
        };
        let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() else {
            return response.map(Body::new);
        };
        let response = encode(algorithm, algorithm.level(exact), response.map(Pieces::new)).await;
        response.map(|body| Body::new(Permitted::new(body, permit)))
    }
}

/// Has tower-http compress one answer that is there already.
async fn encode<B>(
    algorithm: Algorithm,
    level: CompressionLevel,
    response: Response<B>,
) -> Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let mut request = Request::new(());
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(algorithm.as_str()));
    let mut there = Some(response);
    let service = service_fn(|_| {
        let response = there.take();
        async {
            match response {
                Some(response) => Ok::<_, Infallible>(response),
                // It is called once.
                None => pending().await,
            }
        }
    });
    let service = Compression::new(service).quality(level).compress_when(always);
    let mut response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    weaken_tag(response.headers_mut());
    response
}

fn always(_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions) -> bool {
    true
}

/// The bytes are others now, and a strong tag promises the same ones.
fn weaken_tag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}
