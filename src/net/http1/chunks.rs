//! How much of a chunked body is not data.
//!
//! The parser bounds extensions and trailers, by 16 KiB a body each, and nothing else: a chunk's size
//! may have zeros in front and spaces behind without end
//! ([RFC 9112 section 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1) wants no bound), which
//! no limit on bodies sees, since they are no part of one. So what is read is held against what comes
//! out of it, as in Go's net/http since CVE-2023-39326: a chunk may cost some bytes, and in proportion
//! to its data, and a body a fixed sum besides.

use std::fmt;

/// Bytes that a piece of data may cost in any case: a size, an extension of some letters, line ends.
const PER_PIECE: u64 = 16;
/// Bytes that may be read for one byte of data, itself included.
const PER_BYTE: u64 = 3;
/// What a body may cost besides.
const FREE: u64 = 16 * 1024;

/// Bytes read of one chunked body, and what may have been.
#[derive(Debug)]
pub(crate) struct ChunkWatch {
    read: u64,
    may_be: u64,
}

impl ChunkWatch {
    /// A body of which nothing was read yet, by a parser that reads up to `ahead` bytes ahead.
    pub(crate) fn new(ahead: usize) -> Self {
        // A piece is in the parser's buffer, one may be on its way, and one is being looked at.
        Self { read: 0, may_be: FREE + 3 * ahead as u64 }
    }

    /// `bytes` were read.
    ///
    /// # Errors
    /// Too many, for the data that came out.
    pub(super) fn reads(&mut self, bytes: usize) -> Result<(), MostlyFraming> {
        self.read = self.read.saturating_add(bytes as u64);
        if self.read > self.may_be { Err(MostlyFraming) } else { Ok(()) }
    }

    /// A piece of `bytes` came out.
    pub(crate) fn yields(&mut self, bytes: usize) {
        let earned = (bytes as u64).saturating_mul(PER_BYTE).saturating_add(PER_PIECE);
        self.may_be = self.may_be.saturating_add(earned);
    }
}

/// The error of a body that holds too little for what it takes to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MostlyFraming;

impl fmt::Display for MostlyFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the chunks hold little but framing")
    }
}

impl std::error::Error for MostlyFraming {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_a_byte_are_endured_for_ever() {
        let mut watch = ChunkWatch::new(0);
        for _ in 0..1_000_000 {
            watch.reads(b"1\r\na\r\n".len()).unwrap();
            watch.yields(1);
        }
    }

    #[test]
    fn framing_alone_is_endured_for_so_long() {
        let mut watch = ChunkWatch::new(1000);
        assert_eq!(watch.reads(16 * 1024 + 3000), Ok(()));
        assert_eq!(watch.reads(1), Err(MostlyFraming));
        watch.yields(1);
        assert_eq!(watch.reads(18), Ok(()));
        assert_eq!(watch.reads(1), Err(MostlyFraming));
    }

    #[test]
    fn data_pays_for_framing_in_proportion() {
        let mut watch = ChunkWatch::new(0);
        for _ in 0..1000 {
            watch.yields(100);
            watch.reads(316).unwrap();
        }
        assert_eq!(watch.reads(16 * 1024 + 1), Err(MostlyFraming));
    }
}
