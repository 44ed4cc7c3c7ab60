//! What we are to a server that we connect to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, pem, provider};

/// Tickets that are kept for later handshakes, eight for each name (rustls' own default).
const SESSIONS: usize = 256;

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
        Ok(offering(&self.base()?, protocols))
    }

    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(identity)
    }

    /// The configuration of connections that offer nothing yet.
    pub(super) fn base(&self) -> Result<ClientConfig, TlsError> {
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
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(pem::certificates(certificate)?, pem::key(key)?).map_err(
                    |problem| pem::error(key, format!("does not fit {}: {problem}", certificate.display())),
                )
            }
        }
    }
}

/// The name or address that the certificate of `host` has to be for.
///
/// # Errors
/// No certificate can be for it.
pub fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    // The dot that makes a name absolute is not part of it in certificates (RFC 6066 section 3).
    ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// The same configuration for connections that offer `protocols`, with sessions of its own.
pub(super) fn offering(base: &ClientConfig, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = base.clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dot_of_an_absolute_name_is_left_out() {
        assert_eq!(server_name("app.test.").unwrap(), server_name("app.test").unwrap());
        assert!(["::1", "10.0.0.1", "my_app"].into_iter().all(|host| server_name(host).is_ok()));
        assert!(server_name("").is_err() && server_name("a b").is_err());
    }
}
