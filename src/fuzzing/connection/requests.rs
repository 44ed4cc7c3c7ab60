//! Requests of HTTP/1.1, read strictly and in another way than the product reads them.

use crate::fuzzing::answers::{Fields, digits, fields, is_token, unchunked};

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// A whole request.
    Whole(Request),
    /// A head that can be read in one way alone, and a body that cannot: this method's.
    BadBody(String),
    /// What must be refused, and is the last of its connection.
    Bad(&'static str),
    /// The beginning of a request, with this method where it is known and the head is whole.
    Cut(Option<String>),
    /// A reader may be generous here, or not.
    Unsure,
}

/// One request, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// No other may follow it.
    pub(super) last: bool,
    /// The first byte behind it.
    pub(super) end: usize,
}

/// Reads what stands at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Read {
    // An empty line before a request is to be ignored (RFC 9112 section 2.2).
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = &bytes[blank..];
    let Some(line_end) = rest.iter().position(|byte| *byte == b'\n') else { return Read::Cut(None) };
    // Bare line ends are tolerated by the parser, or not.
    let head_end = rest.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let head = &rest[..head_end.unwrap_or(rest.len())];
    let bare = head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    if bare || blank > 0 {
        return Read::Unsure;
    }
    let Some(line) = rest[..line_end].strip_suffix(b"\r") else { return Read::Unsure };
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Read::Bad("no request line") };
    if !is_token(method) || target.is_empty() || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Read::Bad("no request line");
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Read::Unsure;
    }
    let (method, target) =
        (String::from_utf8_lossy(method).into_owned(), String::from_utf8_lossy(target).into_owned());
    let (fields, body) = match fields(&rest[line_end + 1..], false) {
        Ok(Some(found)) => found,
        Ok(None) => return Read::Cut(None),
        // A control character may be refused before the head is whole.
        Err(why) if head_end.is_some() => return Read::Bad(why),
        Err(_) => return Read::Unsure,
    };
    let old = version == b"HTTP/1.0";
    match framing(&fields, old) {
        Framing::Bad(why) => Read::Bad(why),
        Framing::Unsure => Read::Unsure,
        Framing::Length(length, last) => {
            match usize::try_from(length).ok().and_then(|length| body.get(..length)) {
                Some(content) => {
                    let end = bytes.len() - body.len() + content.len();
                    Read::Whole(Request { method, target, body: content.to_vec(), last, end })
                }
                None => Read::Cut(Some(method)),
            }
        }
        Framing::Chunked(last) => match unchunked(body, false) {
            Ok(Some((content, behind))) => {
                let end = bytes.len() - behind.len();
                Read::Whole(Request { method, target, body: content, last, end })
            }
            // What is odd about them can be read in one way alone.
            _ if matches!(unchunked(body, true), Ok(Some(_))) => Read::Unsure,
            Ok(None) => Read::Cut(Some(method)),
            Err(_) => Read::BadBody(method),
        },
    }
}

enum Framing {
    Length(u64, bool),
    Chunked(bool),
    Bad(&'static str),
    Unsure,
}

fn framing(fields: &Fields, old: bool) -> Framing {
    let all = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_slice()).collect()
    };
    let (lengths, codings, hosts) = (all("content-length"), all("transfer-encoding"), all("host"));
    if hosts.len() > 1 || (hosts.is_empty() && !old) {
        return Framing::Bad("not one Host");
    }
    let connection = all("connection");
    let has = |word: &[u8]| {
        let mut tokens = connection.iter().flat_map(|value| value.split(|byte| *byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(word))
    };
    let last = has(b"close") || (old && !has(b"keep-alive"));
    if !codings.is_empty() {
        if old || codings.len() > 1 || !codings[0].eq_ignore_ascii_case(b"chunked") {
            return Framing::Bad("a coding but a single chunked");
        }
        if lengths.iter().any(|length| digits(length).is_none()) {
            return Framing::Unsure;
        }
        // Somebody else may have read it the other way.
        return Framing::Chunked(last || !lengths.is_empty());
    }
    let Some(first) = lengths.first() else { return Framing::Length(0, last) };
    let Some(length) = digits(first) else {
        let list = first.contains(&b',');
        return if list { Framing::Unsure } else { Framing::Bad("no length") };
    };
    if lengths.iter().any(|other| digits(other) != Some(length)) {
        return Framing::Bad("two lengths");
    }
    // The same twice may be read as one, or refused.
    if lengths.len() > 1 { Framing::Unsure } else { Framing::Length(length, last) }
}
