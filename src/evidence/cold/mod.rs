//! Cold storage: batches of entries, compressed, in a folder or a bucket. Whatever happens there is counted and
//! tried again, and touches no request.

use std::fmt;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::shown;
use crate::dial::Dialer;
use crate::telemetry::timestamp;
use crate::tls::TlsError;

mod bucket;
mod folder;

pub use bucket::{Bucket, Endpoint, Keys};
pub use folder::Folder;

/// How long one batch may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where batches go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(Folder),
    /// A bucket of an object store.
    Bucket(Bucket),
}

/// Writes batches.
#[derive(Debug)]
pub struct Cold {
    target: Target,
    /// The machine or pod, and the process: several may write to one place.
    writer: String,
    number: u64,
}

#[derive(Debug)]
enum Target {
    Folder(Arc<folder::Writer>),
    Bucket(bucket::Writer),
}

impl Cold {
    /// Writes to `place`, by connections of `dialer`.
    ///
    /// # Errors
    /// What TLS needs cannot be read, or the settings are no bucket's.
    pub fn new(place: &Place, dialer: Dialer) -> Result<Self, PlaceError> {
        let target = match place {
            Place::Folder(folder) => Target::Folder(Arc::new(folder::Writer::new(folder.clone()))),
            Place::Bucket(bucket) => Target::Bucket(bucket::Writer::new(bucket, dialer)?),
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host: String =
            host.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let host = host.get(..63).unwrap_or(&host);
        let host = if host.is_empty() { "host" } else { host };
        Ok(Self { target, writer: format!("{host}-{}", std::process::id()), number: 0 })
    }

    /// Writes a batch of entries. What fails may have been written nevertheless.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) async fn put(&mut self, entries: Vec<Arc<Entry>>) -> Result<(), String> {
        self.number += 1;
        let name =
            format!("evidence-{}-{}-{:06}.ndjson.gz", moment(SystemTime::now()), self.writer, self.number);
        let work = async {
            let batch = in_thread(move || pack(&entries)).await.map_err(|error| error.to_string())?;
            match &self.target {
                Target::Folder(folder) => {
                    let folder = folder.clone();
                    let path = folder.path().display().to_string();
                    let put = in_thread(move || folder.put(&name, &batch)).await;
                    put.map_err(|error| format!("{path}: {error}"))
                }
                Target::Bucket(bucket) => bucket.put(&name, batch).await,
            }
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(())) => Ok(()),
            // A server of others may have had its say in it.
            Ok(Err(error)) => Err(shown::text(error.get(..300).unwrap_or(&error).as_bytes())),
            Err(_) => Err(format!("not within {} s", PATIENCE.as_secs())),
        }
    }
}

/// Does what may block in a thread of its own: one that never comes back holds up neither the runtime's nor its
/// end.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("evidence".into()).spawn(move || {
        let _ = tell.send(work());
    })?;
    told.await.map_err(|_| io::Error::other("the thread that was to do it panicked"))?
}

/// One entry a line, compressed.
fn pack(entries: &[Arc<Entry>]) -> io::Result<Bytes> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    for entry in entries {
        serde_json::to_writer(&mut packed, &entry.whole(true))?;
        packed.write_all(b"\n")?;
    }
    Ok(packed.finish()?.into())
}

/// A time that sorts as text and may stand in any file's name: `20261130T192223.123Z`.
fn moment(at: SystemTime) -> String {
    let mut text = Vec::new();
    timestamp(&mut text, at);
    text.retain(|byte| !matches!(byte, b'-' | b':'));
    String::from_utf8(text).unwrap_or_default()
}

/// Why nothing can be written to a place, at the start.
#[derive(Debug)]
pub enum PlaceError {
    /// What TLS needs.
    Tls(TlsError),
    /// What the object store's client says of the settings.
    Bucket(String),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "evidence.s3_ca: {error}"),
            Self::Bucket(problem) => write!(f, "evidence.storage: {problem}"),
        }
    }
}

impl std::error::Error for PlaceError {}

/// What `evidence.storage` says: a folder, `file:///folder`, or `s3://bucket/prefix`.
///
/// # Errors
/// What is wrong with it, in words that follow it.
pub fn location(text: &str) -> Result<Location, String> {
    if let Some(rest) = text.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        return Ok(Location::Bucket(bucket::name(bucket)?, bucket::prefix(prefix)?));
    }
    let path = text.strip_prefix("file://").unwrap_or(text);
    match path {
        "" => Err("names no folder".to_owned()),
        path if path.contains("://") || path.starts_with("s3:") || path.starts_with("file:") => {
            Err("is neither a folder nor s3://bucket/prefix".to_owned())
        }
        path => Ok(Location::Folder(path.into())),
    }
}

/// See [`location`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// A bucket, and what its keys begin with.
    Bucket(String, String),
}

pub use bucket::{endpoint, name as bucket_name, prefix as bucket_prefix, region as bucket_region};

#[cfg(test)]
#[path = "../cold_tests.rs"]
mod tests;
