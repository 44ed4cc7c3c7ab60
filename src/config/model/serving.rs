//! What serves an application: upstreams, files, compression, and who stands in front. Where a room
//! takes its settings as they are written, they are its own.

use std::path::PathBuf;

use http::HeaderValue;

pub use crate::handler::proxy::{HostHeader, UpstreamOptions};
pub use crate::middleware::compression::Algorithm;
pub use crate::net::context::ProxyProtocol;
pub use crate::sandbox::Mode as SandboxMode;

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
