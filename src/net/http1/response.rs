//! The head of an answer as bytes, and how its body is framed
//! ([RFC 9112 section 6](https://www.rfc-editor.org/rfc/rfc9112#section-6)).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, Version};
use http_body::{Frame, SizeHint};

use super::output::Output;
use crate::exchange::Beside;

/// How the body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes more.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Up to the end of the connection.
    Close,
    /// Not at all, whatever there is.
    Without,
}

/// What was said of a body is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotWhole;

impl Framing {
    /// Puts a frame of the body on its way; whether it was the last. Trailers are sent if they were `named`.
    pub(super) fn put(
        &mut self,
        frame: Frame<Bytes>,
        output: &mut Output,
        named: &[HeaderName],
    ) -> Result<bool, NotWhole> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let Self::Chunked = self else { return Ok(false) };
                let trailers = frame.into_trailers().ok();
                output.write(|flat| last_chunk(trailers.as_ref(), named, flat));
                return Ok(true);
            }
        };
        match self {
            _ if data.is_empty() => {}
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(NotWhole)?;
                output.push(data);
            }
            Self::Chunked => {
                output.write(|flat| chunk_size(data.len(), flat));
                output.push(data);
                output.write(|flat| flat.extend_from_slice(b"\r\n"));
            }
            Self::Close => output.push(data),
            Self::Without => {}
        }
        Ok(false)
    }

    /// Ends the body.
    pub(super) fn end(&self, output: &mut Output) -> Result<(), NotWhole> {
        match self {
            Self::Length(1..) => return Err(NotWhole),
            Self::Chunked => output.write(|flat| last_chunk(None, &[], flat)),
            _ => {}
        }
        Ok(())
    }
}

/// What is to be answered, and to what.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) fields: &'a HeaderMap,
    pub(super) beside: Beside<'a>,
    pub(super) size: SizeHint,
    /// What was asked.
    pub(super) method: &'a Method,
    pub(super) version: Version,
    /// Whether another request may follow.
    pub(super) keep: bool,
}

/// Writes the head of an answer. Returns how its body is framed, and whether another request may follow.
pub(super) fn write(
    answer: &Answer<'_>,
    date: impl FnOnce(&mut Vec<u8>),
    into: &mut Vec<u8>,
) -> (Framing, bool) {
    let Answer { status, fields, method, version, .. } = answer;
    let old = *version == Version::HTTP_10;
    if *status == StatusCode::OK && !old {
        into.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        into.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        into.extend_from_slice(status.as_str().as_bytes());
        into.push(b' ');
        into.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        into.extend_from_slice(b"\r\n");
    }
    let empty = status.is_informational() || *status == StatusCode::NO_CONTENT;
    let without = empty || *status == StatusCode::NOT_MODIFIED || **method == Method::HEAD;
    let mut keep = answer.keep;
    let (mut dated, mut declared) = (false, None);
    for (name, value) in *fields {
        match *name {
            // Said below, in one way.
            header::CONTENT_LENGTH => {
                declared = declared.or_else(|| value.to_str().ok()?.parse::<u64>().ok());
                continue;
            }
            header::TRANSFER_ENCODING => continue,
            // What is said of the connection's end is said below, once.
            header::CONNECTION => {
                let mut others = false;
                for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        keep = false;
                    } else if !token.is_empty() && !token.eq_ignore_ascii_case(b"keep-alive") {
                        into.extend_from_slice(if others { b", " } else { b"connection: " });
                        into.extend_from_slice(token);
                        others = true;
                    }
                }
                if others {
                    into.extend_from_slice(b"\r\n");
                }
                continue;
            }
            header::TRAILER if old || without => continue,
            header::DATE => dated = true,
            _ => {}
        }
        field(name, value.as_bytes(), into);
    }
    if let Some(fields) = answer.beside.fields {
        into.extend_from_slice(fields.text());
    }
    if let Some(id) = answer.beside.request_id {
        into.extend_from_slice(id.name.as_bytes());
        into.extend_from_slice(b": ");
        into.extend_from_slice(id.as_bytes());
        into.extend_from_slice(b"\r\n");
    }
    if let Some(quota) = answer.beside.quota {
        quota.write(into);
    }
    if !dated {
        into.extend_from_slice(b"date: ");
        date(into);
        into.extend_from_slice(b"\r\n");
    }
    let framing = frame(answer, without, declared);
    match framing {
        Framing::Length(length) => length_field(length, into),
        Framing::Chunked => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Close => keep = false,
        // What an answer with a body would say is said, where it is known.
        Framing::Without if empty => {}
        Framing::Without => {
            let known = declared.or_else(|| answer.size.exact().filter(|size| *size > 0));
            if let Some(length) = known.filter(|_| declared.is_some() || **method == Method::HEAD) {
                length_field(length, into);
            }
        }
    }
    if !keep {
        into.extend_from_slice(b"connection: close\r\n");
    } else if old {
        into.extend_from_slice(b"connection: keep-alive\r\n");
    }
    into.extend_from_slice(b"\r\n");
    (framing, keep)
}

