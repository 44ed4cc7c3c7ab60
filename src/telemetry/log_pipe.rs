//! A bounded, non-blocking way from the threads that log to the reader of the log.
//!
//! Standard output is a pipe, and its reader can stall. A producer here never waits for it: a
//! line that finds no room is dropped whole and counted. Lines are never split or interleaved. Once
//! the reader is back, a line of the pipe's own tells how many are missing.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait for the reader, those being written included.
pub const DEFAULT_CAPACITY: usize = 1024 * 1024;

/// The writer rests this long between batches, so that a busy server wakes it some dozen times a second
/// and not once per line. A line waits for no longer, unless its reader does not take it.
const REST: Duration = Duration::from_millis(20);

/// When a reader that takes nothing at once is asked again.
const RETRY: Duration = Duration::from_millis(5);

/// At most one line in this time says how many were lost: a reader that is merely slow loses some
/// all the time.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// At most one line in this time says on standard error that the log cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

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
    notice: OnceLock<Notice>,
    /// Why the log cannot be written is said on standard error: it is that of the process.
    complains: bool,
}

/// The line that says how many lines were lost.
pub type Notice = fn(u64) -> Vec<u8>;

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the writer has taken and not written yet.
    writing: usize,
    writer: Activity,
    flushes: usize,
    closed: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Activity {
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
        Self::open(Box::new(file), DEFAULT_CAPACITY, true)
    }

    /// A pipe to `out` that holds at most `capacity` bytes.
    ///
    /// # Errors
    /// The writer thread could not be started.
    pub fn new(out: Box<dyn Write + Send>, capacity: usize) -> io::Result<Self> {
        Self::open(out, capacity, false)
    }

    fn open(out: Box<dyn Write + Send>, capacity: usize, complains: bool) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            empty: Condvar::new(),
            dropped: AtomicU64::new(0),
            capacity,
            notice: OnceLock::new(),
            complains,
        });
        let writer = Writer::new(shared.clone(), out);
        std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run())?;
        Ok(Self { _alive: Arc::new(Alive(shared.clone())), shared })
    }

    /// Tells the reader how many lines were lost, from now on, once it takes lines again.
    pub fn tell_losses(&self, notice: Notice) {
        let _ = self.shared.notice.set(notice);
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
            Activity::Busy => false,
            Activity::Resting => length > self.shared.capacity / 4,
            Activity::Idle => true,
        };
        if wake {
            // Until the writer has run, further lines need not wake it again.
            state.writer = Activity::Busy;
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
        state.writer = Activity::Busy;
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

/// The other end: the thread that takes everything that waits, writes it, rests, and again.
struct Writer {
    shared: Arc<Shared>,
    out: Box<dyn Write + Send>,
    /// The last write ended inside a line. The next one then begins on a new line, so that only the
    /// torn line is unreadable.
    torn: bool,
    /// Lost lines that the reader knows of, and when it was told.
    told: u64,
    told_at: Option<Instant>,
    complained_at: Option<Instant>,
}

impl Writer {
    fn new(shared: Arc<Shared>, out: Box<dyn Write + Send>) -> Self {
        Self { shared, out, torn: false, told: 0, told_at: None, complained_at: None }
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        let mut batch = Vec::new();
        let mut state = shared.lock();
        loop {
            while state.waiting.is_empty() {
                if state.closed {
                    return;
                }
                state.writer = Activity::Idle;
                // What a burst took would else be held by both for as long as nobody logs.
                batch.shrink_to(IDLE_ROOM);
                state.waiting.shrink_to(IDLE_ROOM);
                state = match self.losses() {
                    None => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(_) => {
                        // Nobody may log anything for hours.
                        let waited = shared.work.wait_timeout(state, TELL_EVERY);
                        drop(waited.unwrap_or_else(PoisonError::into_inner).0);
                        self.tell_losses();
                        shared.lock()
                    }
                };
            }
            state.writer = Activity::Busy;
            std::mem::swap(&mut state.waiting, &mut batch);
            state.writing = batch.len();
            drop(state);

            let lost = self.write_lines(&batch);
            shared.dropped.fetch_add(lost, Ordering::Relaxed);
            // While it is needed it is kept: to grow anew with each batch is to copy each batch again.
            if batch.len() < batch.capacity() / 4 {
                batch.shrink_to(batch.len().max(IDLE_ROOM));
            }
            batch.clear();
            if lost == 0 {
                self.tell_losses();
            }

            state = shared.lock();
            state.writing = 0;
            shared.empty.notify_all();
            if state.flushes == 0 && !state.closed && state.waiting.len() <= shared.capacity / 4 {
                state.writer = Activity::Resting;
                state = shared.work.wait_timeout(state, REST).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Lost lines that the reader has not been told of, and the line that would tell it.
    fn losses(&self) -> Option<(u64, Notice)> {
        let lost = self.shared.dropped.load(Ordering::Relaxed) - self.told;
        self.shared.notice.get().filter(|_| lost > 0).map(|notice| (lost, *notice))
    }

    /// Tells the reader of them, if it has not been told just now and takes the line.
    fn tell_losses(&mut self) {
        let now = Instant::now();
        let rests = self.told_at.is_some_and(|told| now.duration_since(told) < TELL_EVERY);
        if let Some((lost, notice)) = self.losses().filter(|_| !rests)
            && self.write_lines(&notice(lost)) == 0
        {
            self.told += lost;
            self.told_at = Some(now);
        }
    }

    /// Writes `batch` and returns how many of its lines did not make it whole.
    fn write_lines(&mut self, batch: &[u8]) -> u64 {
        if self.torn {
            match write_all(&mut *self.out, b"\n", &self.shared) {
                Ok(()) => self.torn = false,
                Err((_, error)) => {
                    self.complain(&error);
                    return lines(batch);
                }
            }
        }
        match write_all(&mut *self.out, batch, &self.shared) {
            Ok(()) => {
                let _ = self.out.flush();
                0
            }
            Err((rest, error)) => {
                let written = batch.len() - rest.len();
                self.torn = written > 0 && batch.get(written - 1) != Some(&b'\n');
                self.complain(&error);
                lines(rest)
            }
        }
    }

    /// The log is lost; what is left to say so is standard error.
    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        let rests = self.complained_at.is_some_and(|at| now.duration_since(at) < COMPLAIN_EVERY);
        if self.shared.complains && !rests {
            self.complained_at = Some(now);
            let lost = "lines are dropped, see nessen_log_lines_dropped_total";
            let _ = writeln!(io::stderr(), "nessen: the log cannot be written ({error}): {lost}");
        }
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// As `Write::write_all`, and on failure tells what was not written, and why.
fn write_all<'a>(
    out: &mut dyn Write,
    mut rest: &'a [u8],
    shared: &Shared,
) -> Result<(), (&'a [u8], io::Error)> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err((rest, ErrorKind::WriteZero.into())),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the terminal or pipe made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let state = shared.lock();
                if state.closed {
                    return Err((rest, error));
                }
                drop(shared.work.wait_timeout(state, RETRY));
            }
            Err(error) => return Err((rest, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "log_pipe_tests.rs"]
mod tests;
