//! The heads of what goes to the upstream and of what comes back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri, Version, uri};

use super::fields::{Listed, is_alias, is_of_the_hop};
use super::forwarded;
use super::url::UpstreamProtocol;
use crate::exchange::Exchange;

/// Who we are in `Via` (RFC 9110 section 7.6.3): a pseudonym, since host names are nobody's business.
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 nessen");
const VIA_2: HeaderValue = HeaderValue::from_static("2 nessen");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 nessen");

fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_10 => VIA_1_0,
        _ => VIA_1_1,
    }
}

/// What is asked of the upstream besides the request itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// What it speaks.
    pub protocol: UpstreamProtocol,
    /// Its own name and port.
    pub authority: &'a HeaderValue,
    /// Whether the client's `Host` is passed on.
    pub keep_host: bool,
    /// The field of the request id.
    pub request_id_header: &'a HeaderName,
    /// The protocol to change to, where the client asks for one.
    pub upgrade: Option<&'a HeaderValue>,
    /// Whether the client waits to be told to send its body.
    pub expect: bool,
    /// What is known of the body's length.
    pub length: Length,
}

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none.
    None,
    /// So many bytes.
    Exactly(u64),
    /// Told by its end.
    Open,
}

/// The head of the request to the upstream. It is built anew rather than changed, so that what the
/// client sent is still there for another attempt.
pub(super) fn request<B>(sent: &Parts, exchange: &Exchange, ask: &Ask<'_>, body: B) -> Option<Request<B>> {
    let host = host(sent);
    let mut headers = HeaderMap::with_capacity(sent.headers.len() + 8);
    let to = if ask.keep_host { host.as_ref().unwrap_or(ask.authority) } else { ask.authority };
    let http2 = ask.protocol == UpstreamProtocol::H2c;
    // First, as RFC 9110 section 7.2 asks.
    if !http2 {
        headers.insert(header::HOST, to.clone());
    }
    let listed = Listed::of(&sent.headers, Some(ask.request_id_header));
    let trailers =
        sent.headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for (name, value) in &sent.headers {
        let dropped = is_of_the_hop(name)
            || matches!(*name, header::HOST | header::CONTENT_LENGTH | header::EXPECT)
            || (forwarded::is_forwarding(name) && (!exchange.trusted_peer || forwarded::is_written(name)))
            || name == ask.request_id_header
            || listed.has(name)
            || is_alias(name.as_str());
        if !dropped {
            headers.append(name.clone(), value.clone());
        }
    }
    forwarded::write(&mut headers, &sent.headers, exchange, host.as_ref());
    headers.append(header::VIA, via(sent.version));
    if let Some(id) = exchange.request_id.get() {
        headers.insert(ask.request_id_header.clone(), id.clone());
    }
    if let Some(protocol) = ask.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    } else if http2 && trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if ask.expect {
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    length_of_request(&mut headers, sent, ask);
    join_cookies(&mut headers, sent.version, ask.protocol);
    let target = target(sent, http2.then_some(to))?;
    let mut request = Request::new(body);
    *request.method_mut() = sent.method.clone();
    *request.uri_mut() = target;
    *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Some(request)
}

/// One length, as it was understood here. It is written out: the parser's own client sends no body
/// of unknown length with a GET, and says nothing of an empty one.
fn length_of_request(headers: &mut HeaderMap, sent: &Parts, ask: &Ask<'_>) {
    match ask.length {
        Length::Exactly(bytes) => {
            headers.insert(header::CONTENT_LENGTH, bytes.into());
        }
        Length::Open if ask.protocol == UpstreamProtocol::Http1 => {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Length::Open => {}
        // Some servers want to be told where a body could have been (RFC 9110 section 8.6).
        Length::None => {
            let expected = [Method::POST, Method::PUT, Method::PATCH].contains(&sent.method);
            if expected || sent.headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
    }
}

/// HTTP/2 may send one cookie a field; everywhere else they are one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap, from: Version, to: UpstreamProtocol) {
    if from != Version::HTTP_2 || to != UpstreamProtocol::Http1 {
        return;
    }
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whom the client asked for.
fn host(sent: &Parts) -> Option<HeaderValue> {
    match sent.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => sent.headers.get(header::HOST).cloned(),
    }
}

/// The target without its authority in HTTP/1.1, and with one in HTTP/2.
fn target(sent: &Parts, authority: Option<&HeaderValue>) -> Option<Uri> {
    let path = sent.uri.path_and_query().cloned().unwrap_or(uri::PathAndQuery::from_static("/"));
    let mut parts = uri::Parts::default();
    if let Some(authority) = authority {
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(authority.to_str().ok()?.parse().ok()?);
        // `*` cannot stand behind an authority; HTTP/2 writes it as a path of its own.
        if path.as_str() == "*" {
            return None;
        }
    }
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

/// The protocol that the client wants to change to, where it may: one, asked for by both fields of
/// a GET without a body (RFC 9110 section 7.8). `h2c` is not passed on: what followed would be
/// understood by nobody here (it is a known way past proxies).
pub(super) fn upgrade(sent: &Parts, has_body: bool) -> Option<&HeaderValue> {
    let mut fields = sent.headers.get_all(header::UPGRADE).iter();
    let protocol = fields.next().filter(|_| fields.next().is_none())?;
    let listed = sent.headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|it| it.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let text = protocol.as_bytes();
    let known = !text.is_empty() && !text.contains(&b',') && !text.to_ascii_lowercase().starts_with(b"h2c");
    let fits = sent.version == Version::HTTP_11 && sent.method == Method::GET && !has_body;
    (listed && known && fits).then_some(protocol)
}

/// Whether the body of an answer was understood: the only transfer coding that is, is a single
/// `chunked` (RFC 9112 section 6.1). The parser reads others until the connection ends, and would
/// pass on what is still encoded.
pub(super) fn is_understood<B>(answer: &http::Response<B>) -> bool {
    let mut codings = answer.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Makes an upstream's head one that may be passed on. `exact` is the length that its body has,
/// where that is known.
pub(super) fn answer(parts: &mut http::response::Parts, method: &Method, exact: Option<u64>) {
    let headers = &mut parts.headers;
    let listed = Listed::of(headers, None);
    let dropped: Vec<HeaderName> =
        headers.keys().filter(|name| is_of_the_hop(name) || listed.has(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    length(headers, parts.status, method, exact);
    headers.append(header::VIA, via(parts.version));
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
}

/// One Content-Length, and only where it tells the truth. Answers without a body tell that of the
/// body that they stand for.
fn length(headers: &mut HeaderMap, status: StatusCode, method: &Method, exact: Option<u64>) {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| decimal(value.as_bytes()));
    let stands_for = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    match (told, exact) {
        (Some(told), _) if stands_for => headers.insert(header::CONTENT_LENGTH, told.into()),
        (_, Some(exact)) if !stands_for && status != StatusCode::NO_CONTENT => {
            headers.insert(header::CONTENT_LENGTH, exact.into())
        }
        _ => headers.remove(header::CONTENT_LENGTH),
    };
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}