fn frame(answer: &Answer<'_>, without: bool, declared: Option<u64>) -> Framing {
    if without {
        return Framing::Without;
    }
    // What is known of the body goes before what is said of it.
    match answer.size.exact().or(declared) {
        Some(length) => Framing::Length(length),
        None if answer.version == Version::HTTP_10 => Framing::Close,
        None => Framing::Chunked,
    }
}

fn field(name: &HeaderName, value: &[u8], into: &mut Vec<u8>) {
    into.reserve(name.as_str().len() + value.len() + 4);
    into.extend_from_slice(name.as_str().as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

fn length_field(length: u64, into: &mut Vec<u8>) {
    into.extend_from_slice(b"content-length: ");
    into.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    into.extend_from_slice(b"\r\n");
}

/// Which trailers an answer may end with: those that it names beforehand (RFC 9110 section 6.6.2).
pub(super) fn named_trailers(fields: &HeaderMap) -> Vec<HeaderName> {
    let named = fields.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = named.flat_map(|names| names.split(',')).filter_map(|name| name.trim().parse().ok());
    names.filter(is_trailer).collect()
}

/// SECURITY: who takes trailers for fields of the head must not frame, route or trust a message by them
/// (RFC 9110 section 6.5.1).
fn is_trailer(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::HOST
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    )
}

/// The size line of a chunk.
fn chunk_size(size: usize, into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * size_of::<usize>()];
    let mut rest = size;
    let mut used = 0;
    for place in text.iter_mut().rev() {
        *place = DIGITS.get(rest & 15).copied().unwrap_or_default();
        (rest, used) = (rest >> 4, used + 1);
        if rest == 0 {
            break;
        }
    }
    into.extend_from_slice(text.get(text.len() - used..).unwrap_or_default());
    into.extend_from_slice(b"\r\n");
}

