//! What TLS is made of: certificates and keys from files, and rustls' configurations from those.
//!
//! By rustls on ring, TLS 1.2 and 1.3 with rustls' own choice of suites (RFC 8446, RFC 9325). Whatever is
//! wrong with a file is said with its name; what a key holds never is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub mod certificates;
pub mod client;
pub mod live;
mod names;
pub mod pem;
pub mod server;
mod unverified;
mod why;

pub use unverified::unverified;
pub use why::why;

/// What is wrong with a certificate, a key or a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it. Nothing of its text.
    pub problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for TlsError {}

/// The one provider of cryptography: handed to each configuration, so that none asks for a global one.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}
