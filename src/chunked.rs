//! Reading the chunked transfer coding ([RFC 9112 section 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)).
//!
//! SECURITY: strict. What one reader takes for the end of a chunk and another does not is how one message
//! is made to hold two. And bounded: extensions, blanks and trailers are no content, so that no limit on
//! bodies sees them (CVE-2023-39326 in Go's net/http).

use std::ops::Deref;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of one chunk's size line, extensions included.
const MAX_LINE: usize = 4 * 1024;
/// Bytes of all extensions and blanks of a body.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of all trailers.
const MAX_TRAILERS: usize = 16 * 1024;
/// Fields in trailers.
const MAX_FIELDS: usize = 100;

/// What is read from, and how a piece of it is taken.
pub trait Input: Deref<Target = [u8]> {
    /// The first `count` bytes, which it holds no longer.
    fn take(&mut self, count: usize) -> Bytes;
}

impl Input for Bytes {
    fn take(&mut self, count: usize) -> Bytes {
        self.split_to(count)
    }
}

impl Input for BytesMut {
    fn take(&mut self, count: usize) -> Bytes {
        self.split_to(count).freeze()
    }
}

/// Where in the coding a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunked {
    next: Next,
    /// Bytes of extensions and blanks so far.
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A size.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The line's end behind a chunk.
    DataEnd,
    /// Trailers.
    Trailers,
    /// Nothing.
    End,
    /// Nobody knows.
    Broken,
}

/// What can be taken from the input.
#[derive(Debug)]
pub enum Decoded {
    /// Content.
    Data(Bytes),
    /// The trailers, behind which there is nothing.
    Trailers(HeaderMap),
    /// Nothing, for good.
    End,
    /// Nothing, until more has come.
    More,
}

/// It is not chunked, or hardly anything but framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotChunked;

impl Default for Chunked {
    /// Before the first byte.
    fn default() -> Self {
        Self { next: Next::Size, extensions: 0 }
    }
}

impl Chunked {
    /// Whether it was read to its end.
    pub fn is_over(self) -> bool {
        self.next == Next::End
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// What comes is not chunked. Nothing is read behind that.
    pub fn decode(&mut self, input: &mut impl Input) -> Result<Decoded, NotChunked> {
        let decoded = self.step(input);
        if decoded.is_err() {
            // SECURITY: what stands behind a fault is not the next line.
            self.next = Next::Broken;
        }
        decoded
    }

    fn step(&mut self, input: &mut impl Input) -> Result<Decoded, NotChunked> {
        loop {
            match &mut self.next {
                Next::Size => {
                    let Some(line) = line(input)? else { return Ok(Decoded::More) };
                    let (size, extension) = size(&line)?;
                    self.extensions += extension;
                    if self.extensions > MAX_EXTENSIONS {
                        return Err(NotChunked);
                    }
                    self.next = if size == 0 { Next::Trailers } else { Next::Data(size) };
                }
                Next::Data(left) => {
                    if input.is_empty() {
                        return Ok(Decoded::More);
                    }
                    let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    let data = input.take(here);
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.next = Next::DataEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                Next::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.take(2);
                        self.next = Next::Size;
                    }
                    Some(_) => return Err(NotChunked),
                    None if input.first().is_none_or(|byte| *byte == b'\r') => return Ok(Decoded::More),
                    None => return Err(NotChunked),
                },
                Next::Trailers => return self.trailers(input),
                Next::End => return Ok(Decoded::End),
                Next::Broken => return Err(NotChunked),
            }
        }
    }

    fn trailers(&mut self, input: &mut impl Input) -> Result<Decoded, NotChunked> {
        if input.starts_with(b"\r\n") {
            input.take(2);
            self.next = Next::End;
            return Ok(Decoded::End);
        }
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            if input.len() > MAX_TRAILERS {
                return Err(NotChunked);
            }
            // What is no field is said before the rest has come.
            let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
            return match httparse::parse_headers(input, &mut headers) {
                Ok(httparse::Status::Partial) => Ok(Decoded::More),
                _ => Err(NotChunked),
            };
        };
        if end > MAX_TRAILERS {
            return Err(NotChunked);
        }
        self.next = Next::End;
        fields(&input.take(end + 4)).map(Decoded::Trailers).ok_or(NotChunked)
    }
}

/// A whole line without its end, once it is here.
fn line(input: &mut impl Input) -> Result<Option<Bytes>, NotChunked> {
    match memchr::memchr(b'\n', input) {
        Some(end) if end <= MAX_LINE => {
            let line = input.take(end + 1);
            match line.strip_suffix(b"\r\n") {
                Some(text) => Ok(Some(line.slice_ref(text))),
                None => Err(NotChunked),
            }
        }
        Some(_) => Err(NotChunked),
        None if input.len() > MAX_LINE => Err(NotChunked),
        // What can be no size need not be waited for.
        None => match input.first() {
            Some(first) if !first.is_ascii_hexdigit() => Err(NotChunked),
            _ => Ok(None),
        },
    }
}

