//! Answers of HTTP/1.1, read strictly and in another way than the product reads or writes them.

/// One answer, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// The body ends with the connection alone.
    pub(super) until_close: bool,
    /// The first byte behind it.
    pub(super) end: usize,
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// A whole answer.
    Whole(Answer),
    /// The beginning of one, of this status where that is known.
    Cut(Option<u16>),
    /// Nothing that is one.
    Wrong(&'static str),
}

impl Answer {
    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// Whether it says that it is the last.
    pub(super) fn closes(&self) -> bool {
        self.all("connection").iter().any(|value| value.eq_ignore_ascii_case(b"close"))
    }
}

/// A line up to its CRLF, or LF alone where that will do, and what follows it.
fn line(bytes: &[u8], bare: bool) -> Option<(&[u8], &[u8])> {
    if bare {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let text = &bytes[..end];
        return Some((text.strip_suffix(b"\r").unwrap_or(text), &bytes[end + 1..]));
    }
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_value(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// Without the white space that HTTP knows around a value, and no other.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// Fields up to their empty line: `Ok(None)` where that has not come.
pub(super) fn fields(mut rest: &[u8], bare: bool) -> Result<Option<(Fields, &[u8])>, &'static str> {
    let mut fields = Vec::new();
    loop {
        let Some((text, after)) = line(rest, bare) else { return Ok(None) };
        rest = after;
        if text.is_empty() {
            return Ok(Some((fields, rest)));
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else {
            return Err("a line is no field");
        };
        let (name, value) = (&text[..colon], trimmed(&text[colon + 1..]));
        if !is_token(name) || !is_value(value) {
            return Err("a field is none");
        }
        fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
}

/// Reads what stands at the beginning of `bytes`, which is all there is.
pub(super) fn read(bytes: &[u8], head: bool) -> Read {
    read_as(bytes, head, false).unwrap_or_else(Read::Wrong)
}

/// Likewise, with what can be read in one way alone and is not strictly right (RFC 9112 sections 2.2,
/// 4 and 6.3): bare line ends in a head, no reason, a length said twice or beside chunks, or where
/// there is no body.
pub(super) fn read_generously(bytes: &[u8], head: bool) -> Read {
    read_as(bytes, head, true).unwrap_or_else(Read::Wrong)
}

fn read_as(bytes: &[u8], head: bool, generous: bool) -> Result<Read, &'static str> {
    let blank = bytes.iter().take_while(|byte| generous && matches!(byte, b'\r' | b'\n')).count();
    let Some((text, rest)) = line(&bytes[blank..], generous) else { return Ok(Read::Cut(None)) };
    let old = text.starts_with(b"HTTP/1.0 ");
    let status = text.strip_prefix(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " }).ok_or("no version")?;
    let (code, reason) = status.split_at_checked(3).ok_or("no status")?;
    let status = u16::try_from(digits(code).ok_or("no status")?).map_err(|_| "no status")?;
    let has_reason = reason.first() == Some(&b' ') || (generous && reason.is_empty());
    if !(100..=999).contains(&status) || !has_reason || !is_value(reason) {
        return Err("no status line");
    }
    let Some((fields, rest)) = fields(rest, generous)? else { return Ok(Read::Cut(Some(status))) };
    let mut answer = Answer { status, fields, body: Vec::new(), until_close: false, end: 0 };
    let end = |rest: &[u8]| bytes.len() - rest.len();
    let codings = answer.all("transfer-encoding");
    let mut lengths = answer.all("content-length");
    if generous {
        lengths = lengths.iter().flat_map(|value| value.split(|byte| *byte == b',')).map(trimmed).collect();
    }
    let lengths: Option<Vec<u64>> = lengths.into_iter().map(digits).collect();
    let lengths = lengths.ok_or("no length")?;
    let length = lengths.first().copied();
    if lengths.iter().any(|other| Some(*other) != length) {
        return Err("two lengths");
    }
    if codings.len() > 1 || codings.first().is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err("an unknown coding");
    }
    if old && !codings.is_empty() {
        return Err("a coding before there was one");
    }
    let (chunked, without) = (!codings.is_empty(), status < 200 || status == 204 || status == 304);
    let with_body = chunked || length.is_some_and(|length| length > 0);
    let said_twice = lengths.len() + codings.len() > 1;
    if !generous && (said_twice || (status != 304 && without && with_body)) {
        return Err("framed in more than one way");
    }
    if without || head {
        answer.end = end(rest);
    } else if chunked {
        match unchunked(rest, generous)? {
            Some((body, rest)) => (answer.body, answer.end) = (body, end(rest)),
            None => return Ok(Read::Cut(Some(status))),
        }
    } else if let Some(length) = length {
        let Some(body) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Ok(Read::Cut(Some(status)));
        };
        answer.body = body.to_vec();
        answer.end = end(&rest[body.len()..]);
    } else {
        (answer.body, answer.end, answer.until_close) = (rest.to_vec(), bytes.len(), true);
    }
    Ok(Read::Whole(answer))
}

/// Content, and what stands behind it.
type Content<'a> = (Vec<u8>, &'a [u8]);

/// The content of chunks, and what stands behind them. Read generously, line ends may be bare in
/// trailers, an extension may hold anything but those, and a size begin with any number of zeros.
pub(super) fn unchunked(mut rest: &[u8], generous: bool) -> Result<Option<Content<'_>>, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some((text, after)) = line(rest, false) else { return Ok(None) };
        let size = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        let zeros = size.iter().take_while(|byte| generous && **byte == b'0').count();
        let readable = is_value(text) || (generous && !text.contains(&b'\r') && !text.contains(&b'\n'));
        if size.is_empty() || size.len() - zeros > 16 || !size.iter().all(u8::is_ascii_hexdigit) || !readable
        {
            return Err("no size of a chunk");
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).unwrap(), 16).map_err(|_| "no size")?;
        if size == 0 {
            return Ok(fields(after, generous)?.map(|(_, rest)| (body, rest)));
        }
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= after.len()) else {
            return Ok(None);
        };
        let (content, after) = after.split_at(size);
        body.extend_from_slice(content);
        match after.get(..2) {
            Some(b"\r\n") => rest = &after[2..],
            Some(_) => return Err("a chunk does not end"),
            None => return Ok(None),
        }
    }
}
