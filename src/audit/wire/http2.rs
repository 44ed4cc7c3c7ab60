//! HTTP/2 frames written by hand, and a connection that books what comes back.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::target::{Target, TargetError};
use super::{Conn, Sent, hpack};

/// What a client says first.
pub(in crate::audit) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub(in crate::audit) const DATA: u8 = 0;
pub(in crate::audit) const HEADERS: u8 = 1;
pub(in crate::audit) const PRIORITY: u8 = 2;
pub(in crate::audit) const RST_STREAM: u8 = 3;
pub(in crate::audit) const SETTINGS: u8 = 4;
pub(in crate::audit) const PUSH_PROMISE: u8 = 5;
pub(in crate::audit) const PING: u8 = 6;
pub(in crate::audit) const GOAWAY: u8 = 7;
pub(in crate::audit) const WINDOW_UPDATE: u8 = 8;
pub(in crate::audit) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(in crate::audit) const END_STREAM: u8 = 1;
pub(in crate::audit) const ACK: u8 = 1;
pub(in crate::audit) const END_HEADERS: u8 = 4;
pub(in crate::audit) const PADDED: u8 = 8;

/// The code with which a client gives up a stream.
pub(in crate::audit) const CANCEL: u32 = 8;

/// Settings (RFC 9113 section 6.5.2).
pub(in crate::audit) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(in crate::audit) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(in crate::audit) const MAX_FRAME_SIZE: u16 = 5;

