//! One request, one length, one host: what must hold before anything else is believed.
//!
//! SECURITY: two parsers that disagree on where a body ends or whom it is for are the root of
//! request smuggling, so everything ambiguous is refused and the connection closed
//! ([RFC 9112 section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3),
//! [section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)). This stands before the
//! probes, since a probe's connection can be smuggled through like any other.

use std::net::Ipv6Addr;

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version, header};

use crate::check::Check;
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// Refuses what could be read in two ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct Framing;

impl Check for Framing {
    fn check<B>(&self, request: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
        let fields = Fields::of(request);
        fields.transfer_encoding()?;
        if fields.surrounded {
            return Err(Refusal::new(Reason::MalformedRequest, "a field begins or ends with white space"));
        }
        host(request, &fields)?;
        target(request, exchange)?;
        fields.expectation()
    }
}

/// What has to do with framing among the fields of a head, gathered in one look at them.
#[derive(Default)]
struct Fields<'a> {
    transfer_encoding: Option<&'a HeaderValue>,
    /// It stands there more than once.
    more_codings: bool,
    content_length: bool,
    host: Option<&'a HeaderValue>,
    more_hosts: bool,
    /// An expectation that is none of ours.
    expects: bool,
    /// HTTP/1 knows white space around a value for none of it, and HTTP/2 forbids it (RFC 9113 section
    /// 8.2.1). Passed on, it has an upstream end a connection that others use.
    surrounded: bool,
}

impl<'a> Fields<'a> {
    fn of<B>(request: &'a Request<B>) -> Self {
        let mut fields = Self::default();
        let http2 = request.version() == Version::HTTP_2;
        for (name, value) in request.headers() {
            if *name == header::HOST {
                fields.more_hosts |= fields.host.replace(value).is_some();
            } else if *name == header::TRANSFER_ENCODING {
                fields.more_codings |= fields.transfer_encoding.replace(value).is_some();
            } else if *name == header::CONTENT_LENGTH {
                fields.content_length = true;
            } else if *name == header::EXPECT {
                fields.expects |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
            fields.surrounded |= http2 && (blank(value.as_bytes().first()) || blank(value.as_bytes().last()));
        }
        fields
    }

    fn transfer_encoding(&self) -> Result<(), Refusal> {
        let Some(coding) = self.transfer_encoding else { return Ok(()) };
        let refuse = |detail| Err(Refusal::new(Reason::AmbiguousFraming, detail));
        if self.more_codings || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return refuse("the only transfer coding understood is a single chunked");
        }
        // The parser drops a Content-Length that stands beside chunked and closes after the answer
        // (RFC 9112 section 6.3, rule 3). Should one ever come through, it is refused here.
        if self.content_length {
            return refuse("the request has both Transfer-Encoding and Content-Length");
        }
        Ok(())
    }

    fn expectation(&self) -> Result<(), Refusal> {
        if self.expects {
            return Err(Refusal::new(Reason::ExpectationFailed, "the only expectation met is 100-continue"));
        }
        Ok(())
    }
}

fn host<B>(request: &Request<B>, fields: &Fields<'_>) -> Result<(), Refusal> {
    let refuse = |detail| Err(Refusal::new(Reason::InvalidHost, detail));
    if request.method() == Method::CONNECT {
        return refuse("CONNECT is not served: this is no forward proxy");
    }
    if fields.more_hosts {
        return refuse("the request has more than one Host");
    }
    let field = fields.host;
    let authority = request.uri().authority();
    if field.is_none() && authority.is_none() {
        // HTTP/1.0 knew no Host; load balancers' health checks still speak it.
        return if request.version() == Version::HTTP_10 {
            Ok(())
        } else {
            refuse("the request has no Host")
        };
    }
    // In HTTP/1.1 the field must be there even beside an absolute target (RFC 9112 section 3.2.2).
    if field.is_none() && request.version() == Version::HTTP_11 {
        return refuse("the request has no Host");
    }
    if field.is_some_and(|field| !is_host(field.as_bytes()))
        || authority.is_some_and(|authority| !is_host(authority.as_str().as_bytes()))
    {
        return refuse("the Host is not a host name or address with an optional port");
    }
    if let (Some(field), Some(authority)) = (field, authority)
        && !same_host(field.as_bytes(), authority, request.uri().scheme_str())
    {
        return refuse("the Host is not that of the request target");
    }
    Ok(())
}

/// `example.com`, `127.0.0.1:80`, `[::1]:80`; no user, no percent-encoding, no empty name.
fn is_host(text: &[u8]) -> bool {
    let (host, rest) = if text.first() == Some(&b'[') {
        let Some(end) = text.iter().position(|byte| *byte == b']') else { return false };
        let (bracketed, rest) = text.split_at(end + 1);
        let address = bracketed.get(1..end).and_then(|address| std::str::from_utf8(address).ok());
        if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
            return false;
        }
        (bracketed, rest)
    } else {
        let names = |byte: &u8| NAMING.get(usize::from(*byte)).copied().unwrap_or(false);
        text.split_at(text.iter().position(|byte| !names(byte)).unwrap_or(text.len()))
    };
    !host.is_empty() && host.len() <= 255 && (rest.is_empty() || is_port(rest))
}

