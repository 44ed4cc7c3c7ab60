//! An HTTP/2 client that writes its frames by hand, and so can break every rule.
//!
//! Fields are sent as literals that are never indexed, and the server is told that its own dynamic
//! table has no room: `:status` can then be read from the first field of an answer alone.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::http1::{Conn, End};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A string in HPACK, not Huffman-coded (RFC 7541 section 5.2).
fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = text.len();
    if left < 127 {
        bytes.push(left as u8);
    } else {
        bytes.push(127);
        left -= 127;
        while left >= 128 {
            bytes.push((left % 128) as u8 | 128);
            left /= 128;
        }
        bytes.push(left as u8);
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A field, literal and never indexed.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0x10], string(name), string(value)].concat()
}

/// A field, literal and put into the dynamic table.
pub(crate) fn indexed_field(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

/// The fields of a request.
pub(crate) fn request_fields(method: &str, path: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "nessen.test")];
    pseudo.iter().chain(extra).flat_map(|(name, value)| field(name, value)).collect()
}

/// HEADERS of a whole request head.
pub(crate) fn request(stream: u32, method: &str, path: &str, extra: &[(&str, &str)], end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &request_fields(method, path, extra))
}

/// A GET without a body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, "GET", path, &[], true)
}

/// RST_STREAM with this code.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE by this much.
pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// SETTINGS with these entries.
pub(crate) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload =
        entries.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
    frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())
}

/// What a stream has brought so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// `:status`, once HEADERS came.
    pub(crate) status: Option<u16>,
    /// The DATA so far.
    pub(crate) body: Vec<u8>,
    /// Whether the stream ended in order.
    pub(crate) ended: bool,
    /// The code of RST_STREAM.
    pub(crate) reset: Option<u32>,
}

impl Answer {
    /// Whether nothing more will come.
    pub(crate) fn done(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// One connection.
pub(crate) struct H2 {
    conn: Conn,
    /// Answers by stream.
    pub(crate) answers: HashMap<u32, Answer>,
    /// GOAWAY frames as (last stream, code).
    pub(crate) goaways: Vec<(u32, u32)>,
    /// The server's settings.
    pub(crate) settings: HashMap<u16, u32>,
    /// PING answers.
    pub(crate) pongs: usize,
    /// Bytes that WINDOW_UPDATE frames have allowed, by stream.
    credit: HashMap<u32, u64>,
    /// Bytes of [`H2::upload`], by stream; those of all streams under 0.
    spent: HashMap<u32, u64>,
    /// How the connection ended.
    pub(crate) end: Option<End>,
    /// Whether to acknowledge and open windows as an honest client does.
    pub(crate) polite: bool,
}

impl H2 {
    /// Connects, and shakes hands as an honest client does.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[])
    }

    /// The same, with further settings.
    #[track_caller]
    pub(crate) fn open_with(address: SocketAddr, entries: &[(u16, u32)]) -> Self {
        Self::on(Conn::open(address), entries)
    }

    /// Shakes hands on a connection that is open already.
    #[track_caller]
    pub(crate) fn on(conn: Conn, entries: &[(u16, u32)]) -> Self {
        let mut h2 = Self::raw(conn);
        let all = [&[(1, 0), (2, 0)], entries].concat();
        h2.send(&[PREFACE, &settings(&all)].concat());
        h2.pump_until("the server's settings", |h2| !h2.settings.is_empty());
        h2
    }

    /// A connection on which nothing has been sent.
    pub(crate) fn raw(conn: Conn) -> Self {
        Self {
            conn,
            answers: HashMap::new(),
            goaways: Vec::new(),
            settings: HashMap::new(),
            pongs: 0,
            credit: HashMap::new(),
            spent: HashMap::new(),
            end: None,
            polite: true,
        }
    }

    /// Sends bytes that must be taken.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.conn.send(bytes);
    }