/// The name of an error code (RFC 9113 section 7).
pub(in crate::audit) fn code_name(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let known = usize::try_from(code).ok().and_then(|code| names.get(code));
    known.map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// One frame as bytes.
pub(in crate::audit) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = frame_head(length, kind, flags, stream).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a frame that says it has `length` bytes.
pub(in crate::audit) fn frame_head(length: u32, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let [_, a, b, c] = length.to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// RST_STREAM with this code.
pub(in crate::audit) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE by this much.
pub(in crate::audit) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// SETTINGS with these entries.
pub(in crate::audit) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in entries {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// What a stream has brought so far.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::audit) struct Stream {
    pub(in crate::audit) status: Option<u16>,
    /// Bytes of DATA.
    pub(in crate::audit) data: u64,
    pub(in crate::audit) ended: bool,
    pub(in crate::audit) reset: Option<u32>,
}

impl Stream {
    /// Whether nothing more will come.
    pub(in crate::audit) fn done(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// One connection.
pub(in crate::audit) struct H2 {
    pub(in crate::audit) conn: Conn,
    pub(in crate::audit) streams: HashMap<u32, Stream>,
    /// The code of the last GOAWAY.
    pub(in crate::audit) goaway: Option<u32>,
    /// The server's settings, once they came.
    pub(in crate::audit) settings: Option<HashMap<u16, u32>>,
    /// Answers to PING.
    pub(in crate::audit) pongs: u64,
    /// Streams that were reset.
    pub(in crate::audit) resets: u64,
    /// Whether to acknowledge, and to open windows again.
    pub(in crate::audit) polite: bool,
}

impl H2 {
    /// Connects and shakes hands; an error where HTTP/2 is not spoken.
    pub(in crate::audit) async fn open(target: &Target) -> Result<Self, TargetError> {
        Self::open_with(target, &[]).await
    }

    /// The same, with further settings.
    pub(in crate::audit) async fn open_with(
        target: &Target,
        entries: &[(u16, u32)],
    ) -> Result<Self, TargetError> {
        Self::shake_hands(target, target.connect().await?, entries).await
    }

    /// Shakes hands on a connection that is open already.
    pub(in crate::audit) async fn shake_hands(
        target: &Target,
        conn: Conn,
        entries: &[(u16, u32)],
    ) -> Result<Self, TargetError> {
        let mut h2 = Self::raw(conn);
        // No dynamic table, so that each answer can be read by itself; no push.
        let all = [&[(1, 0), (2, 0)], entries].concat();
        h2.send(target, [PREFACE, &settings(&all)].concat()).await;
        h2.pump_until(target.patience(), |h2| h2.settings.is_some()).await;
        match h2.settings {
            Some(_) => Ok(h2),
            None => Err(TargetError("no HTTP/2 SETTINGS came".to_owned())),
        }
    }

    /// A connection on which nothing has been sent.
    pub(in crate::audit) fn raw(conn: Conn) -> Self {
        Self {
            conn,
            streams: HashMap::new(),
            goaway: None,
            settings: None,
            pongs: 0,
            resets: 0,
            polite: true,
        }
    }

    pub(in crate::audit) async fn send(&mut self, target: &Target, bytes: impl AsRef<[u8]>) -> Sent {
        self.conn.send(bytes, target.patience()).await
    }

    /// Whether the server has ended the connection, or said that it will.
    pub(in crate::audit) fn is_over(&self) -> bool {
        self.goaway.is_some() || self.conn.end.is_some()
    }

    pub(in crate::audit) fn stream(&self, stream: u32) -> Stream {
        self.streams.get(&stream).copied().unwrap_or_default()
    }

    /// Reads frames until `wanted` holds, the connection ends, or the time is over; whether it holds.
    pub(in crate::audit) async fn pump_until(
        &mut self,
        time: Duration,
        wanted: impl Fn(&Self) -> bool,
    ) -> bool {
        let deadline = Instant::now() + time;
        loop {
            self.book_all().await;
            if wanted(self) {
                return true;
            }
            if !self.conn.fill(deadline).await {
                return false;
            }
        }
    }

    /// Waits until the server ends the connection or says so; whether it does.
    pub(in crate::audit) async fn pump_to_end(&mut self, time: Duration) -> bool {
        self.pump_until(time, Self::is_over).await || self.is_over()
    }

    /// Books every whole frame that has come.
    pub(in crate::audit) async fn book_all(&mut self) {
        let mut polite = Vec::new();
        while let Some((head, payload)) = self.next_frame() {
            self.book(head, &payload, &mut polite);
        }
        if self.polite && !polite.is_empty() {
            self.conn.send(&polite, Duration::from_secs(1)).await;
        }
    }

    fn next_frame(&mut self) -> Option<([u8; 9], Vec<u8>)> {
        let head: [u8; 9] = *self.conn.buffer.first_chunk()?;
        let [a, b, c, ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        if self.conn.buffer.len() < 9 + length {
            return None;
        }
        let payload = self.conn.take(9 + length).split_off(9);
        Some((head, payload))
    }

    fn book(&mut self, head: [u8; 9], payload: &[u8], polite: &mut Vec<u8>) {
        let [_, _, _, kind, flags, s1, s2, s3, s4] = head;
        let id = u32::from_be_bytes([s1, s2, s3, s4]) & 0x7fff_ffff;
        let word = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        match kind {
            DATA | HEADERS => {
                let stream = self.streams.entry(id).or_default();
                stream.ended |= flags & END_STREAM != 0;
                if kind == HEADERS {
                    // Trailers bring no status and must not undo the one that came before.
                    stream.status =
                        stream.status.filter(|status| *status >= 200).or_else(|| hpack::status(payload));
                    self.conn.answered(stream.status.unwrap_or(0));
                } else {
                    stream.data += payload.len() as u64;
                    if !payload.is_empty() {
                        let by = u32::try_from(payload.len()).unwrap_or(0);
                        polite.extend(window_update(0, by));
                        if !stream.ended {
                            polite.extend(window_update(id, by));
                        }
                    }
                }
            }
            RST_STREAM => {
                self.resets += 1;
                self.streams.entry(id).or_default().reset = Some(word(0));
            }
            SETTINGS if flags & ACK == 0 => {
                let known = self.settings.get_or_insert_default();
                for entry in payload.chunks_exact(6) {
                    if let [i1, i2, v1, v2, v3, v4] = entry {
                        known
                            .insert(u16::from_be_bytes([*i1, *i2]), u32::from_be_bytes([*v1, *v2, *v3, *v4]));
                    }
                }
                polite.extend(frame(SETTINGS, ACK, 0, &[]));
            }
            PING if flags & ACK != 0 => self.pongs += 1,
            PING => polite.extend(frame(PING, ACK, 0, payload)),
            GOAWAY => self.goaway = Some(word(4)),
            _ => {}
        }
    }
}

/// Field lines of a request.
pub(in crate::audit) fn fields(
    target: &Target,
    method: &str,
    path: &str,
    further: &[(&str, &str)],
) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", target.scheme()),
        (":path", path),
        (":authority", target.authority()),
    ];
    let mut block: Vec<u8> = pseudo.iter().flat_map(|(name, value)| hpack::field(name, value)).collect();
    for (name, value) in &target.options.headers {
        block.extend(hpack::field(name.to_ascii_lowercase(), value));
    }
    block.extend(further.iter().flat_map(|(name, value)| hpack::field(name, value)));
    block
}

/// HEADERS of a GET of the path.
pub(in crate::audit) fn get(target: &Target, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(target, "GET", target.path(), &[]))
}

/// HEADERS of a POST whose body is to come.
pub(in crate::audit) fn post(target: &Target, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(target, "POST", target.upload_path(), &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_standard() {
        assert_eq!(window_update(3, 1), [0, 0, 4, 8, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
        assert_eq!(settings(&[(4, 0)]), [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(frame_head(0x0012_3456, DATA, END_STREAM, 1), [0x12, 0x34, 0x56, 0, 1, 0, 0, 0, 1]);
        assert_eq!(code_name(11), "ENHANCE_YOUR_CALM");
        assert_eq!(code_name(77), "code 77");
    }
}
