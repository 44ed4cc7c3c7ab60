//! The closed list of reasons for which Nessen refuses, and what each looks like on the wire.
//!
//! Nothing in the crate refuses in any other way: a [`Reason`] decides the status, whether the
//! connection closes, the metric label, the log field and the code of the problem body
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). No part of the request is reflected in it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// What happens to an HTTP/1 connection after the refusal. An HTTP/2 stream is answered alone:
/// its neighbours on the connection did nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The connection stays open for the next request.
    Keep,
    /// The answer carries `Connection: close`; the connection is half-closed, drained and closed.
    Close,
    /// There is no answer: the stream or connection is reset or closed.
    Silent,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $code:literal, $status:literal, $fate:ident, $title:literal;)*) => {
        /// Why a request, stream or connection was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The label of `nessen_rejections_total{reason}` and the log field `reason`.
            pub const fn label(self) -> &'static str { match self { $(Reason::$name => $label,)* } }

            /// The `code` of the problem body: the label in capitals.
            pub const fn code(self) -> &'static str { match self { $(Reason::$name => $code,)* } }

            /// The status answered; `None` where nothing is answered.
            pub const fn status(self) -> Option<StatusCode> {
                let status: u16 = match self { $(Reason::$name => $status,)* };
                match StatusCode::from_u16(status) { Ok(code) => Some(code), Err(_) => None }
            }

            /// What becomes of an HTTP/1 connection.
            pub const fn fate(self) -> Fate { match self { $(Reason::$name => Fate::$fate,)* } }

            /// The `title` of the problem body: the status' own phrase.
            pub const fn title(self) -> &'static str { match self { $(Reason::$name => $title,)* } }
        }
    };
}