    /// Sends bytes that the server may refuse to take.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.conn.try_send(bytes).is_ok()
    }

    /// Bytes that the server has allowed on `stream`, or on all streams under 0, beyond the first.
    pub(crate) fn credit(&self, stream: u32) -> u64 {
        self.credit.get(&stream).copied().unwrap_or(0)
    }

    /// Bytes that [`H2::upload`] may send on `stream` now.
    fn window(&self, stream: u32) -> u64 {
        let left = |stream: u32, first: u64| {
            let of = |book: &HashMap<u32, u64>| book.get(&stream).copied().unwrap_or(0);
            (first + of(&self.credit)).saturating_sub(of(&self.spent))
        };
        let first = self.settings.get(&4).copied().unwrap_or(65_535);
        left(0, 65_535).min(left(stream, u64::from(first)))
    }

    /// Sends `length` bytes of body and the end of the stream, within the windows of the server.
    #[track_caller]
    pub(crate) fn upload(&mut self, stream: u32, length: usize) {
        let mut left = length;
        while left > 0 {
            self.pump_until("window for the upload", |h2| h2.window(stream) > 0);
            let part = left.min(16_384).min(self.window(stream) as usize);
            left -= part;
            *self.spent.entry(0).or_default() += part as u64;
            *self.spent.entry(stream).or_default() += part as u64;
            let flags = if left == 0 { END_STREAM } else { 0 };
            self.send(&frame(DATA, flags, stream, &vec![b'a'; part]));
        }
    }

    /// Reads one frame and books it; false where none comes before `deadline`.
    fn pump(&mut self, deadline: Instant) -> bool {
        let Some(head) = self.peek(9, deadline) else { return false };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(whole) = self.peek(9 + length, deadline) else { return false };
        self.conn.discard(9 + length);
        let stream = u32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]);
        self.book(whole[3], whole[4], stream, &whole[9..]);
        true
    }

    fn peek(&mut self, count: usize, deadline: Instant) -> Option<Vec<u8>> {
        match self.conn.peek(count, deadline) {
            Ok(bytes) => Some(bytes),
            Err(End::Open) => None,
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }

    fn book(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let word = |at: usize| {
            payload.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().unwrap()))
        };
        match kind {
            DATA | HEADERS => {
                let answer = self.answers.entry(stream).or_default();
                answer.ended |= flags & END_STREAM != 0;
                if kind == HEADERS {
                    // Trailers bring no status and must not undo the one that came before.
                    answer.status =
                        answer.status.filter(|status| *status >= 200).or_else(|| status_of(payload));
                } else {
                    answer.body.extend_from_slice(payload);
                    let ended = answer.ended;
                    if self.polite && !payload.is_empty() {
                        let by = payload.len() as u32;
                        let mut update = window_update(0, by);
                        if !ended {
                            update.extend(window_update(stream, by));
                        }
                        self.try_send(&update);
                    }
                }
            }
            RST_STREAM => self.answers.entry(stream).or_default().reset = Some(word(0)),
            SETTINGS if flags & ACK == 0 => {
                let entries = payload.chunks_exact(6).map(|entry| {
                    (
                        u16::from_be_bytes([entry[0], entry[1]]),
                        u32::from_be_bytes(entry[2..].try_into().unwrap()),
                    )
                });
                self.settings.extend(entries);
                self.settings.insert(0, 0);
                if self.polite {
                    self.try_send(&frame(SETTINGS, ACK, 0, &[]));
                }
            }
            PING if flags & ACK != 0 => self.pongs += 1,
            PING if self.polite => {
                let pong = frame(PING, ACK, 0, payload);
                self.try_send(&pong);
            }
            WINDOW_UPDATE => *self.credit.entry(stream).or_default() += u64::from(word(0)),
            GOAWAY => self.goaways.push((word(0), word(4))),
            _ => {}
        }
    }

    /// Reads frames until `wanted` holds, and fails where it does not come to hold.
    #[track_caller]
    pub(crate) fn pump_until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            let went_on = self.pump(deadline);
            assert!(went_on || wanted(self), "no {what}; {}", self.state());
        }
    }

    /// Reads the frames that come within `time`.
    pub(crate) fn pump_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while self.pump(deadline) {}
    }

    /// Reads frames until the connection ends, and says how.
    #[track_caller]
    pub(crate) fn pump_to_end(&mut self) -> End {
        self.pump_until("end of the connection", |h2| h2.end.is_some());
        self.end.unwrap_or(End::Open)
    }

    /// The answer on `stream`, once it is whole or reset.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let done = |h2: &Self| h2.answers.get(&stream).is_some_and(Answer::done);
        self.pump_until(&format!("answer on stream {stream}"), done);
        self.answers[&stream].clone()
    }

    /// Asks for a badge on `stream` and fails unless it comes.
    #[track_caller]
    pub(crate) fn assert_serves(&mut self, stream: u32) {
        self.send(&get(stream, "/badge/still/there.svg"));
        let answer = self.answer(stream);
        assert_eq!((answer.status, answer.ended), (Some(200), true), "{}", self.state());
    }

    /// Fails unless the connection was given up with GOAWAY(ENHANCE_YOUR_CALM).
    #[track_caller]
    pub(crate) fn assert_calmed(&mut self) {
        self.pump_to_end();
        let codes: Vec<u32> = self.goaways.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes.last(), Some(&ENHANCE_YOUR_CALM), "{}", self.state());
    }

    /// Writes `flood` from a thread of its own until the server takes no more, reads all the while
    /// without answering, and returns when the connection has ended.
    #[track_caller]
    pub(crate) fn flood(&mut self, flood: Vec<Vec<u8>>) {
        self.polite = false;
        let mut writer = self.conn.writer();
        let writing = std::thread::spawn(move || flood.iter().all(|batch| writer.write_all(batch).is_ok()));
        let deadline = Instant::now() + PATIENCE;
        while self.end.is_none() && self.pump(deadline) {}
        let closed = self.end.is_some();
        self.conn.abandon();
        let _ = writing.join();
        assert!(closed, "the flood was endured; {}", self.state());
    }

    /// What is known, for a message.
    pub(crate) fn state(&self) -> String {
        let answers: Vec<_> =
            self.answers.iter().map(|(stream, a)| (stream, a.status, a.ended, a.reset)).take(12).collect();
        format!("end {:?}, goaways {:?}, answers {answers:?}", self.end, self.goaways)
    }
}

