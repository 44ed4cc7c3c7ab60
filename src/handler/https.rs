//! Sends everybody to https, on the port that is there for nothing else.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower::Service;

use super::body::AnswerBody;
use crate::host::host_of;
use crate::refusal::{Reason, Refusal};

/// Answers 308, which keeps method and body (RFC 9110 section 15.4.9), to the same host and target by https.
#[derive(Debug, Clone, Copy)]
pub struct ToHttps {
    /// The port that clients reach TLS at.
    pub port: u16,
}

impl ToHttps {
    fn location<B>(self, request: &Request<B>) -> Option<HeaderValue> {
        let host = host_of(request).filter(|host| !host.is_empty())?;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        // `*` is of the server as a whole.
        let target = if target.starts_with('/') { target } else { "/" };
        let location = match self.port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        };
        HeaderValue::from_maybe_shared(Bytes::from(location)).ok()
    }
}

impl<B> Service<Request<B>> for ToHttps {
    type Response = Response<AnswerBody>;
    type Error = Refusal;
    type Future = Ready<Result<Self::Response, Refusal>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(location) = self.location(&request) else {
            let refusal = Refusal::new(Reason::InvalidHost, "without Host there is nowhere to be sent to");
            return ready(Err(refusal));
        };
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(port: u16, host: &str, target: &str) -> Option<String> {
        let request = Request::builder().uri(target).header(header::HOST, host).body(()).unwrap();
        ToHttps { port }.location(&request).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn it_leads_to_the_same_by_https() {
        for (port, host, target, expected) in [
            (443, "a.example", "/", "https://a.example/"),
            (443, "a.example:8080", "/b?c=%20d", "https://a.example/b?c=%20d"),
            (8443, "a.example:8080", "//b/../c", "https://a.example:8443//b/../c"),
            (8443, "[::1]:80", "*", "https://[::1]:8443/"),
            (443, "a.example", "http://b.example/c", "https://b.example/c"),
        ] {
            assert_eq!(location(port, host, target).as_deref(), Some(expected));
        }
        assert_eq!(location(443, "", "/"), None);
    }
}
