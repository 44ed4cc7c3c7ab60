//! `server.request_id_header`: every request has an id, and every answer tells it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::exchange::Exchange;
use crate::random;

/// Longest id that is taken over from a proxy.
const LONGEST: usize = 128;

/// Gives every request an id: that of a trusted peer if it sent one, else a new one.
#[derive(Debug, Clone)]
pub struct RequestIdLayer(pub HeaderName);

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestId { inner, name: self.0.clone() }
    }
}

/// A service whose requests and answers carry ids.
#[derive(Debug, Clone)]
pub struct RequestId<S> {
    inner: S,
    name: HeaderName,
}

/// A new id: 128 random bits in hexadecimal.
pub fn generate() -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&random::hex_id()))
        .unwrap_or(HeaderValue::from_static("0"))
}

/// Letters, digits and what UUIDs, trace ids and ULIDs use besides; nothing that a log, a header
/// or a shell could trip over.
fn is_id(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    let fits =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'=' | b'+');
    !text.is_empty() && text.len() <= LONGEST && text.iter().all(fits)
}

impl<S, B, R> Service<Request<B>> for RequestId<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let exchange = Exchange::of(&request);
        let trusted = exchange.is_some_and(|exchange| exchange.trusted_peer);
        let sent = request.headers().get(&self.name).filter(|id| trusted && is_id(id)).cloned();
        let id = sent.unwrap_or_else(generate);
        if let Some(exchange) = exchange {
            let _ = exchange.request_id.set(id.clone());
        }
        // SECURITY: the handler sees this id alone, never what an untrusted client sent. Where the
        // client sent none, none is added, which would count as the client's: it is in the exchange.
        if request.headers().contains_key(&self.name) {
            request.headers_mut().insert(self.name.clone(), id.clone());
        }
        RequestIdFuture { inner: self.inner.call(request), header: Some((self.name.clone(), id)) }
    }
}

pin_project! {
    /// The answer, with its id.
    #[derive(Debug)]
    pub struct RequestIdFuture<F> {
        #[pin]
        inner: F,
        header: Option<(HeaderName, HeaderValue)>,
    }
}

impl<F, R, E> Future for RequestIdFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let (Ok(response), Some((name, id))) = (&mut answer, this.header.take()) {
            response.headers_mut().insert(name, id);
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        for id in ["0af7651916cd43dd8448eb211c80319c", "a.b-c_d:1=+", &"x".repeat(128)] {
            assert!(is_id(&HeaderValue::from_str(id).unwrap()), "{id}");
        }
        for id in ["", "a b", "a\"b", "a/b", &"x".repeat(129)] {
            assert!(!is_id(&HeaderValue::from_str(id).unwrap()), "{id}");
        }
        assert!(is_id(&generate()));
    }
}
