//! A configuration whose files are replaced while it is in use: by whoever renews certificates, or by
//! Kubernetes, which puts another folder behind a symlink.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use ring::digest::{Context, SHA256};
use rustls::ClientConfig;

use super::client::{ClientOptions, offering};
use super::{TlsError, pem};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What the files held at one time.
#[derive(Debug)]
pub struct Current {
    /// For connections that speak HTTP/1.1.
    pub http1: Arc<ClientConfig>,
    /// For connections that speak HTTP/2.
    pub http2: Arc<ClientConfig>,
    /// Unlike that of every other.
    pub generation: u64,
    digest: [u8; 32],
}

/// A configuration of connections, as its files have it now.
#[derive(Debug)]
pub struct Live {
    options: ClientOptions,
    current: ArcSwap<Current>,
    /// What the files looked like when they were last read.
    seen: Mutex<Vec<Option<Stamp>>>,
    /// They were no good at the last look.
    refused: AtomicBool,
}

/// What tells a file from the one before it without reading it.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let changed = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((found.dev(), found.ino(), found.size(), changed.0, changed.1))
}

impl Live {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One of them cannot be read, or is not what it should be.
    pub fn new(options: ClientOptions) -> Result<Arc<Self>, TlsError> {
        let seen = Mutex::new(options.files().map(|path| stamp(path)).collect());
        let current = ArcSwap::from_pointee(read(&options, digest(&options)?)?);
        Ok(Arc::new(Self { options, current, seen, refused: AtomicBool::new(false) }))
    }

    /// What it is made of.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// What holds for new connections.
    pub fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// Reads the files again; nothing where they hold what they held.
    ///
    /// # Errors
    /// One of them cannot be read, or is not what it should be. What was read before stays.
    pub fn read(&self) -> Result<Option<Arc<Current>>, TlsError> {
        let digest = digest(&self.options)?;
        if digest == self.current().digest {
            return Ok(None);
        }
        read(&self.options, digest).map(|fresh| Some(Arc::new(fresh)))
    }

    /// New connections use what was read.
    pub fn put(&self, fresh: Arc<Current>) {
        self.current.store(fresh);
    }

    /// Looks at the files from now on, and reads them where they have changed. Must be called within a
    /// Tokio runtime.
    pub fn watch(self: &Arc<Self>) {
        if self.options.files().next().is_some() {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Reads the files if they look different.
    fn look(&self) {
        let now: Vec<_> = self.options.files().map(|path| stamp(path)).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        drop(seen);
        let read = self.read();
        let was_refused = self.refused.swap(read.is_err(), Ordering::Relaxed);
        match read {
            Ok(None) if was_refused => {
                tracing::info!(files = %self.names(), "certificates for upstreams are good again: the ones in use");
            }
            Ok(None) => {}
            Ok(Some(fresh)) => {
                self.put(fresh);
                tracing::info!(files = %self.names(), "certificates for upstreams were read again");
            }
            Err(error) => tracing::error!(
                %error,
                "certificates for upstreams have changed and are not taken; the old ones are kept"
            ),
        }
    }

    fn names(&self) -> String {
        self.options.files().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

async fn watch(live: Weak<Live>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(live) = live.upgrade() else { return };
        // A worker must not wait for a disk.
        let _ = tokio::task::spawn_blocking(move || live.look()).await;
    }
}

/// A digest of all that the files hold.
fn digest(options: &ClientOptions) -> Result<[u8; 32], TlsError> {
    let mut context = Context::new(&SHA256);
    for path in options.files() {
        let bytes = pem::read(path)?;
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(&bytes);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

fn generation() -> u64 {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1);
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
impl Current {
    /// The same, read once more.
    pub(crate) fn again(&self) -> Self {
        let (http1, http2, digest) = (self.http1.clone(), self.http2.clone(), self.digest);
        Self { http1, http2, generation: generation(), digest }
    }
}

/// The digest is that of before: a file that is replaced in between is then read once more.
fn read(options: &ClientOptions, digest: [u8; 32]) -> Result<Current, TlsError> {
    let base = options.base()?;
    Ok(Current {
        http1: offering(&base, &[b"http/1.1"]),
        http2: offering(&base, &[b"h2"]),
        generation: generation(),
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_as_they_are_now_and_the_old_kept_where_they_are_bad() {
        let pem = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let file = std::env::temp_dir().join(format!("nessen-live-{}.pem", std::process::id()));
        fs::write(&file, pem("a.test")).unwrap();
        let live = Live::new(ClientOptions { ca: Some(file.clone()), identity: None }).unwrap();
        let first = live.current().generation;
        live.look();
        assert!(live.read().unwrap().is_none() && live.current().generation == first);
        // Written anew and the same is no change.
        fs::write(&file, fs::read(&file).unwrap()).unwrap();
        live.look();
        assert_eq!(live.current().generation, first);
        fs::write(&file, "nothing").unwrap();
        live.look();
        assert!(
            live.read()
                .unwrap_err()
                .to_string()
                .ends_with("holds no certificate: PEM is expected, with BEGIN CERTIFICATE")
        );
        assert_eq!(live.current().generation, first);
        fs::write(&file, pem("b.test")).unwrap();
        live.look();
        assert_ne!(live.current().generation, first);
        fs::remove_file(&file).unwrap();
    }
}