/// The size on a line: hexadecimal digits, and behind them nothing, blanks, or extensions; and how long
/// what is behind the digits is.
fn size(line: &[u8]) -> Result<(u64, usize), NotChunked> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, behind) = line.split_at(digits);
    // Blanks alone: a CR is cut off by others too, but as the end of the line.
    let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (_, rest) = behind.split_at(blanks);
    if digits.is_empty() || digits.len() > 16 || !(rest.is_empty() || rest.first() == Some(&b';')) {
        return Err(NotChunked);
    }
    // A control character in an extension is nobody's, and a bare CR ends a line for some.
    if rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(NotChunked);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| NotChunked)?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| NotChunked)?;
    Ok((size, behind.len()))
}

/// The fields of a section that ends in an empty line, and has none before.
pub fn fields(section: &[u8]) -> Option<HeaderMap> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let httparse::Status::Complete((length, headers)) =
        httparse::parse_headers(section, &mut headers).ok()?
    else {
        return None;
    };
    // An empty line can end in a bare LF. What stands behind it is no field.
    if length != section.len() {
        return None;
    }
    // Copied, once for all of them: it is small, and what it came in can be read into again.
    let text = Bytes::copy_from_slice(section);
    let mut fields = HeaderMap::with_capacity(headers.len());
    for field in headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let start = (field.value.as_ptr() as usize).checked_sub(section.as_ptr() as usize)?;
        let end = start + field.value.len();
        let value = (end <= text.len()).then(|| text.slice(start..end))?;
        fields.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All content, and the trailers, of what comes in these pieces; `None`: it is not chunked or
    /// not whole.
    fn read(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize, Vec<u8>)> {
        let (mut state, mut input, mut content, mut trailers) =
            (Chunked::default(), BytesMut::new(), Vec::new(), 0);
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match state.decode(&mut input).ok()? {
                    Decoded::Data(data) => content.extend_from_slice(&data),
                    Decoded::Trailers(fields) => trailers = fields.len(),
                    Decoded::End => return Some((content, trailers, input.to_vec())),
                    Decoded::More => break,
                }
            }
        }
        None
    }

    const WELL: [(&[u8], &[u8], usize); 5] = [
        (b"0\r\n\r\n", b"", 0),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5;a=b;c=\"d e\"\r\nhello\r\n1 \r\n!\r\n000\r\n\r\n", b"hello!", 0),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789", 0),
        (b"1\r\nx\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", b"x", 2),
    ];

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        for (text, content, trailers) in WELL {
            let expected = Some((content.to_vec(), trailers, b"next".to_vec()));
            let whole = [text, b"next"].concat();
            assert_eq!(read(&[&whole]), expected);
            for cut in 1..text.len() {
                let (first, second) = whole.split_at(cut);
                assert_eq!(read(&[first, second]), expected, "cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(read(&bytes), Some((content.to_vec(), trailers, Vec::new())));
        }
    }

    /// Whether this is refused with what is here.
    fn refuses(text: &[u8]) -> bool {
        let mut input = BytesMut::from(text);
        let mut state = Chunked::default();
        loop {
            match state.decode(&mut input) {
                Err(NotChunked) => return true,
                Ok(Decoded::More | Decoded::End | Decoded::Trailers(_)) => return false,
                Ok(Decoded::Data(_)) => {}
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for text in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\nx\r\n",
            b"0x1\r\nx\r\n",
            b" 1\r\nx\r\n",
            b"1\nx\r\n",
            b"1\r\nx\n",
            b"1\r\nxy\r\n",
            b"1 1\r\nx\r\n",
            b"1;\rx\r\nx\r\n",
            b"1;\0\r\nx\r\n",
            b"1\r\r\nx\r\n",
            b"1\x0c\r\nx\r\n",
            b"10000000000000000\r\n",
            b"00000000000000001\r\nx\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nA : 1\r\n\r\n",
            b"0\r\n A: 1\r\n\r\n",
            b"0\r\n\nHTTP/1.1 200 OK\r\n\r\n",
            b"0\r\nA: 1\n\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(refuses(text), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn nothing_is_read_behind_a_fault() {
        let mut input = BytesMut::from(&b"g\r\n0\r\n\r\n"[..]);
        let mut state = Chunked::default();
        for _ in 0..3 {
            assert_eq!(state.decode(&mut input).err(), Some(NotChunked));
            assert!(!state.is_over());
        }
    }

    #[test]
    fn what_can_become_nothing_is_not_waited_for() {
        for text in [&b"g"[..], b";", b" ", b"0\r\nA b", b"0\r\n\n"] {
            assert!(refuses(text), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn lines_and_trailers_have_an_end() {
        let endless = [b"1;".as_slice(), &vec![b'a'; 2 * MAX_LINE]].concat();
        assert!(refuses(&endless));
        let endless = [b"0\r\na: ".as_slice(), &vec![b'a'; 2 * MAX_TRAILERS]].concat();
        assert!(refuses(&endless));
    }

    #[test]
    fn framing_alone_is_endured_for_so_long() {
        let chunk = b"1;zqx=zqxzqxzqxzqxzqxzqx\r\nh\r\n";
        let bearable = MAX_EXTENSIONS / (chunk.len() - 6);
        assert!(!refuses(&chunk.repeat(bearable)));
        assert!(refuses(&chunk.repeat(bearable + 2)));
        let blanks = [b"1".as_slice(), &[b' '; 4000], b"\r\nh\r\n"].concat();
        assert!(!refuses(&blanks.repeat(4)) && refuses(&blanks.repeat(5)));
        // Chunks of a byte are endured for ever.
        assert!(!refuses(&b"1\r\na\r\n".repeat(1_000_000)));
    }
}
