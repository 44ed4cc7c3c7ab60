//! The head of a request, and what it says of what follows
//! ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112) sections 2 to 6 and 9).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use crate::chunked::Chunked;

/// Fields that are parsed on the stack.
const FEW: usize = 100;
/// A longer target is no `Uri`.
const MAX_TARGET: usize = (u16::MAX - 1) as usize;

/// A head that can be read in one way alone.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    /// Bytes that it takes.
    pub(super) length: usize,
    pub(super) body: Reading,
    /// Whether another request may follow this one.
    pub(super) keep: bool,
    /// The client waits to be told that its body is wanted.
    pub(super) expects: bool,
    /// The target has a fragment, which `Uri` does not keep.
    pub(super) fragment: bool,
    /// It wishes to speak something else than HTTP from then on.
    pub(super) wish: bool,
}

/// What is still to be read of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
}

impl Reading {
    /// Whether it was read to its end.
    pub(super) fn is_over(self) -> bool {
        match self {
            Self::Length(left) => left == 0,
            Self::Chunked(chunked) => chunked.is_over(),
        }
    }
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not HTTP/1.
    Malformed,
    /// The length of the body can be read in more than one way.
    Ambiguous,
    /// The target is longer than any can be.
    TargetTooLong,
    /// There are more fields than are taken.
    TooManyFields,
}

use Fault::{Ambiguous, Malformed};

/// The head at the beginning of `input`, once it is whole. It shares the input's memory; its fields go to
/// `fields`, which are empty.
pub(super) fn parse(input: &Bytes, most: usize, mut fields: HeaderMap) -> Result<Option<Head>, Fault> {
    let mut few = [const { MaybeUninit::uninit() }; FEW];
    let mut many = Vec::new();
    let room = if most <= FEW {
        few.as_mut_slice()
    } else {
        many.resize_with(most, MaybeUninit::uninit);
        many.as_mut_slice()
    };
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(input, room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooManyFields),
        Err(_) => return Err(Malformed),
    };
    let target = parsed.path.unwrap_or_default();
    if target.len() > MAX_TARGET {
        return Err(Fault::TargetTooLong);
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes()).map_err(|_| Malformed)?;
    let fragment = memchr::memchr(b'#', target.as_bytes()).is_some();
    let uri = Uri::from_maybe_shared(input.slice_ref(target.as_bytes())).map_err(|_| Malformed)?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut said = Said { keep: version == Version::HTTP_11, ..Said::default() };
    fields.reserve(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(input.slice_ref(field.value)).map_err(|_| Malformed)?;
        if said.by(&name, &value, version)? {
            fields.append(name, value);
        }
    }
    if said.coded && said.length.is_some() {
        // One of the two was obeyed; somebody else may have read it the other way.
        fields.remove(header::CONTENT_LENGTH);
        said.keep = false;
    }
    let body = said.body()?;
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (method, uri, version);
    *request.headers_mut() = fields;
    let wish = said.upgrade && body == Reading::Length(0);
    let keep = said.keep && !said.close;
    Ok(Some(Head { request, length, body, keep, expects: said.expects, fragment, wish }))
}

/// What the fields say of the message itself.
#[derive(Debug, Default)]
struct Said {
    keep: bool,
    close: bool,
    length: Option<u64>,
    coded: bool,
    chunked: bool,
    expects: bool,
    upgrade: bool,
}

impl Said {
    /// Hears one field; whether it is to be kept.
    fn by(&mut self, name: &HeaderName, value: &HeaderValue, version: Version) -> Result<bool, Fault> {
        match *name {
            header::CONTENT_LENGTH => {
                let length = digits(value.as_bytes()).ok_or(Ambiguous)?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(Ambiguous);
                }
                // Said again, it is said already.
                return Ok(self.length.replace(length).is_none());
            }
            header::TRANSFER_ENCODING => {
                // The framing check says which codings are understood. Here it matters where the body ends.
                if version != Version::HTTP_11 {
                    return Err(Ambiguous);
                }
                self.coded = true;
                self.chunked = ends_in_chunked(value.as_bytes());
            }
            header::CONNECTION => {
                for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            header::EXPECT => {
                self.expects =
                    version == Version::HTTP_11 && value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            header::UPGRADE => {
                // HTTP/2 is spoken by prior knowledge alone (RFC 9113 section 3.1): that wish is not heard.
                self.upgrade |= version == Version::HTTP_11 && !value.as_bytes().eq_ignore_ascii_case(b"h2c");
            }
            _ => {}
        }
        Ok(true)
    }

    /// How long the body is (RFC 9112 section 6.3).
    fn body(&self) -> Result<Reading, Fault> {
        match (self.coded, self.chunked) {
            (true, false) => Err(Ambiguous),
            (true, true) => Ok(Reading::Chunked(Chunked::default())),
            (false, _) => Ok(Reading::Length(self.length.unwrap_or(0))),
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn ends_in_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Fault> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), FEW, HeaderMap::new())
    }