reasons! {
    /// The bytes are not HTTP, or the request head breaks its grammar (RFC 9112, RFC 9113).
    MalformedRequest = "malformed_request", "MALFORMED_REQUEST", 400, Close, "Bad Request";
    /// The body's length can be read in more than one way (RFC 9112 section 6.3).
    AmbiguousFraming = "ambiguous_framing", "AMBIGUOUS_FRAMING", 400, Close, "Bad Request";
    /// Host is missing, repeated, not a host, or not that of the target; or the method is CONNECT.
    InvalidHost = "invalid_host", "INVALID_HOST", 400, Close, "Bad Request";
    /// The target holds a fragment, or leaves its root.
    InvalidPath = "invalid_path", "INVALID_PATH", 400, Keep, "Bad Request";
    /// No route or file answers to this path.
    NotFound = "not_found", "NOT_FOUND", 404, Keep, "Not Found";
    /// The method is known, and not allowed here. The answer names those that are in `Allow`.
    MethodNotAllowed = "method_not_allowed", "METHOD_NOT_ALLOWED", 405, Keep, "Method Not Allowed";
    /// A request came in the clear to a port that speaks TLS.
    PlainHttp = "plain_http", "PLAIN_HTTP", 400, Close, "Bad Request";
    /// A request head took longer than `limits.headers_timeout`.
    HeadersTimeout = "headers_timeout", "HEADERS_TIMEOUT", 408, Close, "Request Timeout";
    /// No byte of the body came for `limits.body_timeout`.
    BodyTimeout = "body_timeout", "BODY_TIMEOUT", 408, Close, "Request Timeout";
    /// The body came slower than `limits.min_body_rate`.
    BodyTooSlow = "body_too_slow", "BODY_TOO_SLOW", 408, Close, "Request Timeout";
    /// The body is over `limits.max_body_size`.
    BodyTooLarge = "body_too_large", "BODY_TOO_LARGE", 413, Close, "Content Too Large";
    /// The target is over `limits.max_url_length`.
    UrlTooLong = "url_too_long", "URL_TOO_LONG", 414, Keep, "URI Too Long";
    /// `Expect` holds something other than `100-continue`.
    ExpectationFailed = "expectation_failed", "EXPECTATION_FAILED", 417, Keep, "Expectation Failed";
    /// The host is not one of `limits.allowed_hosts`.
    HostNotAllowed = "host_not_allowed", "HOST_NOT_ALLOWED", 421, Keep, "Misdirected Request";
    /// The client spent its allowance of `rate_limit.*`.
    RateLimited = "rate_limited", "RATE_LIMITED", 429, Keep, "Too Many Requests";
    /// The client holds `limits.max_connections_per_ip` connections already.
    TooManyConnectionsFromClient = "too_many_connections_from_client", "TOO_MANY_CONNECTIONS_FROM_CLIENT", 429, Close, "Too Many Requests";
    /// The fields of the head together are over `limits.max_header_size`.
    HeaderTooLarge = "header_too_large", "HEADER_TOO_LARGE", 431, Keep, "Request Header Fields Too Large";
    /// The head has more than `limits.max_header_count` fields.
    TooManyHeaders = "too_many_headers", "TOO_MANY_HEADERS", 431, Keep, "Request Header Fields Too Large";
    /// A handler panicked, or a component of the server failed.
    InternalError = "internal_error", "INTERNAL_ERROR", 500, Keep, "Internal Server Error";
    /// The method is not one that this server knows.
    UnsupportedMethod = "unsupported_method", "UNSUPPORTED_METHOD", 501, Keep, "Not Implemented";
    /// The app answered more than `limits.max_response_size`.
    ResponseTooLarge = "response_too_large", "RESPONSE_TOO_LARGE", 502, Keep, "Bad Gateway";
    /// No upstream could be reached.
    UpstreamUnreachable = "upstream_unreachable", "UPSTREAM_UNREACHABLE", 502, Keep, "Bad Gateway";
    /// The upstream's answer was not HTTP.
    UpstreamInvalid = "upstream_invalid", "UPSTREAM_INVALID", 502, Keep, "Bad Gateway";
    /// `limits.max_in_flight` requests are being served, or `limits.memory` is spent.
    Overloaded = "overloaded", "OVERLOADED", 503, Keep, "Service Unavailable";
    /// Redis did not say whether the client may go on, and `rate_limit.on_redis_failure` is `refuse`.
    RateLimitUnavailable = "rate_limit_unavailable", "RATE_LIMIT_UNAVAILABLE", 503, Keep, "Service Unavailable";
    /// `limits.max_connections` connections are open.
    TooManyConnections = "too_many_connections", "TOO_MANY_CONNECTIONS", 503, Close, "Service Unavailable";
    /// The drain delay is over; the server is about to exit.
    ServerShuttingDown = "server_shutting_down", "SERVER_SHUTTING_DOWN", 503, Close, "Service Unavailable";
    /// No response head within `limits.request_timeout`.
    RequestTimeout = "request_timeout", "REQUEST_TIMEOUT", 504, Keep, "Gateway Timeout";
    /// The upstream's first byte did not come in time.
    UpstreamTimeout = "upstream_timeout", "UPSTREAM_TIMEOUT", 504, Keep, "Gateway Timeout";
    /// The client takes its answer slower than `limits.min_send_rate`, or not at all.
    SlowReader = "slow_reader", "SLOW_READER", 0, Silent, "Slow Reader";
    /// A flood of HTTP/2 frames or of cancelled streams: GOAWAY(ENHANCE_YOUR_CALM).
    Http2Abuse = "http2_abuse", "HTTP2_ABUSE", 0, Silent, "HTTP/2 Abuse";
    /// The TLS handshake took longer than `tls.handshake_timeout`.
    TlsHandshakeTimeout = "tls_handshake_timeout", "TLS_HANDSHAKE_TIMEOUT", 0, Silent, "TLS Handshake Timeout";
    /// What came was no TLS, nothing that both sides speak, or without the certificate that is asked for.
    TlsHandshakeFailed = "tls_handshake_failed", "TLS_HANDSHAKE_FAILED", 0, Silent, "TLS Handshake Failed";
    /// Nothing was in flight for `limits.idle_timeout`.
    Idle = "idle", "IDLE", 0, Silent, "Idle";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One refusal: a [`Reason`] and what a person needs to act on it.
///
/// It is the error type of every layer; the outermost layer turns it into a response.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// One sentence with the number that was exceeded. Never a part of the request.
    pub detail: Cow<'static, str>,
    /// The configuration key that holds the limit, such as `limits.max_body_size`.
    pub limit: Option<&'static str>,
    /// When to try again; sent as `Retry-After` in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Further fields of the answer, such as `Allow`. Boxed: most refusals have none.
    pub fields: Option<Box<Vec<(HeaderName, HeaderValue)>>>,
}

