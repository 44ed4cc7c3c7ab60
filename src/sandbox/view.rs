//! What can still be read.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files and folders that were let in. Landlock knows them as what they are, not by their names:
/// a folder that is replaced by another of the same name is another.
#[derive(Debug, Default)]
pub(super) struct View(Vec<Shown>);

#[derive(Debug)]
struct Shown {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl View {
    /// Lets `path` in, which is this file or folder.
    pub(super) fn add(&mut self, path: &Path, metadata: &fs::Metadata) {
        self.0.push(Shown { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `path`, or a folder above it, was let in. To look at a file is no reading, and allowed.
    pub(super) fn shows(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        path.ancestors()
            .filter_map(|path| fs::metadata(path).ok())
            .any(|found| self.0.iter().any(|shown| (shown.device, shown.inode) == (found.dev(), found.ino())))
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.0.iter().map(|shown| shown.path.display().to_string()).collect();
        f.write_str(&paths.join(", "))
    }
}
