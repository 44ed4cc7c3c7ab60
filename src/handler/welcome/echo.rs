//! `/echo`: answers with the body it was sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::{method_not_allowed, refused};
use crate::refusal::Refusal;

/// Reads the whole body before it answers: what is too large or too slow is then refused with a
/// status, not in the middle of an answer. The layers around it bound what it holds.
pub(super) async fn answer(request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match collect(body).await {
        Ok(body) => body,
        Err(error) => {
            return match refusal_of(&error) {
                Some(refusal) => refused(refusal),
                // The client took its request back, and nobody reads this.
                None => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                    response
                }
            };
        }
    };
    if body.left == 0 && (parts.method == Method::GET || parts.method == Method::HEAD) {
        return method_not_allowed("POST, PUT, PATCH, DELETE");
    }
    let mut response = Response::new(Body::new(body));
    let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
    let headers = response.headers_mut();
    let opaque = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(opaque));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // SECURITY: a page that gets a browser to post HTML here must not have it run as ours.
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    response
}

/// A body as it came, piece by piece: joined, it would be held twice for a moment.
#[derive(Debug, Default)]
struct Echo {
    pieces: VecDeque<Bytes>,
    left: u64,
}

async fn collect(mut body: Body) -> Result<Echo, axum::Error> {
    let mut echo = Echo::default();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            echo.left += piece.len() as u64;
            echo.pieces.push_back(piece);
        }
    }
    Ok(echo)
}

impl http_body::Body for Echo {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What ended the body says so itself.
fn refusal_of(error: &(dyn Error + 'static)) -> Option<Refusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        cause = error.source();
    }
    None
}
