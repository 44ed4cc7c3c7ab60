//! Which fields of a message are for the next hop alone
//! ([RFC 9110 section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http_body::Frame;

/// Fields that concern one connection, whatever `Connection` says. `Proxy` is none of HTTP's: CGI
/// programs take it for the variable `HTTP_PROXY` (CVE-2016-5385).
pub(super) fn is_of_the_hop(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::TE
        | header::TRANSFER_ENCODING
        | header::UPGRADE
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings" | "proxy"),
    }
}

/// Fields that say who asks, for whom, by which way, or where the body ends. `Connection` cannot
/// name them: to have a field of the proxy's own removed would be to choose what the upstream
/// believes (the X-Forwarded-For case is CVE-2022-31813).
fn is_protected(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "authorization"
            | "www-authenticate"
            | "cookie"
            | "set-cookie"
            | "forwarded"
            | "via"
            | "x-real-ip"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "origin"
            | "date"
            | "location"
            | "cache-control"
            | "vary"
    ) || name.starts_with("x-forwarded-")
}

/// The fields that `Connection` names and may name.
#[derive(Debug, Default)]
pub(super) struct Listed(Vec<HeaderName>);

impl Listed {
    /// Those of a message; `besides` are protected as well.
    pub(super) fn of(headers: &HeaderMap, besides: Option<&HeaderName>) -> Self {
        let mut listed = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            for token in value.as_bytes().split(|byte| *byte == b',') {
                // Nearly every message says this, and no field is called so.
                let token = token.trim_ascii();
                if token.is_empty() || token.eq_ignore_ascii_case(b"keep-alive") {
                    continue;
                }
                if let Ok(name) = HeaderName::from_bytes(token)
                    && !is_protected(name.as_str())
                    && besides != Some(&name)
                    && name != "close"
                {
                    listed.push(name);
                }
            }
        }
        Self(listed)
    }

    /// Whether the field is one of them.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.contains(name)
    }
}

/// A frame as it may be passed on.
pub(super) fn filtered(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            filter_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// Takes from trailers what belongs into a head or is nobody's to add afterwards: framing, routing,
/// authentication, and how the content is to be read (RFC 9110 section 6.5.1).
fn filter_trailers(trailers: &mut HeaderMap) {
    let kept = |name: &HeaderName| {
        !is_of_the_hop(name)
            && !is_protected(name.as_str())
            && !matches!(
                name.as_str(),
                "trailer"
                    | "expect"
                    | "max-forwards"
                    | "pragma"
                    | "range"
                    | "age"
                    | "expires"
                    | "retry-after"
                    | "server"
                    | "warning"
            )
            && !name.as_str().starts_with("if-")
            && !name.as_str().starts_with("access-control-")
    };
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| !kept(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// Whether an upstream that turns fields into variables (CGI, WSGI, Rack, PHP) would take the field
/// for one that the proxy writes: `X_Forwarded_For` and `X-Forwarded-For` are one variable.
pub(super) fn is_alias(name: &str) -> bool {
    name.contains('_') && {
        let plain = name.replace('_', "-");
        is_protected(&plain)
            || matches!(plain.as_str(), "transfer-encoding" | "connection" | "upgrade" | "proxy")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn connection_can_name_a_field_of_the_hop_and_no_other() {
        let mut headers = HeaderMap::new();
        let value =
            "close, X-Hop, keep-alive, authorization,X-Forwarded-For , content-length, bad name, host, x-id";
        headers.append(header::CONNECTION, HeaderValue::from_static(value));
        headers.append(header::CONNECTION, HeaderValue::from_static("x-other"));
        let own = HeaderName::from_static("x-id");
        let listed = Listed::of(&headers, Some(&own));
        assert_eq!(listed.0, ["x-hop", "x-other"]);
    }

    #[test]
    fn an_underscore_does_not_make_another_field() {
        for name in ["x_forwarded_for", "x-forwarded_for", "content_length", "proxy_", "x_real_ip"] {
            assert_eq!(is_alias(name), name != "proxy_", "{name}");
        }
        assert!(!is_alias("x-forwarded-for") && !is_alias("my_field"));
    }

    #[test]
    fn trailers_hold_nothing_that_belongs_into_a_head() {
        let mut trailers = HeaderMap::new();
        for name in
            ["grpc-status", "x-checksum", "content-length", "authorization", "host", "set-cookie", "if-match"]
        {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        filter_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
