//! What we are to a server that we connect to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, pem, provider};

/// Whom to believe, and who to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientOptions {
    /// CAs to believe in place of the public ones, which are built in.
    pub ca: Option<PathBuf>,
    /// Our own certificate, with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientOptions {
    /// The configuration of connections that offer these protocols (ALPN, RFC 7301).
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in pem::certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|problem| pem::error(path, format!("holds no CA: {problem}")))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|problem| pem::error(&PathBuf::new(), problem.to_string()))?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(pem::certificates(certificate)?, pem::key(key)?).map_err(
                    |problem| pem::error(key, format!("does not fit {}: {problem}", certificate.display())),
                )?
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}
