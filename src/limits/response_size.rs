//! `limits.max_response_size`: 502 where the size is known ahead, an answer cut off where it is not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};

/// Bounds the bytes of an answer; `None` is off.
#[derive(Debug, Clone, Copy)]
pub struct ResponseSizeLayer(pub Option<u64>);

impl<S> Layer<S> for ResponseSizeLayer {
    type Service = ResponseSize<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ResponseSize { inner, max: self.0 }
    }
}

/// A service whose answers are bounded.
#[derive(Debug, Clone)]
pub struct ResponseSize<S> {
    inner: S,
    max: Option<u64>,
}

fn too_large(max: u64) -> Refusal {
    Refusal::new(Reason::ResponseTooLarge, format!("the answer is over {max} bytes"))
        .limit("limits.max_response_size")
}

impl<S, B, R> Service<Request<B>> for ResponseSize<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Refusal>,
    R: Body<Data = Bytes>,
{
    type Response = Response<BoundedBody<R>>;
    type Error = Refusal;
    type Future = ResponseSizeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let policy = Exchange::of(&request).and_then(|exchange| exchange.policy());
        let max = policy.map_or(self.max, |policy| policy.max_response_size);
        ResponseSizeFuture { inner: self.inner.call(request), max }
    }
}

pin_project! {
    /// The answer from further in, unless it is known to be too large.
    #[derive(Debug)]
    pub struct ResponseSizeFuture<F> {
        #[pin]
        inner: F,
        max: Option<u64>,
    }
}

impl<F, R> Future for ResponseSizeFuture<F>
where
    F: Future<Output = Result<Response<R>, Refusal>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<BoundedBody<R>>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        if let Some(max) = *this.max
            && response.body().size_hint().lower() > max
        {
            return Poll::Ready(Err(too_large(max)));
        }
        let (left, max) = (*this.max, *this.max);
        Poll::Ready(Ok(response.map(|body| BoundedBody { body, left, max })))
    }
}

pin_project! {
    /// A response body that ends in an error once it is over its bound.
    #[derive(Debug)]
    pub struct BoundedBody<B> {
        #[pin]
        body: B,
        left: Option<u64>,
        max: Option<u64>,
    }
}

impl<B> Body for BoundedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = match ready!(this.body.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
        };
        if let (Some(left), Some(data)) = (this.left.as_mut(), frame.data_ref()) {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(too_large(this.max.unwrap_or(0)).into()))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full, channel::Channel};

    use super::*;

    #[tokio::test]
    async fn a_size_known_ahead_is_refused_and_a_stream_is_cut_off() {
        let full = tower::service_fn(|request: Request<usize>| async move {
            Ok(Response::new(Full::new(Bytes::from(vec![0; *request.body()]))))
        });
        let mut service = ResponseSizeLayer(Some(8)).layer(full);
        assert!(service.call(Request::new(8)).await.is_ok());
        let refusal = service.call(Request::new(9)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ResponseTooLarge);

        let stream = tower::service_fn(|_: Request<()>| async move {
            let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
            sender.send_data(Bytes::from_static(b"12345")).await.unwrap();
            sender.send_data(Bytes::from_static(b"67890")).await.unwrap();
            Ok(Response::new(body))
        });
        let response = ResponseSizeLayer(Some(8)).layer(stream).call(Request::new(())).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
    }
}
