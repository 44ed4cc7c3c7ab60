//! Parts of files: read without waiting for a disk, or sent by the system without being read.

use std::fs::File;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};
use rustix::param::page_size;
use tokio::task::JoinHandle;

/// The most that is read, or sent, at a time.
pub(crate) const PIECE: usize = 64 * 1024;

/// How long it is believed that the kernel still has what it was seen to have.
const MOMENT: Duration = Duration::from_secs(1);
/// Places for what was seen: 32 KiB, good for 256 MiB of files that are asked for again and again.
const PLACES: usize = 4096;

/// What stands for bytes that nobody has read. It is known by its place in memory, and never touched.
static STAND_IN: LazyLock<&'static [u8]> = LazyLock::new(|| vec![0; PIECE].leak());

/// A part of a file, beside the body that reads it (among the extensions of an answer), for a connection that
/// can have the system send it (`sendfile`).
///
/// Once it is [taken](Self::take), the body gives pieces that stand in for those of the file: they are counted,
/// bounded and timed on their way as the bytes would be, and the connection sends the file in their place.
/// What makes another body of the body also makes it one of another size, or of none: a connection takes
/// only what the answer is to the last byte.
#[derive(Debug)]
pub(crate) struct FilePart {
    /// The file.
    pub(crate) file: Arc<File>,
    /// Where the part begins.
    pub(crate) at: u64,
    /// Its bytes.
    pub(crate) size: u64,
    id: FileId,
    taken: AtomicBool,
}

/// Which file it is, of all that are there: device and inode.
pub(crate) type FileId = (u64, u64);

impl FilePart {
    /// The part of `file`, which is the one with this `id`, that begins `at`.
    pub(crate) fn new(file: Arc<File>, id: FileId, at: u64, size: u64) -> Self {
        Self { file, at, size, id, taken: AtomicBool::new(false) }
    }

    /// From now on the body gives stand-ins. To be called before it has given anything.
    pub(crate) fn take(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }

    /// From now on the body gives bytes again: the system cannot send this file.
    pub(crate) fn give_back(&self) {
        self.taken.store(false, Ordering::Relaxed);
    }

    /// Whether it is to give stand-ins.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// A stand-in for as many bytes, or for as many as one can be for.
    pub(crate) fn stand_in(size: usize) -> Bytes {
        Bytes::from_static(STAND_IN.get(..size).unwrap_or(&STAND_IN))
    }

    /// Whether the kernel was seen in this moment to have these bytes in memory.
    pub(crate) fn was_seen(&self, at: u64, size: usize, moment: Moment) -> bool {
        let (place, mark) = SEEN.mark(self.id, at, size, moment);
        place.load(Ordering::Relaxed) == mark
    }

    /// It was.
    pub(crate) fn note_seen(&self, at: u64, size: usize, moment: Moment) {
        let (place, mark) = SEEN.mark(self.id, at, size, moment);
        place.store(mark, Ordering::Relaxed);
    }

    /// Whether this is one.
    pub(crate) fn is_stand_in(bytes: &Bytes) -> bool {
        !bytes.is_empty() && STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
    }
}

/// About a second. A file that was read or sent within it is not what the kernel would make room with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        Self(SEEN.began.elapsed().as_secs() / MOMENT.as_secs())
    }

    /// The next one.
    #[cfg(test)]
    pub(crate) fn after(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What was seen to be in memory, in which moment: to ask for each page costs as much as to send it.
struct Seen {
    began: Instant,
    /// Nobody can choose what falls onto the place of something else, or is taken for it.
    keys: RandomState,
    places: [AtomicU64; PLACES],
}

static SEEN: LazyLock<Seen> = LazyLock::new(|| Seen {
    began: Instant::now(),
    keys: RandomState::new(),
    places: [const { AtomicU64::new(0) }; PLACES],
});

impl Seen {
    fn mark(&self, id: FileId, at: u64, size: usize, moment: Moment) -> (&AtomicU64, u64) {
        let mark = self.keys.hash_one((id, at, size, moment));
        let [first, ..] = &self.places;
        let place = usize::try_from(mark % PLACES as u64).ok().and_then(|place| self.places.get(place));
        (place.unwrap_or(first), mark)
    }
}

/// Reads a file. What the kernel has in memory is read on the spot (`RWF_NOWAIT`); where it would have to wait for a
/// disk, a thread that may does.
#[derive(Debug)]
pub(crate) struct FileReader {
    file: Arc<File>,
    /// What a thread reads meanwhile.
    elsewhere: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl FileReader {
    /// A reader that has not begun.
    pub(crate) fn new(file: Arc<File>) -> Self {
        Self { file, elsewhere: None }
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Reads up to `size` bytes; none at the end of the file. Asked again after it was pending, it asks for the
    /// same.
    pub(crate) fn poll_read(
        &mut self,
        at: u64,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if !self.waits() {
            let mut read = vec![0; size];
            // What is wrong is found out by the thread.
            if let Ok(size) =
                preadv2(&*self.file, &mut [IoSliceMut::new(&mut read)], at, ReadWriteFlags::NOWAIT)
            {
                read.truncate(size);
                return Poll::Ready(Ok(read.into()));
            }
        }
        self.poll_read_elsewhere(at, size, cx)
    }

    /// The same, by a thread.
    pub(crate) fn poll_read_elsewhere(
        &mut self,
        at: u64,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let file = &self.file;
        let elsewhere = self.elsewhere.get_or_insert_with(|| {
            let file = file.clone();
            tokio::task::spawn_blocking(move || read_waiting(&file, at, size))
        });
        let read = ready!(Pin::new(elsewhere).poll(cx)).map_err(io::Error::other);
        self.elsewhere = None;
        Poll::Ready(read?.map(Bytes::from))
    }

    /// Whether a thread is reading.
    pub(crate) fn waits(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Whether the kernel has all of this in memory, as far as the file goes. Each page is asked for: who asks
    /// for odd parts of a file can have it hold any of them.
    pub(crate) fn is_in_memory(&self, at: u64, size: usize) -> bool {
        let page = page_size() as u64;
        let end = at.saturating_add(size as u64);
        let mut next = at;
        while next < end {
            let mut byte = [0];
            match preadv2(&*self.file, &mut [IoSliceMut::new(&mut byte)], next, ReadWriteFlags::NOWAIT) {
                Ok(1) => {}
                // It ends before.
                Ok(_) => return true,
                Err(_) => return false,
            }
            next = (next / page + 1) * page;
        }
        true
    }
}

fn read_waiting(file: &File, at: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut read = vec![0; size];
    let size = loop {
        match file.read_at(&mut read, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            size => break size?,
        }
    };
    read.truncate(size);
    Ok(read)
}
