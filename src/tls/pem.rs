//! PEM files (RFC 7468).

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use crate::sandbox;

/// Bytes of a file of certificates or keys at most: a bundle of all public CAs has a quarter of a megabyte.
const LARGEST: u64 = 1 << 20;

/// The certificates of a file, in their order.
///
/// # Errors
/// The file cannot be read, or is none of certificates.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates_of(path, &read(path)?)
}

/// Likewise, of what was read of it.
pub(super) fn certificates_of(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(error(path, "holds no certificate: PEM is expected, with BEGIN CERTIFICATE"))
        }
        Ok(found) => Ok(found),
        Err(problem) => Err(error(path, format!("is not PEM: {problem}"))),
    }
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// The file cannot be read, or holds no key that is not encrypted.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    key_of(path, &read(path)?)
}

/// Likewise, of what was read of it.
pub(super) fn key_of(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(error(
            path,
            "holds an encrypted key: take the passphrase off, and keep the file from others",
        ));
    }
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| error(path, "holds no private key: PEM is expected, with BEGIN PRIVATE KEY"))
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(text, words).is_some()
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |problem: std::io::Error| {
        error(path, format!("cannot be read: {}", sandbox::explain(path, &problem)))
    };
    let found = std::fs::metadata(path).map_err(failed)?;
    // A pipe might never end, or never begin.
    if !found.is_file() {
        return Err(error(path, "is no file"));
    }
    let size = found.len();
    if size > LARGEST {
        return Err(error(path, format!("has {size} bytes; at most {LARGEST} are read")));
    }
    std::fs::read(path).map_err(failed)
}

/// What is wrong with a file.
pub(super) fn error(path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_read() {
        for path in ["/dev/zero", "/"] {
            assert_eq!(certificates(Path::new(path)).unwrap_err().to_string(), format!("{path}: is no file"));
        }
        let missing = certificates(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/ca.pem: cannot be read: No such file"), "{missing}");
    }
}