    fn head(fields: &str) -> Result<Head, Fault> {
        read(&format!("POST /a HTTP/1.1\r\n{fields}\r\n")).map(|head| head.expect("it is whole"))
    }

    #[test]
    fn a_head_ends_where_it_ends() {
        let text = "GET /a?b HTTP/1.1\r\nHost: c\r\nX-D: e\r\n\r\nrest";
        for end in 0..text.len() - 4 {
            assert!(matches!(read(text.get(..end).unwrap()), Ok(None)), "{end}");
        }
        let head = read(text).unwrap().unwrap();
        assert_eq!(
            (head.request.uri().to_string().as_str(), text.get(head.length..)),
            ("/a?b", Some("rest"))
        );
        assert_eq!((head.request.headers()["host"].as_bytes(), head.request.headers().len()), (&b"c"[..], 2));
        assert!(head.keep && !head.expects && !head.fragment && !head.wish);
        assert_eq!(head.body, Reading::Length(0));
    }

    #[test]
    fn a_length_is_one_number() {
        for (fields, length) in [
            ("", 0),
            ("Content-Length: 5\r\n", 5),
            ("Content-Length: 5\r\ncontent-length: 05\r\n", 5),
            ("Content-Length: 18446744073709551615\r\n", u64::MAX),
        ] {
            assert_eq!(head(fields).unwrap().body, Reading::Length(length), "{fields}");
        }
        assert_eq!(head("Content-Length: 5\r\nContent-Length: 5\r\n").unwrap().request.headers().len(), 1);
        for value in ["", "+5", "-5", "5 5", "5,5", "5,", "0x5", "five", "18446744073709551616"] {
            assert_eq!(head(&format!("Content-Length: {value}\r\n")).err(), Some(Ambiguous), "{value}");
        }
        assert_eq!(head("Content-Length: 5\r\nContent-Length: 6\r\n").err(), Some(Ambiguous));
    }

    #[test]
    fn a_coding_ends_in_chunked_and_goes_before_a_length() {
        let chunked = Reading::Chunked(Chunked::default());
        assert_eq!(head("Transfer-Encoding: Chunked\r\n").unwrap().body, chunked);
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ] {
            let head = head(fields).unwrap();
            assert!(head.body == chunked && !head.keep, "{fields}");
            assert!(!head.request.headers().contains_key("content-length"), "{fields}");
        }
        for coding in ["gzip", "chunked, gzip", "xchunked", "", "identity"] {
            assert_eq!(head(&format!("Transfer-Encoding: {coding}\r\n")).err(), Some(Ambiguous), "{coding}");
        }
        let old = read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old.err(), Some(Ambiguous));
    }

    #[test]
    fn a_connection_is_kept_unless_somebody_says_otherwise() {
        for (fields, keep) in [
            ("", true),
            ("Connection: close\r\n", false),
            ("Connection: foo, CLOSE\r\n", false),
            ("Connection: close\r\nConnection: keep-alive\r\n", false),
            ("Connection: closed\r\n", true),
        ] {
            assert_eq!(head(fields).unwrap().keep, keep, "{fields}");
        }
        let old = |fields: &str| read(&format!("GET / HTTP/1.0\r\n{fields}\r\n")).unwrap().unwrap().keep;
        assert!(!old("") && old("Connection: Keep-Alive\r\n") && !old("Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn a_wish_is_one_for_something_else_than_http_without_a_body() {
        assert!(head("Upgrade: websocket\r\n").unwrap().wish);
        assert!(!head("Upgrade: h2c\r\n").unwrap().wish);
        assert!(!head("Upgrade: websocket\r\nContent-Length: 1\r\n").unwrap().wish);
        assert!(!read("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n").unwrap().unwrap().wish);
        assert!(head("Expect: 100-Continue\r\n").unwrap().expects);
    }

    #[test]
    fn what_a_uri_does_not_keep_is_seen() {
        for (target, fragment) in [("/a", false), ("/a#b", true), ("/#", true), ("http://a?x#c", true)] {
            let head = read(&format!("GET {target} HTTP/1.1\r\nReferer: /#\r\n\r\n")).unwrap().unwrap();
            assert_eq!(head.fragment, fragment, "{target}");
        }
    }

    #[test]
    fn what_is_too_much_is_told_apart() {
        let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(read(&many(FEW)).is_ok());
        assert_eq!(read(&many(FEW + 1)).err(), Some(Fault::TooManyFields));
        assert!(parse(&many(FEW + 1).into(), FEW + 1, HeaderMap::new()).unwrap().is_some());
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_TARGET));
        assert_eq!(read(&long).err(), Some(Fault::TargetTooLong));
        assert_eq!(read("GET / HTTP/2.0\r\n\r\n").err(), Some(Malformed));
    }
}
