//! The chunked transfer coding of an answer ([RFC 9112 section 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)).
//!
//! SECURITY: strict. What one reader takes for the end of a chunk and another does not is how an
//! answer is made to hold two.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::head::fields;

/// Bytes of one chunk's size line, extensions included.
const MAX_LINE: usize = 4 * 1024;
/// Bytes of all trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where in the coding a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// A size is next.
    Size,
    /// So many bytes of a chunk are.
    Data(u64),
    /// The line's end behind a chunk is.
    DataEnd,
    /// Trailers are.
    Trailers,
    /// Nothing is.
    End,
}

/// What can be taken from the input.
#[derive(Debug)]
pub(super) enum Decoded {
    /// Content.
    Data(Bytes),
    /// The trailers, behind which there is nothing.
    Trailers(HeaderMap),
    /// Nothing, for good.
    End,
    /// Nothing, until more has come.
    More,
}

/// It is not chunked.
#[derive(Debug)]
pub(super) struct NotChunked;

impl Chunked {
    /// Takes the next piece.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, NotChunked> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(input, MAX_LINE)? else { return Ok(Decoded::More) };
                    *self = match size(&line)? {
                        0 => Self::Trailers,
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    if input.is_empty() {
                        return Ok(Decoded::More);
                    }
                    let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    let data = input.split_to(here).freeze();
                    *left -= data.len() as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                Self::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        let _ = input.split_to(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(NotChunked),
                    None if input.first().is_none_or(|byte| *byte == b'\r') => return Ok(Decoded::More),
                    None => return Err(NotChunked),
                },
                Self::Trailers => return self.trailers(input),
                Self::End => return Ok(Decoded::End),
            }
        }
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Decoded, NotChunked> {
        if input.starts_with(b"\r\n") {
            let _ = input.split_to(2);
            *self = Self::End;
            return Ok(Decoded::End);
        }
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            let seen = input.len();
            return if seen > MAX_TRAILERS { Err(NotChunked) } else { Ok(Decoded::More) };
        };
        if end > MAX_TRAILERS {
            return Err(NotChunked);
        }
        *self = Self::End;
        fields(&input.split_to(end + 4)).map(Decoded::Trailers).ok_or(NotChunked)
    }
}

/// A whole line without its end, once it is here.
fn line(input: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, NotChunked> {
    match memchr::memchr(b'\n', input) {
        Some(end) if end <= longest => {
            let line = input.split_to(end + 1).freeze();
            match line.strip_suffix(b"\r\n") {
                Some(text) => Ok(Some(line.slice_ref(text))),
                None => Err(NotChunked),
            }
        }
        Some(_) => Err(NotChunked),
        None if input.len() > longest => Err(NotChunked),
        None => Ok(None),
    }
}

/// The size on a line: hexadecimal digits, and behind them nothing, blanks, or extensions.
fn size(line: &[u8]) -> Result<u64, NotChunked> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    // Blanks alone: a CR is cut off by others too, but as the end of the line.
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (_, rest) = rest.split_at(blanks);
    if digits.is_empty() || digits.len() > 16 || !(rest.is_empty() || rest.first() == Some(&b';')) {
        return Err(NotChunked);
    }
    // A control character in an extension is nobody's, and a bare CR ends a line for some.
    if rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(NotChunked);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| NotChunked)?;
    u64::from_str_radix(digits, 16).map_err(|_| NotChunked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All content, and the trailers, of what comes in these pieces; `None`: it is not chunked or
    /// not whole.
    fn read(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize, Vec<u8>)> {
        let (mut state, mut input, mut content, mut trailers) =
            (Chunked::Size, BytesMut::new(), Vec::new(), 0);
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
            let mut input = BytesMut::from(text);
            let mut state = Chunked::Size;
            let refused = loop {
                match state.decode(&mut input) {
                    Err(NotChunked) => break true,
                    Ok(Decoded::More | Decoded::End | Decoded::Trailers(_)) => break false,
                    Ok(Decoded::Data(_)) => {}
                }
            };
            assert!(refused, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn lines_and_trailers_have_an_end() {
        let endless = [b"1;".as_slice(), &vec![b'a'; 2 * MAX_LINE]].concat();
        assert!(Chunked::Size.decode(&mut BytesMut::from(endless.as_slice())).is_err());
        let endless = [b"a: ".as_slice(), &vec![b'a'; 2 * MAX_TRAILERS]].concat();
        assert!(Chunked::Trailers.decode(&mut BytesMut::from(endless.as_slice())).is_err());
    }
}
