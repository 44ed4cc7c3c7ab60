//! The system's files, read again when they have changed: Docker rewrites the hosts of a container
//! when it joins a network, and a laptop's servers change with the place.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::names::Names;
use crate::sandbox;

/// Name servers and search domains.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Names of its own.
pub(super) const HOSTS: &str = "/etc/hosts";

/// The last reading, and what the files looked like then.
#[derive(Default)]
pub(super) struct Files {
    read: Option<(Stamp, Arc<Names>)>,
    texts: [Vec<u8>; 2],
}

type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp() -> Stamp {
    [RESOLV_CONF, HOSTS].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// Reads the file at `path` into `text`, which stays as it was where there is a file that cannot be read:
/// old name servers are better than none. That comes of files that are replaced while a sandbox knows
/// only those that were there when it began.
fn read(path: &str, text: &mut Vec<u8>) {
    match fs::read(path) {
        Ok(new) => *text = new,
        Err(error) if error.kind() == io::ErrorKind::NotFound => text.clear(),
        Err(error) => {
            let error = sandbox::explain(Path::new(path), &error);
            tracing::warn!(path, error, "cannot be read; what it said before holds");
        }
    }
}

/// What the files say now. They are small and local, and looked at about once a second at most: that is not
/// worth a thread.
pub(super) fn current(files: &Mutex<Files>) -> Arc<Names> {
    let stamp = stamp();
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    match &files.read {
        Some((read, names)) if *read == stamp => names.clone(),
        _ => {
            let Files { texts: [resolv_conf, hosts], .. } = &mut *files;
            read(RESOLV_CONF, resolv_conf);
            read(HOSTS, hosts);
            let names = Arc::new(Names::parse(resolv_conf, hosts));
            files.read = Some((stamp, names.clone()));
            names
        }
    }
}
