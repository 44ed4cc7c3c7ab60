//! What serves an application: upstreams, files, compression, and who stands in front. Where a room
//! takes its settings as they are written, they are its own.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

pub use crate::handler::proxy::{HostHeader, UpstreamOptions};
pub use crate::middleware::compression::Algorithm;
pub use crate::net::context::ProxyProtocol;
pub use crate::sandbox::Mode as SandboxMode;
use crate::tls::server::ServerOptions;
pub use crate::tls::server::{ClientAuth, MinVersion};

/// Files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// The folder; `None`: no files are served. In a route, that of the route.
    pub root: Option<PathBuf>,
    /// `Cache-Control` of the files.
    pub cache_control: Option<HeaderValue>,
    /// URL path below the root that is answered where no file is.
    pub fallback: Option<String>,
    /// Whether `x.br`, `x.zst` and `x.gz` are answered for `x` to who understands them.
    pub precompressed: bool,
}

/// Compression of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// Master switch.
    pub enabled: bool,
    /// What is offered, the best first.
    pub algorithms: Vec<Algorithm>,
    /// Smaller answers go out as they are.
    pub min_size: u64,
    /// Answers compressed at a time, already lowered to what the memory budget carries; beyond it
    /// they go out as they are. Of the whole server, not of a route.
    pub max_concurrent: usize,
}

/// HTTPS on the main port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Files of certificates, each with its chain; none: the port speaks plain HTTP.
    pub cert: Vec<PathBuf>,
    /// Files of their keys, in the same order.
    pub key: Vec<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Files of the CAs of those.
    pub client_ca: Vec<PathBuf>,
    /// A second port, which redirects to https.
    pub redirect_port: Option<u16>,
    /// Where clients reach the main port.
    pub public_port: u16,
}

impl TlsConfig {
    /// Whether the main port speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.cert.is_empty()
    }

    /// What is to be read, and made of it; `None` where the port speaks plain HTTP.
    pub fn options(&self, http2: bool) -> Option<ServerOptions> {
        self.is_on().then(|| ServerOptions {
            identities: self.cert.iter().cloned().zip(self.key.iter().cloned()).collect(),
            min_version: self.min_version,
            client_auth: self.client_auth,
            client_ca: self.client_ca.clone(),
            http2,
        })
    }
}
