//! `security_headers.*`: fields that tell browsers to be careful, on answers that do not set them
//! themselves.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::Entry;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::exchange::Exchange;

/// Adds fields to answers.
#[derive(Debug, Clone)]
pub struct SecurityHeadersLayer(Arc<[(HeaderName, HeaderValue)]>);

impl SecurityHeadersLayer {
    /// Adds these.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl<S> Layer<S> for SecurityHeadersLayer {
    type Service = SecurityHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityHeaders { inner, fields: self.0.clone() }
    }
}

/// A service whose answers carry the fields.
#[derive(Debug, Clone)]
pub struct SecurityHeaders<S> {
    inner: S,
    fields: Arc<[(HeaderName, HeaderValue)]>,
}

impl<S, B, R> Service<Request<B>> for SecurityHeaders<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SecurityHeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let policy = Exchange::of(&request).and_then(|exchange| exchange.policy());
        let fields = policy.map_or(&self.fields, |policy| &policy.fields).clone();
        SecurityHeadersFuture { inner: self.inner.call(request), fields }
    }
}

pin_project! {
    /// The answer with the fields.
    #[derive(Debug)]
    pub struct SecurityHeadersFuture<F> {
        #[pin]
        inner: F,
        fields: Arc<[(HeaderName, HeaderValue)]>,
    }
}

impl<F, R, E> Future for SecurityHeadersFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            // Room for these and for what is added further out, at once.
            response.headers_mut().reserve(this.fields.len() + 4);
            for (name, value) in this.fields.iter() {
                if let Entry::Vacant(place) = response.headers_mut().entry(name) {
                    place.insert(value.clone());
                }
            }
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn what_the_app_set_stays() {
        let app = tower::service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::builder().header("x-frame-options", "SAMEORIGIN").body(()).unwrap())
        });
        let fields = ["x-frame-options", "referrer-policy"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("ours")));
        let response = SecurityHeadersLayer::new(fields).layer(app).call(Request::new(())).await.unwrap();
        assert_eq!(response.headers()["x-frame-options"], "SAMEORIGIN");
        assert_eq!(response.headers()["referrer-policy"], "ours");
    }
}
