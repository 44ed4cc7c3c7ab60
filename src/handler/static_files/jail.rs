//! The file system as the file server sees it: nothing outside the root, nothing but files.
//!
//! `ServeDir` asks twice, for what a path is and for the file, and a path can change in between.
//! So nothing is decided beforehand: each of the two resolves the path by itself, and the kernel
//! holds it below the root while it does (`openat2` with `RESOLVE_BENEATH`), symlinks included.
//! Who can write in the root can still put another *file* there between two questions, which is
//! what writing in the root is for; a way out of it he does not get, and what he can make us wait
//! for in an open is nothing: see [`regular`].
//!
//! What the kernel has in memory it is asked for on the spot (`RESOLVE_CACHED`), also that there is no such
//! name: to have another thread ask costs more than the answer. Only what may take a disk goes to the threads
//! that may block.
//!
//! For one request the root is entered once ([`Visit`]), and what has just been seen to be a file is not looked at
//! again before it is opened.

use std::ffi::OsStr;
use std::fs::File;
use std::future::{Future, ready};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
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

/// How a path is opened.
type Resolve<'a> = &'a dyn Fn(&Path, OFlags) -> io::Result<OwnedFd>;

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
    /// It cannot tell what it has in memory (`RESOLVE_CACHED`, since Linux 5.12).
    forgets: AtomicBool,
    logged: Mutex<Option<Instant>>,
}

impl Jail {
    /// Fails where `root` is no directory that can be entered.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let path = std::path::absolute(root.canonicalize().map(|_| root)?)?;
        let (by_foot, forgets) = (AtomicBool::new(false), AtomicBool::new(false));
        let jail = Self(Arc::new(Root { path, by_foot, forgets, logged: Mutex::new(None) }));
        jail.enter()?;
        Ok(jail)
    }

    fn enter(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(&self.0.path, NAME | OFlags::DIRECTORY, Mode::empty())?)
    }

    /// Whether the kernel can be asked for what it has in memory.
    pub(super) fn tells(&self) -> Result<(), Errno> {
        let cannot = self.0.by_foot.load(Ordering::Relaxed) || self.0.forgets.load(Ordering::Relaxed);
        if cannot { Err(Errno::AGAIN) } else { Ok(()) }
    }

    /// Enters the root, if the kernel can without waiting for a disk. It says so by EAGAIN where it cannot, or cannot
    /// tell.
    fn enter_cached(&self) -> Result<OwnedFd, Errno> {
        self.tells()?;
        let root = openat2(CWD, &self.0.path, NAME | OFlags::DIRECTORY, Mode::empty(), ResolveFlags::CACHED);
        // That there is none is for the way that may wait to find out, and for the operator to see.
        root.map_err(|error| self.again(error))
    }

    /// Opens what `path` leads to below `root`, likewise; or knows that nothing is there.
    fn resolve_cached(&self, root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.tells()?;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
        match openat2(root, path, flags, Mode::empty(), beneath) {
            Err(error) if error != Errno::NOENT => Err(self.again(error)),
            found => found,
        }
    }

    /// What else is wrong is found out, and told, by the way that may wait.
    fn again(&self, error: Errno) -> Errno {
        if matches!(error, Errno::INVAL | Errno::NOSYS | Errno::PERM) {
            self.0.forgets.store(true, Ordering::Relaxed);
        }
        Errno::AGAIN
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

    /// Fails where `path` leads to no file.
    pub(super) fn expect_file(&self, path: &Path) -> io::Result<()> {
        regular(path, false, &|path, flags| self.resolve(path, flags)).map(|_| ())
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

/// What a path is: a folder or a file, or nothing to us.
fn look(path: &Path, _: bool, how: Resolve<'_>) -> io::Result<Facts> {
    let facts = Facts::of(path, &File::from(how(path, NAME)?).metadata()?);
    if facts.directory || facts.regular { Ok(facts) } else { Err(Errno::NOENT.into()) }
}

/// Opens a regular file. Anything else is not even opened: opening a FIFO waits for a writer, and opening a device may
/// do anything. So it is looked at first, unless it was `seen` just now.
fn regular(path: &Path, seen: bool, how: Resolve<'_>) -> io::Result<Opened> {
    if !seen && !look(path, seen, how)?.regular {
        return Err(Errno::NOENT.into());
    }
    let file = File::from(how(path, READ)?);
    let facts = Facts::of(path, &file.metadata()?);
    if facts.regular { Ok(Opened::new(file, facts)) } else { Err(Errno::NOENT.into()) }
}

/// The jail for one request, which asks more than once.
#[derive(Clone, Debug)]
pub(super) struct Visit(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    jail: Jail,
    /// Where it was entered, on the spot.
    root: OnceLock<OwnedFd>,
    /// What was seen there last, and was a file.
    file: Mutex<Option<PathBuf>>,
    opened: Mutex<Option<Opened>>,
}

/// What is asked of a path that was, or was not, seen to be a file just now.
type Question<T> = fn(&Path, bool, Resolve<'_>) -> io::Result<T>;
/// What comes of it.
type Asking<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Visit {
    pub(super) fn of(jail: &Jail) -> Self {
        let (root, file, opened) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Self(Arc::new(Seen { jail: jail.clone(), root, file, opened }))
    }

    /// What was opened last.
    pub(super) fn opened(&self) -> Option<Opened> {
        lock(&self.0.opened).clone()
    }

    fn resolve_cached(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let jail = &self.0.jail;
        let root = match self.0.root.get() {
            Some(root) => root,
            None => {
                let root = jail.enter_cached()?;
                self.0.root.get_or_init(|| root)
            }
        };
        jail.resolve_cached(root, path, flags)
    }

    /// Asks the file system: here, if it knows the answer by heart, else where nobody waits but this request.
    fn ask<T: Send + 'static>(
        &self,
        path: PathBuf,
        question: Question<T>,
        answered: fn(&Self, &Path, &T),
    ) -> Asking<T> {
        let seen = lock(&self.0.file).as_ref().is_some_and(|file| *file == path);
        match question(&path, seen, &|path, flags| Ok(self.resolve_cached(path, flags)?)) {
            Ok(answer) => {
                answered(self, &path, &answer);
                return Box::pin(ready(Ok(answer)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Box::pin(ready(Err(error))),
            Err(_) => {}
        }
        let visit = self.clone();
        Box::pin(async move {
            let jail = visit.0.jail.clone();
            let ask = move || {
                let how = |path: &Path, flags| jail.resolve(path, flags);
                let found = question(&path, seen, &how);
                (jail.settle(&path, found), path)
            };
            let (answer, path) = tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)?;
            answer.inspect(|answer| answered(&visit, &path, answer))
        })
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for Visit {
    type File = Opened;
    type Metadata = Facts;
    type OpenFuture = Asking<Opened>;
    type MetadataFuture = Asking<Facts>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        self.ask(path, regular, |visit, _, opened| *lock(&visit.0.opened) = Some(opened.clone()))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        self.ask(path, look, |visit, path, facts| {
            *lock(&visit.0.file) = facts.regular.then(|| path.to_owned());
        })
    }
}
