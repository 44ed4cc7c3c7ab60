//! The heads of what goes to the upstream and of what comes back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri, Version, uri};

use super::fields::{Listed, is_alias, is_of_the_hop};
use super::forwarded;
use super::http1::field;
use super::url::UpstreamProtocol;
use crate::exchange::Exchange;
use crate::trace::TRACEPARENT;
use crate::trace::context::SpanId;

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
    /// The span of this attempt, where it has one.
    pub span: Option<SpanId>,
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

/// Where the fields of a request go: into a map, or straight to the wire.
pub(crate) trait Sink {
    /// Adds a field.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Adds a field whose value was made here.
    fn put_made(&mut self, name: &HeaderName, value: &[u8]);
}

impl Sink for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }

    fn put_made(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name.clone(), value);
        }
    }
}

/// What is made here is made of addresses, hosts and numbers: nothing in it ends the line.
impl Sink for Vec<u8> {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        field(self, name.as_str(), value.as_bytes());
    }

    fn put_made(&mut self, name: &HeaderName, value: &[u8]) {
        field(self, name.as_str(), value);
    }
}

/// Writes the head of a request as HTTP/1.1. What the client sent stays as it is, for another
/// attempt.
pub(super) fn write_http1(out: &mut Vec<u8>, sent: &Parts, exchange: &Exchange, ask: &Ask<'_>) {
    let target = sent.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    let slash = if lacks_slash(target) { "/" } else { "" };
    for part in [sent.method.as_str(), " ", slash, target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let host = host(sent);
    // First, as RFC 9110 section 7.2 asks.
    let to = if ask.keep_host { host.as_ref().unwrap_or(ask.authority) } else { ask.authority };
    out.put(&header::HOST, to);
    fields(out, sent, exchange, ask, host.as_ref());
    out.extend_from_slice(b"\r\n");
}

/// The request as HTTP/2; `None`: it cannot be one.
pub(super) fn http2<B>(sent: &Parts, exchange: &Exchange, ask: &Ask<'_>, body: B) -> Option<Request<B>> {
    let host = host(sent);
    let mut headers = HeaderMap::with_capacity(sent.headers.len() + 8);
    fields(&mut headers, sent, exchange, ask, host.as_ref());
    let to = if ask.keep_host { host.as_ref().unwrap_or(ask.authority) } else { ask.authority };
    let mut request = Request::new(body);
    *request.uri_mut() = target(sent, to, ask.protocol.is_tls())?;
    *request.method_mut() = sent.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Some(request)
}

/// Which of the fields that are rare in requests one has. Asked of all of them at once: few as they are, that
/// takes less than to look one up.
#[derive(Debug, Default, Clone, Copy)]
struct Has {
    connection: bool,
    length: bool,
    te: bool,
}

impl Has {
    fn of(headers: &HeaderMap) -> Self {
        let mut has = Self::default();
        for name in headers.keys() {
            has.connection |= *name == header::CONNECTION;
            has.length |= *name == header::CONTENT_LENGTH;
            has.te |= *name == header::TE;
        }
        has
    }

    fn listed(self, headers: &HeaderMap, besides: Option<&HeaderName>) -> Listed {
        if self.connection { Listed::of(headers, besides) } else { Listed::default() }
    }
}

fn has_upgrade(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == header::UPGRADE)
}

