//! What is kept of refusals.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::evidence::Eviction;
use crate::evidence::cold::{self, Bucket, Folder, Keys, Location, Place};

/// Evidence of what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceConfig {
    /// Master switch.
    pub enabled: bool,
    /// Entries kept.
    pub max_count: usize,
    /// Bytes that they may take.
    pub max_bytes: u64,
    /// Which makes room for another.
    pub eviction: Eviction,
    /// First bytes of a body that are hashed, and shown where they can be.
    pub body_bytes: usize,
    /// Where entries are written on to, as it is written.
    pub storage: Option<String>,
    /// Bytes of batches in a folder.
    pub storage_max_bytes: u64,
    /// How often what is new is written.
    pub flush_interval: Duration,
    /// A bucket, where `storage` does not name one.
    pub s3_bucket: Option<String>,
    /// What keys in it begin with.
    pub s3_prefix: Option<String>,
    /// The bucket's region.
    pub s3_region: String,
    /// The server that has it; `None`: AWS.
    pub s3_endpoint: Option<String>,
    /// CAs in place of the public ones.
    pub s3_ca: Option<PathBuf>,
    /// Whose key requests are signed with.
    pub s3_access_key_id: Option<Hidden>,
    /// The key.
    pub s3_secret_access_key: Option<Hidden>,
    /// What goes with one that is good for a while only.
    pub s3_session_token: Option<Hidden>,
    /// Internal faults within `panic_window` that switch it off.
    pub panic_threshold: usize,
    /// See there.
    pub panic_window: Duration,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl EvidenceConfig {
    /// Where entries are written on to, if they are kept at all.
    ///
    /// # Errors
    /// What does not fit together, in words, and the keys that say it.
    pub fn place(&self) -> Result<Option<Place>, (String, &'static [&'static str])> {
        if !self.enabled {
            return Ok(None);
        }
        let located = match (&self.storage, &self.s3_bucket) {
            (None, None) => return Ok(None),
            (None, Some(bucket)) => {
                Location::Bucket(bucket.clone(), self.s3_prefix.clone().unwrap_or_default())
            }
            (Some(_), Some(_)) => {
                let problem = "both say where evidence is written to".to_owned();
                return Err((problem, &["evidence.storage", "evidence.s3_bucket"]));
            }
            (Some(storage), None) => {
                cold::location(storage).map_err(|problem| (problem, &["evidence.storage"][..]))?
            }
        };
        let (name, prefix) = match located {
            Location::Folder(path) => {
                return Ok(Some(Place::Folder(Folder { path, max_bytes: self.storage_max_bytes })));
            }
            Location::Bucket(name, prefix) => (name, prefix),
        };
        let endpoint = self.s3_endpoint.as_deref().map(cold::endpoint).transpose();
        let endpoint = endpoint.map_err(|problem| (problem, &["evidence.s3_endpoint"][..]))?;
        let (Some(id), Some(secret)) = (&self.s3_access_key_id, &self.s3_secret_access_key) else {
            let problem = "a bucket needs both parts of a key".to_owned();
            return Err((problem, &["evidence.s3_access_key_id", "evidence.s3_secret_access_key"]));
        };
        Ok(Some(Place::Bucket(Bucket {
            name,
            prefix,
            endpoint,
            region: self.s3_region.clone(),
            ca: self.s3_ca.clone(),
            keys: Keys {
                id: id.0.clone(),
                secret: secret.0.clone(),
                session: self.s3_session_token.clone().map(|token| token.0),
            },
        })))
    }
}