/// The end of a body in chunks.
fn last_chunk(trailers: Option<&HeaderMap>, named: &[HeaderName], into: &mut Vec<u8>) {
    into.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if named.contains(name) {
            field(name, value.as_bytes(), into);
        }
    }
    into.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answered(
        status: u16,
        fields: &[(&'static str, &'static str)],
        size: Option<u64>,
        asked: &str,
        keep: bool,
    ) -> (String, Framing, bool) {
        let (method, version) = asked.split_once(' ').unwrap();
        let fields: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let size = size.map_or_else(SizeHint::default, SizeHint::with_exact);
        let version = if version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        let method = method.parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer {
            status,
            fields: &fields,
            beside: Beside::default(),
            size,
            method: &method,
            version,
            keep,
        };
        let mut text = Vec::new();
        let (framing, keep) = write(&answer, |text| text.extend_from_slice(b"now"), &mut text);
        (String::from_utf8(text).unwrap(), framing, keep)
    }

    #[test]
    fn an_answer_is_framed_by_what_is_known_of_it() {
        let length = |length| (format!("content-length: {length}\r\n\r\n"), Framing::Length(length), true);
        let chunked = ("transfer-encoding: chunked\r\n\r\n".to_owned(), Framing::Chunked, true);
        let without = |said: &str| (format!("{said}\r\n"), Framing::Without, true);
        let said = [("content-length", "7")];
        for (size, fields, asked, (end, framing, keep)) in [
            (Some(5), &[][..], "GET 1.1", length(5)),
            (Some(0), &[], "GET 1.1", length(0)),
            (None, &[], "GET 1.1", chunked.clone()),
            (None, &said, "GET 1.1", length(7)),
            // What is said of a body does not make it another.
            (Some(5), &said, "GET 1.1", length(5)),
            (None, &[("transfer-encoding", "gzip")], "GET 1.1", chunked),
            (None, &[], "GET 1.0", ("connection: close\r\n\r\n".to_owned(), Framing::Close, false)),
            (Some(5), &[], "HEAD 1.1", without("content-length: 5\r\n")),
            (Some(0), &[], "HEAD 1.1", without("")),
            (None, &said, "HEAD 1.1", without("content-length: 7\r\n")),
        ] {
            let (text, framed, kept) = answered(200, fields, size, asked, true);
            // The date comes last of the other fields.
            assert!(text.ends_with(&format!("date: now\r\n{end}")), "{text}");
            assert_eq!((framed, kept), (framing, keep), "{text}");
        }
        let (text, ..) = answered(200, &[], Some(5), "GET 1.0", true);
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
        assert!(text.ends_with("content-length: 5\r\nconnection: keep-alive\r\n\r\n"), "{text}");
    }

    #[test]
    fn an_answer_that_has_no_body_has_none() {
        for (status, size) in [(204, Some(5)), (304, Some(5)), (204, None), (304, None)] {
            let (text, framing, keep) = answered(status, &[], size, "GET 1.1", true);
            assert!(framing == Framing::Without && keep && !text.contains("content-length"), "{text}");
            assert!(!text.contains("transfer-encoding"), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_connection_is_said_once_whoever_asks_for_it() {
        let closing = [("connection", "close")];
        for (fields, keep) in [(&[][..], false), (&closing, true), (&closing, false)] {
            let (text, _, keep) = answered(200, fields, Some(1), "GET 1.1", keep);
            assert!(!keep && text.matches("connection: close\r\n").count() == 1, "{text}");
        }
    }

    #[test]
    fn of_what_an_app_says_of_the_connection_the_rest_is_passed_on() {
        for (said, asked, keep, expected) in [
            ("keep-alive", "GET 1.1", true, &[][..]),
            ("keep-alive", "GET 1.1", false, &["connection: close"]),
            ("Keep-Alive", "GET 1.0", true, &["connection: keep-alive"]),
            ("a, keep-alive ,b", "GET 1.1", true, &["connection: a, b"]),
            ("Close, a", "GET 1.1", true, &["connection: a", "connection: close"]),
        ] {
            let (text, ..) = answered(200, &[("connection", said)], Some(1), asked, keep);
            let found: Vec<_> = text.lines().filter(|line| line.starts_with("connection")).collect();
            assert_eq!(found, expected, "{said}");
        }
    }

    #[test]
    fn a_date_is_set_where_there_is_none() {
        assert!(
            answered(404, &[], Some(0), "GET 1.1", true)
                .0
                .starts_with("HTTP/1.1 404 Not Found\r\ndate: now\r\n")
        );
        let (text, ..) = answered(200, &[("date", "then")], Some(0), "GET 1.1", true);
        assert!(text.contains("date: then\r\n") && !text.contains("now"));
    }

    #[test]
    fn chunks_have_their_size_and_their_end() {
        let mut text = Vec::new();
        for size in [1, 15, 16, 255, 4096, usize::MAX] {
            text.clear();
            chunk_size(size, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), format!("{size:x}\r\n"));
        }
        let fields: HeaderMap = [("trailer", "X-A, x-b, Content-Length, transfer-encoding")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        let named = named_trailers(&fields);
        let trailers: HeaderMap = ["x-a", "x-c", "content-length", "transfer-encoding"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .into_iter()
            .collect();
        text.clear();
        last_chunk(Some(&trailers), &named, &mut text);
        assert_eq!(text, b"0\r\nx-a: 1\r\n\r\n");
    }
}
