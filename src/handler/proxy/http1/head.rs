//! The head of an answer.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::familiar::{Familiar, Recognized};
use crate::chunked::Chunked;

/// Fields of a head.
const MAX_FIELDS: usize = 100;
/// Bytes of a head.
const MAX_HEAD: usize = 64 * 1024;

/// A head, and what it says of what follows.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields: HeaderMap,
    pub(super) body: Reading,
    /// Whether the connection can carry another message behind this one.
    pub(super) keep: bool,
}

/// What is still to be read of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All that comes until the connection ends.
    Close,
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    /// It is not HTTP.
    NotHttp,
    /// Its fields are none, or not such that can be read in one way alone.
    Fields,
    /// It is more than is taken.
    TooLarge,
}

use Invalid::{Fields, NotHttp, TooLarge};

/// What the fields of a head say of the message's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether the connection is kept.
    keep: bool,
    pub(super) length: Option<u64>,
    chunked: bool,
}

/// Takes a head from the input, once it is whole; as `familiar` knows it, or by parsing it.
pub(super) fn parse(
    input: &mut BytesMut,
    method: &Method,
    familiar: &mut Familiar,
) -> Result<Option<Head>, Invalid> {
    if let Some(Recognized { length, status, version, fields, said }) = familiar.recognize(input) {
        input.advance(length);
        let (body, keep) = framing(said, status, method);
        return Ok(Some(Head { status, version, fields, body, keep }));
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, input, &mut fields);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() > MAX_HEAD => return Err(TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(TooLarge),
        // Its first line was sound.
        Err(_) if answer.reason.is_some() => return Err(Fields),
        Err(_) => return Err(NotHttp),
    };
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(NotHttp)?;
    let section = input.get(..length).unwrap_or_default();
    let text = Bytes::copy_from_slice(section);
    let fields = collect(&text, section, answer.headers).ok_or(Fields)?;
    let said = said(&fields, version)?;
    familiar.remember(&text, section, answer.headers, (status, version, &fields, said));
    input.advance(length);
    let (body, keep) = framing(said, status, method);
    Ok(Some(Head { status, version, fields, body, keep }))
}

/// Parsed fields as a map. The section is copied to `text`, once for all of them: it is small, and what it
/// came in can be read into again.
fn collect(text: &Bytes, section: &[u8], headers: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(headers.len() + 6);
    for field in headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let start = (field.value.as_ptr() as usize).checked_sub(section.as_ptr() as usize)?;
        let end = start + field.value.len();
        let value = (end <= text.len()).then(|| text.slice(start..end))?;
        fields.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    Some(fields)
}

/// What `Connection` says of it, if anything.
fn connection(fields: &HeaderMap) -> Option<bool> {
    let mut said = None;
    for value in fields.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                return Some(false);
            }
            if token.eq_ignore_ascii_case(b"keep-alive") {
                said = Some(true);
            }
        }
    }
    said
}

/// What the fields say.
fn said(fields: &HeaderMap, version: Version) -> Result<Said, Invalid> {
    let length = content_length(fields)?;
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    // The only one that is understood, and only where it was known.
    if coding.is_some_and(|coding| {
        codings.next().is_some()
            || version != Version::HTTP_11
            || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    }) {
        return Err(Fields);
    }
    let keep = connection(fields).unwrap_or(version == Version::HTTP_11);
    Ok(Said { keep, length, chunked: coding.is_some() })
}

/// How long the body is (RFC 9112 section 6.3), and whether anything can follow it.
fn framing(said: Said, status: StatusCode, method: &Method) -> (Reading, bool) {
    let Said { keep, length, chunked } = said;
    let without =
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    // What says that it has none and how it is sent may well send it, as the next answer's beginning.
    let contradicts =
        status == StatusCode::NO_CONTENT && (chunked || length.is_some_and(|length| length > 0));
    if contradicts {
        (Reading::Length(0), false)
    } else if without || method == Method::HEAD {
        (Reading::Length(0), keep)
    } else if chunked {
        // With both, somebody else may have read it the other way.
        (Reading::Chunked(Chunked::default()), keep && length.is_none())
    } else if let Some(length) = length {
        (Reading::Length(length), keep)
    } else {
        (Reading::Close, false)
    }
}