/// `:status` of a field block whose first field it is (RFC 9113 section 8.3.2).
fn status_of(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // A size update of the dynamic table may come first.
    while block.first()? & 0xe0 == 0x20 {
        let long = block[0] & 0x1f == 0x1f;
        block = &block[1..];
        if long {
            let last = block.iter().position(|byte| byte & 0x80 == 0)?;
            block = &block[last + 1..];
        }
    }
    match block.first()? {
        indexed @ 0x88..=0x8e => {
            [200, 204, 206, 304, 400, 404, 500].get(usize::from(indexed - 0x88)).copied()
        }
        0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e => {
            let length = usize::from(block.get(1)? & 0x7f);
            let text = block.get(2..2 + length)?;
            let digits = if block[1] & 0x80 == 0 {
                String::from_utf8(text.to_vec()).ok()?
            } else {
                huffman_digits(text)
            };
            digits.parse().ok()
        }
        _ => None,
    }
}

/// The digits of a Huffman-coded string of digits (RFC 7541 appendix B).
fn huffman_digits(text: &[u8]) -> String {
    let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut rest = bits.as_str();
    let mut digits = String::new();
    while rest.len() >= 5 {
        let (digit, used) = match u32::from_str_radix(&rest[..5], 2).unwrap() {
            low @ 0..=2 => (low, 5),
            _ if rest.len() >= 6 => match u32::from_str_radix(&rest[..6], 2).unwrap() {
                high @ 0b01_1001..=0b01_1111 => (high - 0b01_1001 + 3, 6),
                _ => break,
            },
            _ => break,
        };
        digits.push(char::from_digit(digit, 10).unwrap());
        rest = &rest[used..];
    }
    digits
}