/// All fields but `Host`.
fn fields(out: &mut impl Sink, sent: &Parts, exchange: &Exchange, ask: &Ask<'_>, host: Option<&HeaderValue>) {
    let has = Has::of(&sent.headers);
    let listed = has.listed(&sent.headers, Some(ask.request_id_header));
    let http2 = ask.protocol.is_http2();
    // HTTP/2 may send one cookie a field; everywhere else they are one field (RFC 9113 section 8.2.3).
    let join_cookies = sent.version == Version::HTTP_2 && !http2;
    let mut cookies = Vec::new();
    let trace = exchange.trace.get();
    for (name, value) in &sent.headers {
        let dropped = is_of_the_hop(name)
            || matches!(*name, header::HOST | header::CONTENT_LENGTH | header::EXPECT)
            || (forwarded::is_forwarding(name) && (!exchange.trusted_peer || forwarded::is_written(name)))
            || name == ask.request_id_header
            || listed.has(name)
            || trace.is_some_and(|trace| trace.replaces(name))
            || is_alias(name.as_str());
        if dropped {
            continue;
        }
        if join_cookies && *name == header::COOKIE {
            cookies.push(value.as_bytes());
            continue;
        }
        out.put(name, value);
    }
    if !cookies.is_empty() {
        out.put_made(&header::COOKIE, &cookies.join(&b"; "[..]));
    }
    forwarded::write(out, &sent.headers, exchange, host);
    out.put(&header::VIA, &via(sent.version));
    if let Some(id) = exchange.request_id.get() {
        out.put_made(ask.request_id_header, id.as_bytes());
    }
    if let Some(parent) = trace.and_then(|trace| trace.parent_of(ask.span)) {
        out.put_made(&TRACEPARENT, &parent);
    }
    if let Some(protocol) = ask.upgrade {
        out.put(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
        out.put(&header::UPGRADE, protocol);
    } else if http2
        && has.te
        && sent.headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"))
    {
        out.put(&header::TE, &HeaderValue::from_static("trailers"));
    }
    if ask.expect {
        out.put(&header::EXPECT, &HeaderValue::from_static("100-continue"));
    }
    match ask.length {
        Length::Exactly(bytes) => {
            out.put_made(&header::CONTENT_LENGTH, itoa::Buffer::new().format(bytes).as_bytes());
        }
        Length::Open if !http2 => out.put(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked")),
        Length::Open => {}
        // Some servers want to be told where a body could have been (RFC 9110 section 8.6).
        Length::None => {
            let expected = [Method::POST, Method::PUT, Method::PATCH].contains(&sent.method);
            if expected || has.length {
                out.put(&header::CONTENT_LENGTH, &HeaderValue::from_static("0"));
            }
        }
    }
}

/// Whom the client asked for.
fn host(sent: &Parts) -> Option<HeaderValue> {
    match sent.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => sent.headers.get(header::HOST).cloned(),
    }
}

/// Whether a target is a query alone, as that of `http://host?query` is: its path is empty, and
/// to be said as `/` (RFC 9112 section 3.2.1).
fn lacks_slash(target: &str) -> bool {
    target.starts_with('?')
}

/// The target with its authority. `*` cannot stand behind one: there is none for it.
fn target(sent: &Parts, authority: &HeaderValue, tls: bool) -> Option<Uri> {
    let path = sent.uri.path_and_query().cloned().unwrap_or(uri::PathAndQuery::from_static("/"));
    let path = if lacks_slash(path.as_str()) { ["/", path.as_str()].concat().parse().ok()? } else { path };
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    parts.authority = Some(authority.to_str().ok()?.parse().ok()?);
    parts.path_and_query = Some(path).filter(|path| path.as_str() != "*");
    parts.path_and_query.as_ref()?;
    Uri::from_parts(parts).ok()
}

/// The protocol that the client wants to change to, where it may: one, asked for by both fields of
/// a GET without a body (RFC 9110 section 7.8). `h2c` is not passed on: what followed would be
/// understood by nobody here (it is a known way past proxies).
pub(super) fn upgrade(sent: &Parts, has_body: bool) -> Option<&HeaderValue> {
    if !has_upgrade(&sent.headers) {
        return None;
    }
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

/// Makes an upstream's head one that may be passed on. `exact` is the length that its body has,
/// where that is known.
pub(super) fn answer(parts: &mut http::response::Parts, method: &Method, exact: Option<u64>) {
    let headers = &mut parts.headers;
    // What names others of the hop is itself of the hop.
    if headers.keys().any(is_of_the_hop) {
        let listed = Listed::of(headers, None);
        let dropped: Vec<HeaderName> =
            headers.keys().filter(|name| is_of_the_hop(name) || listed.has(name)).cloned().collect();
        for name in dropped {
            headers.remove(name);
        }
    }
    length(headers, parts.status, method, exact);
    headers.append(header::VIA, via(parts.version));
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
}

/// One Content-Length, and only where it tells the truth. Answers without a body tell that of the
/// body that they stand for.
fn length(headers: &mut HeaderMap, status: StatusCode, method: &Method, exact: Option<u64>) {
    let mut said =
        headers.iter().filter(|(name, _)| **name == header::CONTENT_LENGTH).map(|(_, value)| value);
    let Some(first) = said.next() else { return };
    let told = decimal(first.as_bytes());
    let once = said.next().is_none();
    let stands_for = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    // RFC 9110 section 8.6.
    let must_not = status == StatusCode::NO_CONTENT || status.is_informational();
    match (told, exact) {
        _ if must_not => headers.remove(header::CONTENT_LENGTH),
        // It stands there.
        (Some(told), Some(exact)) if !stands_for && told == exact && once => return,
        (Some(told), _) if stands_for => headers.insert(header::CONTENT_LENGTH, told.into()),
        (_, Some(exact)) if !stands_for => headers.insert(header::CONTENT_LENGTH, exact.into()),
        _ => headers.remove(header::CONTENT_LENGTH),
    };
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_told_once_and_only_where_there_may_be_one() {
        for (status, method, told, exact, expected) in [
            (200, Method::GET, "5, 5", Some(5), Some("5")),
            (200, Method::GET, "5", None, None),
            (200, Method::HEAD, "5", Some(0), Some("5")),
            (304, Method::GET, "5", Some(0), Some("5")),
            (204, Method::GET, "5", Some(0), None),
            (204, Method::HEAD, "5", Some(0), None),
            (101, Method::GET, "5", Some(0), None),
        ] {
            let answer = http::Response::builder().status(status).header(header::CONTENT_LENGTH, told);
            let mut parts = answer.body(()).unwrap().into_parts().0;
            super::answer(&mut parts, &method, exact);
            let length = parts.headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(length, expected, "{status} {method} {told}");
        }
    }
}
