//! A bounded, non-blocking way from the threads that log to the reader of the log.
//!
//! Standard output is a pipe, and its reader can stall. A producer here never waits for it: a
//! line that finds no room is dropped whole and counted. Lines are never split or interleaved.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait for the reader, those being written included.
pub const DEFAULT_CAPACITY: usize = 1024 * 1024;

/// The writer rests this long between batches, so that a busy server wakes it a few hundred times
/// a second and not once per line.
const REST: Duration = Duration::from_millis(5);

/// Room that an idle pipe keeps.
const IDLE_ROOM: usize = 64 * 1024;

/// A handle to the pipe; cheap to clone. The writer thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct LogPipe {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait in `flush`.
    empty: Condvar,
    dropped: AtomicU64,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the writer has taken and not written yet.
    writing: usize,
    writer: Writer,
    flushes: usize,
    closed: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Writer {
    /// Busy writing: it looks at the buffer again by itself.
    #[default]
    Busy,
    /// Resting between batches: woken early only when the buffer fills up.
    Resting,
    /// Out of work: the next line wakes it.
    Idle,
}

/// Closes the pipe when the last handle goes.
#[derive(Debug)]
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogPipe {
    /// A pipe of [`DEFAULT_CAPACITY`] to standard output.
    ///
    /// # Errors
    /// Standard output is closed, or the writer thread could not be started.
    pub fn stdout() -> io::Result<Self> {
        // Not `io::stdout()` itself: its line buffer would hide which lines a failed write lost.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::new(Box::new(file), DEFAULT_CAPACITY)
    }

    /// A pipe to `out` that holds at most `capacity` bytes.
    ///
    /// # Errors
    /// The writer thread could not be started.
    pub fn new(out: Box<dyn Write + Send>, capacity: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            empty: Condvar::new(),
            dropped: AtomicU64::new(0),
            capacity,
        });
        let writer = shared.clone();
        std::thread::Builder::new().name("log-writer".into()).spawn(move || run(&writer, out))?;
        Ok(Self { _alive: Arc::new(Alive(shared.clone())), shared })
    }

    /// Hands over one line, which ends in a line feed. Returns at once, whatever the reader does:
    /// a line for which there is no room is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        let length = state.waiting.len() + line.len();
        if length + state.writing > self.shared.capacity {
            drop(state);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if length > state.waiting.capacity() {
            // Doubling, but never past the cap.
            let room = length.next_power_of_two().clamp(length, self.shared.capacity.max(length));
            let more = room - state.waiting.len();
            state.waiting.reserve_exact(more);
        }
        state.waiting.extend_from_slice(line);
        let wake = match state.writer {
            Writer::Busy => false,
            Writer::Resting => length > self.shared.capacity / 4,
            Writer::Idle => true,
        };
        if wake {
            // Until the writer has run, further lines need not wake it again.
            state.writer = Writer::Busy;
        }
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Lines lost so far, because the reader stalled or the writing failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Bytes handed over and not written yet.
    pub fn pending(&self) -> usize {
        let state = self.shared.lock();
        state.waiting.len() + state.writing
    }

    /// Waits until every line handed over before is written, at most `timeout`. Blocks: for the
    /// way out of the process. Returns whether everything was written.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        state.flushes += 1;
        state.writer = Writer::Busy;
        self.shared.work.notify_one();
        let mut written = true;
        while !state.waiting.is_empty() || state.writing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                written = false;
                break;
            }
            state = self.shared.empty.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.flushes -= 1;
        written
    }
}

/// The writer thread: takes everything that waits, writes it, rests, and again.
fn run(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    let mut torn = false;
    let mut state = shared.lock();
    loop {
        while state.waiting.is_empty() {
            if state.closed {
                return;
            }
            state.writer = Writer::Idle;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Busy;
        std::mem::swap(&mut state.waiting, &mut batch);
        state.writing = batch.len();
        drop(state);

        let lost = write_lines(&mut *out, &batch, &mut torn, shared);
        shared.dropped.fetch_add(lost, Ordering::Relaxed);
        batch.clear();
        batch.shrink_to(IDLE_ROOM);

        state = shared.lock();
        state.writing = 0;
        shared.empty.notify_all();
        if state.flushes == 0 && !state.closed && state.waiting.len() <= shared.capacity / 4 {
            state.writer = Writer::Resting;
            state = shared.work.wait_timeout(state, REST).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Writes `batch` and returns how many of its lines did not make it whole.
///
/// `torn` remembers that the last write ended inside a line; the next one then begins on a new
/// line, so that only the torn line is unreadable.
fn write_lines(out: &mut dyn Write, batch: &[u8], torn: &mut bool, shared: &Shared) -> u64 {
    if *torn {
        match write_all(out, b"\n", shared) {
            Ok(()) => *torn = false,
            Err(_) => return lines(batch),
        }
    }
    match write_all(out, batch, shared) {
        Ok(()) => {
            let _ = out.flush();
            0
        }
        Err(rest) => {
            let written = batch.len() - rest.len();
            *torn = written > 0 && batch.get(written - 1) != Some(&b'\n');
            lines(rest)
        }
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// As `Write::write_all`, and on failure tells what was not written.
fn write_all<'a>(out: &mut dyn Write, mut rest: &'a [u8], shared: &Shared) -> Result<(), &'a [u8]> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(rest),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the terminal or pipe made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let state = shared.lock();
                if state.closed {
                    return Err(rest);
                }
                drop(shared.work.wait_timeout(state, REST));
            }
            Err(_) => return Err(rest),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "log_pipe_tests.rs"]
mod tests;
