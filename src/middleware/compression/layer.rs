//! Compression as a layer, route by route.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{Algorithm, Compressor};
use crate::body::BoxError;
use crate::exchange::Exchange;

/// The compressors of the routes that have one, by the route's index in the metrics. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub struct RouteCompressors(Arc<ArcSwap<HashMap<u32, Compressor>>>);

impl RouteCompressors {
    /// Compresses with these from now on.
    pub fn replace(&self, compressors: impl IntoIterator<Item = (u32, Compressor)>) {
        self.0.store(Arc::new(compressors.into_iter().collect()));
    }
}

/// Compresses the answers of routes that ask for it.
#[derive(Debug, Clone)]
pub struct CompressionLayer(pub RouteCompressors);

impl<S> Layer<S> for CompressionLayer {
    type Service = Compressing<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Compressing { inner, compressors: self.0.clone() }
    }
}

/// A service whose answers are compressed.
#[derive(Debug, Clone)]
pub struct Compressing<S> {
    inner: S,
    compressors: RouteCompressors,
}

impl<S, B, R> Service<Request<B>> for Compressing<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Response = Response<MaybeCompressed<R>>;
    type Error = S::Error;
    type Future = CompressionFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request);
        let compressed =
            exchange.and_then(|exchange| exchange.policy()).is_some_and(|policy| policy.compressed);
        let compressor = exchange.filter(|_| compressed).and_then(|exchange| {
            let compressor = self.compressors.0.load().get(&exchange.route())?.clone();
            let wanted = compressor.wanted(request.headers());
            Some((compressor, wanted))
        });
        CompressionFuture { inner: self.inner.call(request), compressor, compressing: None }
    }
}

type Encoding<R> = Pin<Box<dyn Future<Output = Response<MaybeCompressed<R>>> + Send>>;

pin_project! {
    /// The answer, compressed where it is worth it.
    pub struct CompressionFuture<F, R> {
        #[pin]
        inner: F,
        compressor: Option<(Compressor, Option<Algorithm>)>,
        compressing: Option<Encoding<R>>,
    }
}

impl<F, R> std::fmt::Debug for CompressionFuture<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressionFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for CompressionFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Output = Result<Response<MaybeCompressed<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(compressing) = this.compressing {
            return compressing.as_mut().poll(cx).map(Ok);
        }
        let response = ready!(this.inner.poll(cx))?;
        let Some((compressor, wanted)) = this.compressor.take() else {
            return Poll::Ready(Ok(response.map(|body| MaybeCompressed::Plain { body })));
        };
        let compressing = this.compressing.insert(Box::pin(async move {
            compressor.compress(wanted, response).await.map(|body| MaybeCompressed::Compressed { body })
        }));
        compressing.as_mut().poll(cx).map(Ok)
    }
}

pin_project! {
    /// A response body, compressed or as it was.
    #[project = MaybeProjection]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum MaybeCompressed<B> {
        /// As it was.
        Plain { #[pin] body: B },
        /// Looked at, and perhaps compressed.
        Compressed { #[pin] body: axum::body::Body },
    }
}

impl<B> Body for MaybeCompressed<B>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            MaybeProjection::Plain { body } => body.poll_frame(cx),
            MaybeProjection::Compressed { body } => {
                // A refusal is looked for in the error itself, not in what wraps it.
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|error| error.into_inner())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Compressed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Compressed { body } => body.size_hint(),
        }
    }
}
