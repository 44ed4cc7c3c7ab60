//! What the far end of a connection does, as bytes: most stand for themselves, and those of `0xf0` and
//! above, which no text has, for what is done between them. So a corpus can be read, and a fuzzer cuts
//! and waits wherever it likes.

use std::time::Duration;

use super::pipe::Far;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes at once.
    Send(Vec<u8>),
    /// Nothing, for so long; at least until the other side has done all that it does at once.
    Wait(Duration),
    /// Nothing, until the other side asks for the next thing.
    Await,
    /// No more is sent.
    End,
    /// The connection breaks.
    Fail,
    /// So many bytes more are taken of what comes.
    Take(usize),
    /// The server drains: its connections are to go once they are idle.
    Drain,
}

/// Bytes that a script can make out of a few.
const MOST: usize = 256 * 1024;

/// Reads a script.
pub(super) fn read(data: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut text = Vec::new();
    let mut size = 0;
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        let step = match byte {
            0..0xf0 => {
                text.push(byte);
                size += 1;
                continue;
            }
            // The byte before, many times: a line that is too long is short in here.
            0xf7 => {
                let times = usize::from(bytes.next().unwrap_or(0)) * 32;
                let last = text.last().copied().unwrap_or(b'a');
                if size + times <= MOST {
                    size += times;
                    text.extend(std::iter::repeat_n(last, times));
                }
                continue;
            }
            // Letters of no alphabet may stand in a field (RFC 9110 section 5.5).
            0xff => {
                text.push(0xff);
                continue;
            }
            0xf0 => Step::Wait(Duration::from_millis(1)),
            0xf1 => Step::Wait(Duration::from_millis(300)),
            0xf2 => Step::Wait(Duration::from_secs(1)),
            0xf3 => Step::Wait(Duration::from_secs(6)),
            0xf4 => Step::Wait(Duration::from_secs(12)),
            0xf5 => Step::Wait(Duration::from_secs(80)),
            0xf6 => Step::Await,
            0xf8 => Step::End,
            0xf9 => Step::Fail,
            0xfa => Step::Take(0),
            0xfb => Step::Take(256),
            0xfc => Step::Take(usize::MAX),
            0xfd | 0xfe => Step::Drain,
        };
        if !text.is_empty() {
            steps.push(Step::Send(std::mem::take(&mut text)));
        }
        steps.push(step);
    }
    if !text.is_empty() {
        steps.push(Step::Send(text));
    }
    steps
}

/// How long it takes, at least.
pub(super) fn duration(steps: &[Step]) -> Duration {
    let wait = |step: &Step| match step {
        Step::Wait(time) => *time,
        Step::Await | Step::Drain => Duration::from_secs(1),
        _ => Duration::ZERO,
    };
    steps.iter().map(wait).sum()
}

/// All that it would send.
pub(super) fn bytes(steps: &[Step]) -> usize {
    steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum()
}

/// Does what it says on this connection; `other` does what concerns more than the connection.
pub(super) async fn play(steps: Vec<Step>, far: &Far, mut other: impl AsyncFnMut(Step)) {
    for step in steps {
        match step {
            Step::Send(bytes) => far.send(&bytes),
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::End => far.end(),
            Step::Fail => far.fail(),
            Step::Take(room) => far.take(room),
            step => other(step).await,
        }
    }
}

/// Runs this under a clock that is turned on whenever nobody has anything to do.
pub(super) fn with_paused_clock<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(what)
}
