//! An open file and what is known of it.

use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs;

use crate::body::file::FileId;

/// What `ServeDir` makes the fields of the answer of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) directory: bool,
    pub(super) regular: bool,
    modified: Option<SystemTime>,
    size: u64,
    id: FileId,
}

impl Facts {
    pub(super) fn of(path: &Path, metadata: &std::fs::Metadata) -> Self {
        Self {
            directory: metadata.is_dir(),
            regular: metadata.is_file(),
            modified: metadata.modified().ok().map(|time| told_apart(path, time)),
            size: metadata.len(),
            id: (metadata.dev(), metadata.ino()),
        }
    }
}

/// `ServeDir` makes the ETag of size and time, to the nanosecond. Builds that set every time to
/// the same second would give a small file and its compressed variants the same tag wherever they
/// are of one size, so a few nanoseconds tell them apart. `Last-Modified` counts seconds, and
/// these stay.
fn told_apart(path: &Path, time: SystemTime) -> SystemTime {
    let nudge = match path.extension().and_then(|extension| extension.to_str()) {
        Some("br") => 1,
        Some("gz") => 2,
        Some("zst") => 3,
        _ => return time,
    };
    let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else { return time };
    let nanoseconds = (since.subsec_nanos() + nudge) % 1_000_000_000;
    SystemTime::UNIX_EPOCH + Duration::new(since.as_secs(), nanoseconds)
}

impl fs::Metadata for Facts {
    fn is_dir(&self) -> bool {
        self.directory
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.size
    }
}

/// A regular file below the root. Clones share the place that `ServeDir` wants to begin at; it does not read itself:
/// see [`Content`](super::content::Content).
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) file: Arc<File>,
    facts: Facts,
    position: Arc<AtomicU64>,
}

impl Opened {
    pub(super) fn new(file: File, facts: Facts) -> Self {
        Self { file: Arc::new(file), facts, position: Arc::default() }
    }

    pub(super) fn id(&self) -> FileId {
        self.facts.id
    }

    /// Where to begin.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }
}

impl fs::File for Opened {
    type Metadata = Facts;
    type MetadataFuture<'a> = Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.facts))
    }
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl AsyncSeek for Opened {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let (from, by) = match position {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(by) => (self.position(), by),
            SeekFrom::End(by) => (self.facts.size, by),
        };
        let position = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        self.position.store(position, Ordering::Relaxed);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position()))
    }
}
