//! A folder that is bounded, and holds whole files alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The folder, and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// Bytes of all batches together.
    pub max_bytes: u64,
}

/// A file that was begun this long ago and is not whole was left by a process that ended.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Writer {
    folder: Folder,
    /// A batch is being written. A folder that does not answer, as one of a network may, holds one thread.
    busy: AtomicBool,
}

/// Gives the folder free.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Writer {
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder, busy: AtomicBool::new(false) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Writes a file of this name, all of it or nothing.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.busy.swap(true, Ordering::Acquire) {
            return Err(io::Error::other("the folder has not answered yet"));
        }
        let _busy = Busy(&self.busy);
        let path = &self.folder.path;
        if !path.is_dir() {
            if path.exists() {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder"));
            }
            fs::create_dir_all(path)?;
        }
        self.make_room(bytes.len() as u64)?;
        let begun = path.join(format!(".{name}.tmp"));
        let written = write(&begun, bytes).and_then(|()| fs::rename(&begun, path.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&begun);
        }
        written
    }

    /// Removes the oldest batches until there is room for `more` bytes.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut batches = Vec::new();
        for entry in fs::read_dir(&self.folder.path)? {
            let entry = entry?;
            let name = entry.file_name();
            // Whatever else lies there is not ours to count or remove.
            let Some(name) = name.to_str() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            if is_batch(name) && metadata.is_file() {
                batches.push((name.to_owned(), metadata.len()));
            } else if is_begun(name)
                && metadata
                    .modified()
                    .ok()
                    .and_then(|at| at.elapsed().ok())
                    .is_some_and(|age| age > LEFT_BEHIND)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        // Names begin with the time.
        batches.sort_unstable();
        let mut held: u64 = batches.iter().map(|(_, size)| size).sum();
        for (name, size) in batches {
            if held.saturating_add(more) <= self.folder.max_bytes {
                break;
            }
            match fs::remove_file(self.folder.path.join(name)) {
                Ok(()) => held = held.saturating_sub(size),
                // Another process that writes here was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => held = held.saturating_sub(size),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_batch(name: &str) -> bool {
    name.starts_with("evidence-") && name.ends_with(".ndjson.gz")
}

fn is_begun(name: &str) -> bool {
    name.starts_with(".evidence-") && name.ends_with(".ndjson.gz.tmp")
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // SECURITY: nobody else reads it, and a link that waits there is not followed.
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // What is renamed without may be empty after a loss of power.
    file.sync_data()
}
