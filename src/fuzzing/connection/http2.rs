//! HTTP/2: the input is a list of frames, and what a client does between them.

use std::collections::{HashMap, HashSet};

use super::http1::what_is_sent;
use super::records::{Frame, behind_preface, frames, kind, read};
use super::server;
use crate::fuzzing::script::Step;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The largest frame that the server takes (RFC 9113 section 6.5.2).
const MAX_FRAME: usize = 16_384;
/// The window that each side begins with.
const WINDOW: u64 = 65_535;

pub(in crate::fuzzing) fn run(data: &[u8]) {
    let steps = read(data);
    let sent = what_is_sent(&steps);
    let undisturbed = steps.iter().all(|step| !matches!(step, Step::Fail | Step::Take(_)));
    let server = server();
    let streams = u64::from(server.config.http2.max_concurrent_streams);
    let outcome = server.serve(steps, streams);
    let answered = outcome.far.answered();
    if answered.starts_with(b"HTTP/1.1 ") {
        assert_eq!(outcome.requests, 0, "another protocol answers than was asked");
        return;
    }
    let sent = Sent::read(behind_preface(&sent).unwrap_or_default());
    let cut_is_told = !undisturbed || outcome.far.was_reset();
    judge(&answered, &sent, cut_is_told);
    assert!(outcome.requests <= sent.opened.len() as u64, "{} requests", outcome.requests);
}

/// What a client has sent, as far as it keeps to the protocol.
#[derive(Default)]
struct Sent {
    /// Streams that it opened, and which of them before it broke the protocol.
    opened: HashSet<u32>,
    sound: HashSet<u32>,
    /// Bytes by which it has opened the connection's window, at most.
    window: u64,
}

impl Sent {
    fn read(bytes: &[u8]) -> Self {
        let mut sent = Self { window: WINDOW, ..Self::default() };
        let (mut broken, mut block) = (false, None);
        for (place, frame) in frames(bytes).iter().enumerate() {
            broken |= is_broken(frame, place, block);
            if frame.is_cut() {
                break;
            }
            if frame.kind == kind::HEADERS {
                sent.opened.insert(frame.stream);
                if !broken {
                    sent.sound.insert(frame.stream);
                }
            }
            if frame.kind == kind::WINDOW_UPDATE && frame.stream == 0 {
                sent.window += u64::from(frame.number(0).unwrap_or(0) & 0x7fff_ffff);
            }
            block = match frame.kind {
                kind::HEADERS | kind::CONTINUATION if frame.flags & END_HEADERS == 0 => Some(frame.stream),
                _ => None,
            };
        }
        sent
    }
}

/// Whether the connection must end with this frame: it breaks the framing, whatever it says.
fn is_broken(frame: &Frame<'_>, place: usize, block: Option<u32>) -> bool {
    let Frame { kind, stream, length, .. } = *frame;
    let out_of_place = match block {
        Some(open) => kind != kind::CONTINUATION || stream != open,
        None => kind == kind::CONTINUATION,
    };
    let of_connection = matches!(kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
    let of_stream = matches!(kind, kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM);
    let wrong_size = match kind {
        kind::PING => length != 8,
        kind::SETTINGS => length % 6 != 0,
        kind::WINDOW_UPDATE | kind::RST_STREAM => length != 4,
        _ => false,
    };
    out_of_place
        || wrong_size
        || length > MAX_FRAME
        || (place == 0 && kind != kind::SETTINGS)
        || (of_connection && stream != 0)
        || (of_stream && stream == 0)
}

/// Every stream that was opened has one answer at most, and what came behind a broken frame has none.
fn judge(answered: &[u8], sent: &Sent, cut_is_told: bool) {
    let all = frames(answered);
    let whole: usize = all.iter().map(|frame| 9 + frame.payload.len()).sum();
    let cut = whole < answered.len() || all.last().is_some_and(Frame::is_cut);
    assert!(!cut || cut_is_told, "a frame is cut off: {:?}", all.last());
    let mut ended: HashMap<u32, &str> = HashMap::new();
    let (mut begun, mut data, mut last, mut block) = (HashSet::new(), 0, None, None);
    for (place, frame) in all.iter().enumerate() {
        let Frame { kind, flags, stream, length, .. } = *frame;
        assert!(place > 0 || kind == kind::SETTINGS, "the first frame is {frame:?}");
        if let Some(open) = block {
            assert!(kind == kind::CONTINUATION && stream == open, "{frame:?} within a block");
        }
        block = match kind {
            kind::HEADERS | kind::CONTINUATION if flags & END_HEADERS == 0 => Some(stream),
            _ => None,
        };
        if matches!(kind, kind::DATA | kind::HEADERS | kind::RST_STREAM) {
            assert!(sent.opened.contains(&stream) || kind == kind::RST_STREAM, "{frame:?}: nobody asked");
        }
        if matches!(kind, kind::DATA | kind::HEADERS) {
            // h2 takes a stream that only a server may open, or an old one, for a fault of the stream
            // alone where its block is faulty too. None of them is served.
            assert!(stream % 2 == 1, "{frame:?}: no stream of a client");
            assert!(!ended.contains_key(&stream), "{frame:?} behind {}", ended[&stream]);
            assert!(sent.sound.contains(&stream), "{frame:?}: an answer to what came too late");
            if flags & END_STREAM != 0 {
                ended.insert(stream, "the end");
            }
        }
        match kind {
            kind::DATA => {
                assert!(begun.contains(&stream), "{frame:?} without a head");
                data += length as u64;
            }
            kind::HEADERS => {
                // What was refused with the connection as a whole is not served any more.
                let goes_on = last.is_none_or(|last| stream <= last);
                assert!(begun.contains(&stream) || goes_on, "{frame:?} behind GOAWAY of {last:?}");
                begun.insert(stream);
            }
            kind::RST_STREAM => _ = ended.insert(stream, "a reset"),
            kind::GOAWAY => last = frame.number(0).map(|stream| stream & 0x7fff_ffff),
            _ => {}
        }
    }
    assert!(data <= sent.window, "{data} bytes, and room for {}", sent.window);
}

/// What was answered, stream by stream.
#[cfg(test)]
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::fuzzing) struct Summary {
    pub(in crate::fuzzing) contents: std::collections::BTreeSet<(u32, Vec<u8>)>,
    /// Streams that came to their end.
    pub(in crate::fuzzing) ended: Vec<u32>,
    pings: usize,
    /// The connection was given up for a fault.
    pub(in crate::fuzzing) refused: bool,
}

#[cfg(test)]
pub(in crate::fuzzing) fn summary(answered: &[u8]) -> Summary {
    let mut summary = Summary::default();
    let mut contents = std::collections::BTreeMap::<u32, Vec<u8>>::new();
    for frame in frames(answered) {
        let stream = frame.stream;
        match frame.kind {
            kind::DATA => contents.entry(stream).or_default().extend_from_slice(frame.payload),
            kind::PING => summary.pings += 1,
            kind::GOAWAY => summary.refused |= frame.number(4) != Some(0),
            _ => {}
        }
        if matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.flags & END_STREAM != 0 {
            summary.ended.push(stream);
        }
    }
    summary.ended.sort_unstable();
    summary.contents = contents.into_iter().collect();
    summary
}

/// The bytes that records stand for.
#[cfg(test)]
pub(in crate::fuzzing) fn bytes(records: &[u8]) -> Vec<u8> {
    what_is_sent(&read(records))
}