impl Refusal {
    /// A refusal for `reason`, explained by `detail`.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), limit: None, retry_after: None, fields: None }
    }

    /// Names the configuration key that set the limit.
    #[must_use]
    pub fn limit(mut self, key: &'static str) -> Self {
        self.limit = Some(key);
        self
    }

    /// Tells the client when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.get_or_insert_default().push((name, value));
        self
    }

    /// The problem document (RFC 9457).
    pub fn problem(&self, request_id: &str) -> Bytes {
        // Written by hand: a client that is refused costs no more than one that is answered.
        let mut text = Vec::with_capacity(PROBLEM);
        text.extend_from_slice(b"{\"code\":\"");
        text.extend_from_slice(self.reason.code().as_bytes());
        text.extend_from_slice(b"\",\"detail\":");
        json_string(&mut text, &self.detail);
        for (name, value) in [("limit", self.limit.unwrap_or("")), ("request_id", request_id)] {
            if !value.is_empty() {
                text.extend_from_slice(b",\"");
                text.extend_from_slice(name.as_bytes());
                text.extend_from_slice(b"\":");
                json_string(&mut text, value);
            }
        }
        text.extend_from_slice(b",\"status\":");
        match self.reason.status() {
            Some(status) => text.extend_from_slice(status.as_str().as_bytes()),
            None => text.extend_from_slice(b"null"),
        }
        text.extend_from_slice(b",\"title\":\"");
        text.extend_from_slice(self.reason.title().as_bytes());
        text.extend_from_slice(b"\",\"type\":\"about:blank\"}");
        Bytes::from(text)
    }

    /// The whole answer, with its body. A reason without a status is answered 500: it can only
    /// get here by a mistake, since nothing is answered to it on the wire.
    pub fn into_response(self, request_id: &str) -> Response<Bytes> {
        let body = self.problem(request_id);
        let mut response = Response::new(body);
        *response.status_mut() = self.reason.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.reserve(6);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The one security header that a problem document has a use for.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        for (name, value) in self.fields.into_iter().flat_map(|fields| *fields) {
            headers.insert(name, value);
        }
        response
    }

    /// The answer as HTTP/1.1 bytes, for a connection that no request of which ever reached the
    /// service. It always closes.
    pub fn into_http1(self, request_id: &str) -> Vec<u8> {
        let response = self.into_response(request_id);
        let status = response.status();
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\ncontent-length: {}\r\nconnection: close\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Refused"),
            response.body().len()
        )
        .into_bytes();
        for (name, value) in response.headers() {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(response.body());
        bytes
    }
}

/// Bytes that a problem document takes at most, as a rule.
const PROBLEM: usize = 384;

fn json_string(into: &mut Vec<u8>, value: &str) {
    // Neither a string nor writing to memory can fail.
    let _ = serde_json::to_writer(into, value);
}

/// `Retry-After` counts whole seconds; rounding down would invite the client back too early.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.label(), self.detail)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_label_in_capitals_and_every_label_is_unique() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert_eq!(reason.code(), reason.label().to_uppercase());
            assert!(seen.insert(reason.label()), "{reason} stands twice");
            assert_eq!(reason.status().is_none(), reason.fate() == Fate::Silent, "{reason}");
        }
    }

    #[test]
    fn the_problem_body_names_the_limit_and_reflects_nothing() {
        let refusal = Refusal::new(Reason::BodyTooLarge, "the request body is over 1048576 bytes")
            .limit("limits.max_body_size");
        let problem: serde_json::Value = serde_json::from_slice(&refusal.problem("abc")).unwrap();
        assert_eq!(
            problem,
            serde_json::json!({"type": "about:blank", "title": "Content Too Large", "status": 413,
                "code": "BODY_TOO_LARGE", "detail": "the request body is over 1048576 bytes",
                "limit": "limits.max_body_size", "request_id": "abc"})
        );
    }

    #[test]
    fn every_problem_is_json() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason, "a \"detail\" \\ \n of 3 \u{b5}s");
            let problem: serde_json::Value = serde_json::from_slice(&refusal.problem("")).unwrap();
            assert_eq!(problem["detail"], *refusal.detail);
            assert_eq!(problem["title"], reason.title());
            assert_eq!(problem["status"].as_u64(), reason.status().map(|status| status.as_u16().into()));
            assert!(problem.get("limit").is_none() && problem.get("request_id").is_none());
        }
    }

    #[test]
    fn retry_after_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
