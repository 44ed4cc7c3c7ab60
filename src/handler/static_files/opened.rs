//! An open file and what is known of it.

use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs::{File, Metadata};

/// What `ServeDir` makes the fields of the answer of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) directory: bool,
    pub(super) regular: bool,
    modified: Option<SystemTime>,
    size: u64,
}

impl Facts {
    pub(super) fn of(path: &Path, metadata: &std::fs::Metadata) -> Self {
        Self {
            directory: metadata.is_dir(),
            regular: metadata.is_file(),
            modified: metadata.modified().ok().map(|time| told_apart(path, time)),
            size: metadata.len(),
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

impl Metadata for Facts {
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

/// A regular file below the root. Its reads go to the threads that may block.
#[derive(Debug)]
pub(super) struct Opened {
    file: tokio::fs::File,
    facts: Facts,
}

impl Opened {
    pub(super) fn new(file: std::fs::File, facts: Facts) -> Self {
        Self { file: file.into(), facts }
    }
}

impl File for Opened {
    type Metadata = Facts;
    type MetadataFuture<'a> = Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.facts))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(cx)
    }
}
