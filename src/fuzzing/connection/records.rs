//! Frames of HTTP/2 as records, which a fuzzer can put in, take out and change without losing the
//! frames behind them.
//!
//! The first byte: bit 0 leaves the client's SETTINGS out, bit 1 sends the preface in two parts. Then
//! records, each with one byte for its kind:
//!
//! | kind | then | what is sent |
//! |---|---|---|
//! | `0..=9` | flags, stream, length, payload | a frame of this type |
//! | `10` | type, flags, stream, length, payload | a frame of any type |
//! | `11` | what, stream | HEADERS of a sound request: bits 0 to 2 the path, 3 the method, 4 whether it ends |
//! | `12` | length, bytes | these bytes, whatever they are |
//! | `13` | number | the last frame again, so many times |
//! | `14` | stream, four bytes | WINDOW_UPDATE |
//! | `15` | flags, stream, length | DATA of 64 times that |
//! | `0xf0` and above | | as in a script |
//!
//! A stream of `0x80` and above is the next that the client has not used, `0x40` and above the last.

use crate::fuzzing::script::{self, Step};

/// The client's connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATHS: [&str; 8] = ["/x", "/early", "/much", "/never", "/chunked", "/health", "/p", "/metrics"];
/// Bytes that records can make out of a few.
const MOST: usize = 128 * 1024;

pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// A frame: its length is not that of the payload where it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn is_cut(&self) -> bool {
        self.payload.len() < self.length
    }

    /// The four bytes at this place of its payload.
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        self.payload.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
    }
}

/// All frames in these bytes; behind the last there may be a part of a head.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
        let payload = &rest[..length.min(rest.len())];
        frames.push(Frame { kind: head[3], flags: head[4], stream, length, payload });
        bytes = &rest[payload.len()..];
    }
    frames
}

/// What a client sends behind its preface, if that stands at the beginning.
pub(super) fn behind_preface(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(PREFACE)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS of a request that is in order (RFC 7541: static table, and literals without indexing).
fn request(what: u8, stream: u32) -> Vec<u8> {
    let path = PATHS[usize::from(what & 7)];
    let mut block = vec![if what & 8 == 0 { 0x82 } else { 0x83 }, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x01, 1, b'a']);
    let ends = if what & 16 == 0 { 0 } else { 1 };
    frame(kind::HEADERS, 4 | ends, stream, &block)
}

struct Reader<'a> {
    data: &'a [u8],
    last: u32,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.data.len());
        let (bytes, rest) = self.data.split_at(length);
        self.data = rest;
        bytes
    }

    fn stream(&mut self) -> u32 {
        match self.byte() {
            0x80.. => {
                self.last += if self.last == 0 { 1 } else { 2 };
                self.last
            }
            0x40.. => self.last,
            stream => stream.into(),
        }
    }
}

/// Reads records.
pub(super) fn read(data: &[u8]) -> Vec<Step> {
    let mut reader = Reader { data, last: 0 };
    let options = reader.byte();
    let mut steps = Vec::new();
    let mut bytes = PREFACE.to_vec();
    if options & 2 != 0 {
        steps.push(Step::Send(bytes.drain(..7).collect()));
        steps.push(Step::Wait(std::time::Duration::from_millis(1)));
    }
    if options & 1 == 0 {
        bytes.extend(frame(kind::SETTINGS, 0, 0, b""));
    }
    let (mut size, mut last) = (0, Vec::new());
    while !reader.data.is_empty() && size < MOST {
        let record = match reader.byte() {
            control @ 0xf0.. => {
                let step = script::read(&[control]);
                if !step.is_empty() {
                    steps.push(Step::Send(std::mem::take(&mut bytes)));
                    steps.extend(step);
                }
                continue;
            }
            kind => match kind & 15 {
                kind @ 0..=9 => {
                    let (flags, stream) = (reader.byte(), reader.stream());
                    frame(kind, flags, stream, reader.bytes())
                }
                10 => {
                    let (kind, flags, stream) = (reader.byte(), reader.byte(), reader.stream());
                    frame(kind, flags, stream, reader.bytes())
                }
                11 => {
                    let (what, stream) = (reader.byte(), reader.stream());
                    request(what, stream)
                }
                12 => reader.bytes().to_vec(),
                13 => last.repeat(usize::from(reader.byte()).min((MOST - size) / last.len().max(1))),
                14 => {
                    let stream = reader.stream();
                    frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4].map(|_: u8| reader.byte()))
                }
                _ => {
                    let (flags, stream) = (reader.byte(), reader.stream());
                    frame(kind::DATA, flags & !8, stream, &vec![b'd'; usize::from(reader.byte()) * 64])
                }
            },
        };
        size += record.len();
        bytes.extend_from_slice(&record);
        last = record;
    }
    steps.push(Step::Send(bytes));
    steps
}
