//! The file system as the file server sees it: nothing outside the root, nothing but files.
//!
//! `ServeDir` asks twice, for what a path is and for the file, and a path can change in between.
//! So nothing is decided beforehand: each of the two resolves the path by itself, and the kernel
//! holds it below the root while it does (`openat2` with `RESOLVE_BENEATH`), symlinks included.
//! Who can write in the root can still put another *file* there between two questions, which is
//! what writing in the root is for; a way out of it he does not get, and what he can make us wait
//! for in an open is nothing: see [`Jail::regular`].

use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use tower_http::services::fs::Backend;

use super::opened::{Facts, Opened};
use crate::sandbox;

/// What only names a thing, without opening it.
const NAME: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// A FIFO that took a file's place since it was looked at must not block us, nor a terminal
/// become ours.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// One line of the log for all that fails in this time: a client can ask for it at will.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// A root and what is below it.
#[derive(Clone, Debug)]
pub(super) struct Jail(Arc<Root>);

#[derive(Debug)]
struct Root {
    /// Absolute, but not resolved: a root that is a symlink may be turned to the next release, or
    /// be made anew by a build, and is served from then on.
    path: PathBuf,
    /// This kernel (or its sandbox: gVisor, an old seccomp profile) has no `openat2`.
    by_foot: AtomicBool,
    logged: Mutex<Option<Instant>>,
}

impl Jail {
    /// Fails where `root` is no directory that can be entered.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let path = std::path::absolute(root.canonicalize().map(|_| root)?)?;
        let jail = Self(Arc::new(Root { path, by_foot: AtomicBool::new(false), logged: Mutex::new(None) }));
        jail.enter()?;
        Ok(jail)
    }

    fn enter(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(&self.0.path, NAME | OFlags::DIRECTORY, Mode::empty())?)
    }

    /// Opens what `path` leads to, below the root or not at all.
    pub(super) fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        // Without a root it is not this one file that is missing: that is for the operator to see.
        let root = self.enter().map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => error,
            _ => io::Error::other(format!("the root cannot be entered: {error}")),
        })?;
        if !self.0.by_foot.load(Ordering::Relaxed) {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            match openat2(&root, path, flags, Mode::empty(), beneath) {
                Ok(file) => return Ok(file),
                // A symlink that is absolute or passes above the root, and may come back into it.
                // Or a rename was under way, and the kernel could not tell.
                Err(Errno::XDEV | Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => self.0.by_foot.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        self.walk(root, path, flags)
    }

    /// Follows the symlinks first and then goes there by foot, where no further one is followed.
    fn walk(&self, root: OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let target = self.0.path.join(path).canonicalize()?;
        let below = target.strip_prefix(self.0.path.canonicalize()?).map_err(|_| Errno::NOENT)?;
        let mut steps: Vec<&OsStr> = below.components().map(Component::as_os_str).collect();
        let last = steps.pop().unwrap_or(OsStr::new("."));
        let mut folder = root;
        for step in steps {
            folder = openat(&folder, step, NAME | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(openat(&folder, last, flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    fn look(&self, path: &Path) -> io::Result<Facts> {
        let facts = Facts::of(path, &File::from(self.resolve(path, NAME)?).metadata()?);
        if facts.directory || facts.regular { Ok(facts) } else { Err(Errno::NOENT.into()) }
    }

    /// Opens a regular file. Anything else is not even opened: opening a FIFO waits for a writer,
    /// and opening a device may do anything.
    fn regular(&self, path: &Path) -> io::Result<Opened> {
        if !self.look(path)?.regular {
            return Err(Errno::NOENT.into());
        }
        let file = File::from(self.resolve(path, READ)?);
        let facts = Facts::of(path, &file.metadata()?);
        if facts.regular { Ok(Opened::new(file, facts)) } else { Err(Errno::NOENT.into()) }
    }

    /// Fails where `path` leads to no file.
    pub(super) fn expect_file(&self, path: &Path) -> io::Result<()> {
        self.regular(path).map(|_| ())
    }

    /// Whatever makes this path no file for us reads "not found", so that `ServeDir` tries the
    /// plain file after a variant it cannot have.
    pub(super) fn settle<T>(&self, path: &Path, result: io::Result<T>) -> io::Result<T> {
        let error = match result {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let (below, root) = (path.strip_prefix(".").unwrap_or(path).display(), self.0.path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                if self.log_is_due() {
                    let error = sandbox::explain(&self.0.path, &error);
                    tracing::warn!(path = %below, root = %root, error, "a file cannot be read");
                }
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {}
            _ if matches!(Errno::from_io_error(&error), Some(Errno::LOOP | Errno::XDEV | Errno::NXIO)) => {}
            _ => {
                if self.log_is_due() {
                    tracing::error!(path = %below, root = %root, %error, "a file could not be served");
                }
                return Err(error);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn log_is_due(&self) -> bool {
        let Ok(mut last) = self.0.logged.try_lock() else { return false };
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }

    /// Asks the file system where nobody waits but this request.
    fn ask<T: Send + 'static>(
        &self,
        path: PathBuf,
        question: fn(&Self, &Path) -> io::Result<T>,
    ) -> Pin<Box<dyn Future<Output = io::Result<T>> + Send>> {
        let jail = self.clone();
        Box::pin(async move {
            let ask = move || jail.settle(&path, question(&jail, &path));
            tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)?
        })
    }

    #[cfg(test)]
    pub(super) fn root(&self) -> &Path {
        &self.0.path
    }

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn go_by_foot(&self) {
        self.0.by_foot.store(true, Ordering::Relaxed);
    }
}

impl Backend for Jail {
    type File = Opened;
    type Metadata = Facts;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<Opened>> + Send>>;
    type MetadataFuture = Pin<Box<dyn Future<Output = io::Result<Facts>> + Send>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        self.ask(path, Self::regular)
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        self.ask(path, Self::look)
    }
}
