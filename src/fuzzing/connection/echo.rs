//! The application: it says what it was asked, so that a request that was taken for another shows.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt;

/// The field that names the request that is answered.
pub(super) const ECHO: &str = "x-echo";
/// Here a body is answered by itself, as it comes.
pub(super) const STREAM: &str = "/stream";
/// More than a client reads by the way.
static MUCH: [u8; 48 * 1024] = [b'm'; 48 * 1024];

pub(super) fn router() -> Router {
    Router::new().fallback(answer)
}

/// What is said of a request: its method and target.
pub(super) fn said_of(method: &str, target: &str) -> String {
    format!("{method} {target}")
}

async fn answer(request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let said = HeaderValue::from_str(&said_of(parts.method.as_str(), target)).unwrap();
    let body = match parts.uri.path() {
        // Answers that come before their request has.
        "/early" => return Response::new(Body::from("early")),
        "/much" => return Response::new(Body::from(Bytes::from_static(&MUCH))),
        "/never" => std::future::pending().await,
        // Those that come while it comes: they do not say what was asked, since it is not known to be a request yet.
        STREAM => return Response::new(Body::new(Unsized(body))),
        "/behind" => {
            tokio::spawn(body.collect());
            return Response::new(Body::from("accepted"));
        }
        // SECURITY: an application that does not care how its body ended.
        _ => body.collect().await.map_or_else(|_| Body::from("broken"), |body| Body::from(body.to_bytes())),
    };
    // Without a length it goes out in chunks.
    let chunked = parts.uri.path() == "/chunked";
    let body = if chunked { Body::new(Unsized(body)) } else { body };
    let mut response = Response::new(body);
    response.headers_mut().insert(ECHO, said);
    response
}

/// A body that does not tell its length.
struct Unsized(Body);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}
