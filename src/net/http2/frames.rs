//! Following HTTP/2 frames by their headers alone
//! ([RFC 9113 section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).

/// Frame types (RFC 9113 section 6).
pub(crate) mod kind {
    /// Content.
    pub(crate) const DATA: u8 = 0;
    /// The beginning of a head.
    pub(crate) const HEADERS: u8 = 1;
    /// Cancels a stream.
    pub(crate) const RST_STREAM: u8 = 3;
    /// What a side can do; the first frame of either.
    pub(crate) const SETTINGS: u8 = 4;
    /// The end of a connection.
    pub(crate) const GOAWAY: u8 = 7;
    /// The rest of a head.
    pub(crate) const CONTINUATION: u8 = 9;
}

const END_HEADERS: u8 = 0x4;
/// On SETTINGS: it acknowledges those of the other side.
pub(super) const ACK: u8 = 0x1;
/// On DATA and HEADERS: the last frame of a message.
pub(super) const END_STREAM: u8 = 0x1;

/// One frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Payload bytes.
    pub length: usize,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
}

/// Where in the frames a stream of bytes is.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    head: [u8; 9],
    have: usize,
    payload: usize,
    /// Type of the frame that is under way.
    kind: u8,
    /// A header block has begun and not ended.
    in_block: bool,
    /// Bytes of that block so far.
    pub block_size: usize,
    /// A frame has come whole, or at least begun with a whole header.
    pub any: bool,
}

impl FrameReader {
    /// Follows `bytes`, and calls `each` for every frame header that becomes whole.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = self.payload.min(bytes.len());
                self.payload -= skip;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            let take = (self.head.len() - self.have).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            if let Some(room) = self.head.get_mut(self.have..self.have + take) {
                room.copy_from_slice(now);
            }
            self.have += take;
            bytes = rest;
            if self.have == self.head.len() {
                self.have = 0;
                self.any = true;
                let head = parse(self.head);
                self.payload = head.length;
                self.kind = head.kind;
                self.follow_block(head);
                each(head);
            }
        }
    }

    fn follow_block(&mut self, head: FrameHead) {
        match head.kind {
            kind::HEADERS => self.block_size = head.length,
            kind::CONTINUATION => self.block_size += head.length,
            _ => return,
        }
        self.in_block = head.flags & END_HEADERS == 0;
    }

    /// Whether the bytes so far end with a whole frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Whether a head, or any frame but content, has begun and not ended. Content has clocks of
    /// its own.
    pub(crate) fn mid_head(&self) -> bool {
        self.in_block || self.have > 0 || (self.payload > 0 && self.kind != kind::DATA)
    }
}

fn parse(head: [u8; 9]) -> FrameHead {
    let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = head;
    let length = u32::from_be_bytes([0, l1, l2, l3]);
    FrameHead {
        length: usize::try_from(length).unwrap_or(usize::MAX),
        kind,
        flags,
        stream: u32::from_be_bytes([s1, s2, s3, s4]) & 0x7fff_ffff,
    }
}

/// Why a connection ends (RFC 9113 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Nothing is wrong.
    NoError = 0x0,
    /// The client broke a rule.
    ProtocolError = 0x1,
    /// The client sends more than it has use for.
    EnhanceYourCalm = 0xb,
}

/// The frame that a server begins with, empty: without it a client takes the end for a fault of the
/// protocol (RFC 9113 section 3.4).
pub(crate) const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A `GOAWAY` frame (RFC 9113 section 6.8).
pub(crate) fn goaway(last_stream: u32, code: Code) -> [u8; 17] {
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, code as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8, kind: u8, flags: u8, stream: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        bytes.extend(std::iter::repeat_n(0xff, usize::from(length)));
        bytes
    }

    #[test]
    fn frames_are_followed_wherever_they_are_split() {
        let bytes = [frame(0, 4, 0, 0), frame(3, 1, 4, 1), frame(5, 0, 1, 1)].concat();
        for split in 0..=bytes.len() {
            let (mut reader, mut kinds) = (FrameReader::default(), vec![]);
            reader.feed(&bytes[..split], |head| kinds.push((head.kind, head.length, head.stream)));
            reader.feed(&bytes[split..], |head| kinds.push((head.kind, head.length, head.stream)));
            assert_eq!(kinds, [(4, 0, 0), (1, 3, 1), (0, 5, 1)], "split at {split}");
            assert!(reader.at_boundary());
        }
    }

    #[test]
    fn a_head_lasts_until_its_block_ends() {
        let mut reader = FrameReader::default();
        reader.feed(&frame(3, 1, 0, 1), |_| ());
        assert!(reader.mid_head() && reader.at_boundary());
        reader.feed(&frame(2, 9, 4, 1), |_| ());
        assert!(!reader.mid_head());
        assert_eq!(reader.block_size, 5);
        reader.feed(&frame(9, 0, 0, 1)[..10], |_| ());
        assert!(!reader.mid_head(), "content has clocks of its own");
    }
}