/// One length, however often it is said.
pub(super) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Invalid> {
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(part).ok().filter(|_| digits).ok_or(Fields)?;
            let this: u64 = text.parse().map_err(|_| Fields)?;
            if length.is_some_and(|length| length != this) {
                return Err(Fields);
            }
            length = Some(this);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Invalid> {
        parse(&mut BytesMut::from(text), &Method::GET, &mut Familiar::default())
    }

    fn body(lines: &str) -> Result<(Reading, bool), Invalid> {
        read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"))
            .map(|head| head.unwrap())
            .map(|head| (head.body, head.keep))
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole_and_no_byte_more() {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: b\r\nx-a:  c \r\n\r\nok";
        for cut in 1..text.len() - 3 {
            assert!(read(text.get(..cut).unwrap()).unwrap().is_none(), "{cut}");
        }
        let mut input = BytesMut::from(text);
        let head = parse(&mut input, &Method::GET, &mut Familiar::default()).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.body, head.keep), (404, Reading::Length(2), true));
        assert_eq!(head.fields.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(input, "ok");
    }

    #[test]
    fn the_length_of_a_body_is_read_in_one_way_or_not_at_all() {
        for (lines, expected) in [
            ("", (Reading::Close, false)),
            ("Content-Length: 3\r\n", (Reading::Length(3), true)),
            ("Content-Length: 3, 3\r\nContent-Length: 3\r\n", (Reading::Length(3), true)),
            ("Transfer-Encoding: Chunked\r\n", (Reading::Chunked(Chunked::default()), true)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                (Reading::Chunked(Chunked::default()), false),
            ),
            ("Content-Length: 0\r\nConnection: Close\r\n", (Reading::Length(0), false)),
        ] {
            assert_eq!(body(lines).unwrap(), expected, "{lines}");
        }
        for lines in [
            "Content-Length: +3\r\n",
            "Content-Length: \r\n",
            "Content-Length: 3, 4\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "X-Fold: a\r\n b\r\n",
            "X Y: a\r\n",
            "X-Space : a\r\n",
            "X-Said: a\x01b\r\n",
            "X-Said: a\rb\r\n",
        ] {
            assert_eq!(body(lines).unwrap_err(), Fields, "{lines}");
        }
    }

    #[test]
    fn an_answer_without_a_body_has_none_whatever_it_says() {
        let (get, head) = (Method::GET, Method::HEAD);
        for (status, method, length, keep) in [
            ("204 No", &get, "Content-Length: 0", true),
            ("204 No", &get, "Content-Length: 9", false),
            ("204 No", &get, "Transfer-Encoding: chunked", false),
            ("304 No", &get, "Content-Length: 9", true),
            ("200 OK", &head, "Content-Length: 9", true),
            ("200 OK", &head, "Transfer-Encoding: chunked", true),
        ] {
            let text = format!("HTTP/1.1 {status}\r\n{length}\r\n\r\n");
            let head = parse(&mut BytesMut::from(text.as_str()), method, &mut Familiar::default());
            let head = head.unwrap().unwrap();
            assert_eq!((head.body, head.keep), (Reading::Length(0), keep), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_1_is_refused() {
        for text in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 99 No\r\n\r\n",
            "HTTP/1.1 000 No\r\n\r\n",
            "SSH-2.0\r\n",
            "hello\r\n",
        ] {
            assert_eq!(read(text).unwrap_err(), NotHttp, "{text:?}");
        }
        let old = read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().unwrap();
        assert!(!old.keep);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(read(&many).unwrap_err(), TooLarge);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD));
        assert_eq!(read(&long).unwrap_err(), TooLarge);
    }
}