/// What a host's name is made of.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, for which a panic is an error")]
const NAMING: [bool; 256] = {
    let (mut naming, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        naming[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        byte += 1;
    }
    naming
};

/// `:` and a number that fits a port. A bare `:` is allowed by the grammar and names no port.
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else { return false };
    if digits.len() > 5 {
        return false;
    }
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number * 10 + digit)
    });
    number.is_some_and(|port| port <= 65_535)
}

/// Compares without case, and with the scheme's port taken for no port.
fn same_host(field: &[u8], authority: &Authority, scheme: Option<&str>) -> bool {
    let default_port: &[u8] = if scheme == Some("https") { b":443" } else { b":80" };
    fn bare<'a>(text: &'a [u8], default_port: &[u8]) -> &'a [u8] {
        text.strip_suffix(default_port).or_else(|| text.strip_suffix(b":")).unwrap_or(text)
    }
    bare(field, default_port).eq_ignore_ascii_case(bare(authority.as_str().as_bytes(), default_port))
}

fn target<B>(request: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
    let refuse = |detail| {
        // What follows on the connection was written by somebody who builds targets wrongly.
        if let Some(exchange) = exchange {
            exchange.close_after();
        }
        Err(Refusal::new(Reason::InvalidPath, detail))
    };
    if exchange.is_some_and(|exchange| exchange.fragment) {
        return refuse("the request target has a fragment");
    }
    let uri = request.uri();
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return refuse("the request target's scheme is not http or https");
    }
    match uri.path().as_bytes().first() {
        Some(b'/') => Ok(()),
        Some(b'*') if request.method() == Method::OPTIONS => Ok(()),
        _ => refuse("the request target does not begin with a slash"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(request: http::request::Builder) -> Option<Reason> {
        Framing.check(&request.body(()).unwrap(), None).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn only_a_single_chunked_is_a_transfer_coding() {
        let request = || Request::builder().uri("/").header("host", "a");
        assert_eq!(refusal(request().header("transfer-encoding", "Chunked")), None);
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked "] {
            let reason = refusal(request().header("transfer-encoding", coding));
            assert_eq!(reason, Some(Reason::AmbiguousFraming), "{coding:?}");
        }
        let twice = request().header("transfer-encoding", "chunked").header("transfer-encoding", "chunked");
        assert_eq!(refusal(twice), Some(Reason::AmbiguousFraming));
        let both = request().header("transfer-encoding", "chunked").header("content-length", "3");
        assert_eq!(refusal(both), Some(Reason::AmbiguousFraming));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in ["a", "example.com", "a_b.c-d", "127.0.0.1:80", "[::1]", "[::1]:8080", "a:", "A.B:65535"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a b", "a/b", "u@a", "[::1", "[::1]x", "[g]", "a:65536", "a:b", "a:80:80", "a%41"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn one_host_that_is_the_targets() {
        let get = |uri: &str| Request::builder().uri(uri);
        assert_eq!(refusal(get("/")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("/").version(Version::HTTP_10)), None);
        assert_eq!(refusal(get("/").header("host", "a").header("host", "a")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("http://a/").header("host", "A:80")), None);
        assert_eq!(refusal(get("http://a/").header("host", "b")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("http://a:81/").header("host", "a")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("http://u@a/").header("host", "a")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("http://a/")), Some(Reason::InvalidHost));
        assert_eq!(refusal(get("http://a/").version(Version::HTTP_2)), None);
        assert_eq!(refusal(get("a:80").method("CONNECT").header("host", "a:80")), Some(Reason::InvalidHost));
    }

    #[test]
    fn a_target_begins_with_a_slash() {
        let host = |uri: &str| Request::builder().uri(uri).header("host", "a");
        assert_eq!(refusal(host("*").method("OPTIONS")), None);
        assert_eq!(refusal(host("*")), Some(Reason::InvalidPath));
        assert_eq!(refusal(host("ftp://a/")), Some(Reason::InvalidPath));
    }

    #[test]
    fn a_field_of_http_2_has_no_white_space_around_it() {
        let request = |value: &'static str| {
            Request::builder().version(Version::HTTP_2).uri("http://a/").header("x-a", value)
        };
        for (value, expected) in
            [("", None), ("a b", None), (" a", Some(())), ("a\t", Some(())), (" ", Some(()))]
        {
            let expected = expected.map(|()| Reason::MalformedRequest);
            assert_eq!(refusal(request(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn an_expectation_is_100_continue_or_fails() {
        let host = || Request::builder().uri("/").header("host", "a");
        assert_eq!(refusal(host().header("expect", "100-Continue")), None);
        assert_eq!(refusal(host().header("expect", "tea")), Some(Reason::ExpectationFailed));
    }
}
