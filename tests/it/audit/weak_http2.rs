//! HTTP/2 that takes whatever comes, answers everything, and keeps what it has to send for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::weak::{BODY, Reader};
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, SETTINGS, WINDOW_UPDATE,
    frame, reset, settings,
};

/// A frame over this is not believed.
const LARGEST: usize = 1 << 20;

/// What is known of a connection.
#[derive(Default)]
struct State {
    /// Bytes to send on streams whose windows are shut.
    stuck: BTreeMap<u32, (usize, usize)>,
    /// Streams whose request is complete.
    ended: BTreeSet<u32>,
    first_window: usize,
    window: usize,
}

pub(super) fn serve(mut reader: Reader) {
    // Answers are queued without a bound: whoever sends is never held back.
    let (queue, waiting) = std::sync::mpsc::channel::<Vec<u8>>();
    let mut stream = reader.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok(bytes) = waiting.recv() {
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    if reader.take(24).is_none() {
        return;
    }
    let _ = queue.send(settings(&[]));
    let mut state = State { first_window: 65_535, window: 65_535, ..State::default() };
    while let Some(head) = reader.take(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let Some(payload) = reader.take(if length > LARGEST { 1000 } else { length }) else { return };
        let _ = queue.send(state.react(head[3], head[4], id, &payload));
    }
}

impl State {
    fn react(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
        let word = || payload.get(..4).map_or(0, |four| u32::from_be_bytes(four.try_into().unwrap()));
        let has = |text: &str| payload.windows(text.len()).any(|part| part == text.as_bytes());
        match kind {
            SETTINGS if flags & ACK == 0 => {
                for entry in payload.chunks_exact(6).filter(|entry| entry[..2] == [0, 4]) {
                    self.first_window = u32::from_be_bytes(entry[2..].try_into().unwrap()) as usize;
                }
                frame(SETTINGS, ACK, 0, &[])
            }
            PING if flags & ACK == 0 => frame(PING, ACK, 0, payload),
            // A server that resets what is wrong, and does not count how often.
            HEADERS if id > 1 && has("connection") && !has("keep-alive") => reset(id, 1),
            DATA if id > 1 && has("abc") => reset(id, 1),
            DATA if id > 1 && self.ended.contains(&id) => reset(id, 5),
            PRIORITY if payload.len() == 5 && word() == id => reset(id, 1),
            WINDOW_UPDATE if id > 0 && matches!(word(), 0 | 0x7fff_ffff) => reset(id, 3),
            WINDOW_UPDATE => {
                if let Some((_, window)) = self.stuck.get_mut(&id) {
                    *window += word() as usize;
                }
                if id == 0 {
                    self.window += word() as usize;
                }
                self.send()
            }
            HEADERS | CONTINUATION | DATA => {
                let complete = flags & END_STREAM != 0 || kind == CONTINUATION && flags & END_HEADERS != 0;
                if kind == HEADERS && flags & END_HEADERS == 0 || !complete || self.ended.contains(&id) {
                    return Vec::new();
                }
                self.ended.insert(id);
                self.stuck.insert(id, (BODY, self.first_window));
                let head = frame(HEADERS, END_HEADERS, id, &[0x88]);
                [head, self.send()].concat()
            }
            _ => Vec::new(),
        }
    }

    /// What the windows let through.
    fn send(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, (left, window)) in &mut self.stuck {
            loop {
                let part = (*left).min(16_384).min(*window).min(self.window);
                if part == 0 {
                    break;
                }
                *left -= part;
                *window -= part;
                self.window -= part;
                let end = if *left == 0 { END_STREAM } else { 0 };
                bytes.extend(frame(DATA, end, *id, &vec![b'a'; part]));
            }
        }
        self.stuck.retain(|_, (left, _)| *left > 0);
        bytes
    }
}
