//! What serves an application: upstreams, files, compression, and who stands in front.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

use crate::handler::proxy::url::UpstreamUrl;

/// The applications behind a proxied route, and how patient they are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where they are; empty: nowhere. In a route, those of the route.
    pub url: Vec<UpstreamUrl>,
    /// The `Host` that they are sent.
    pub host_header: HostHeader,
    /// From nothing to a connection.
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte_timeout: Option<Duration>,
    /// Longest gap between bytes of the answer.
    pub read_timeout: Duration,
    /// How long an idle connection is kept.
    pub keepalive_timeout: Duration,
    /// Idle connections kept per address; 0 keeps none.
    pub max_idle: usize,
    /// A tunnel (WebSocket) in which nothing moves in either direction.
    pub tunnel_idle_timeout: Duration,
    /// Further attempts of a request that was never sent, or may be sent twice.
    pub retries: u32,
    /// Retries in percent of the requests.
    pub retry_budget: u32,
    /// Failures within `eject_window` that put an address aside.
    pub eject_after: Option<u32>,
    /// The window in which failures are counted.
    pub eject_window: Duration,
    /// How long an address is put aside for the first time; each further time doubles it.
    pub eject_time: Duration,
    /// The most that doubling comes to.
    pub max_eject_time: Duration,
    /// The path, with its query, that an active check asks for.
    pub health_path: Option<String>,
    /// From one active check to the next.
    pub health_interval: Duration,
    /// Longest time of an active check.
    pub health_timeout: Duration,
    /// Failed checks in a row after which an address is down.
    pub health_fall: u32,
    /// Good checks in a row after which it is up again.
    pub health_rise: u32,
    /// Names are resolved again when their TTL ends, and at the latest after this.
    pub resolve_interval: Duration,
}

/// `upstream.host_header`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's own is passed on.
    Keep,
    /// The upstream's own authority.
    Upstream,
}

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

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 8878
    Zstd,
    /// Brotli, RFC 7932
    Br,
    /// RFC 1952
    Gzip,
}

impl Algorithm {
    /// Every one, the best first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// As in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `server.proxy_protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The first bytes are the client's.
    Off,
    /// A trusted peer's connection begins with a header, or is closed.
    Required,
    /// A trusted peer's connection may begin with a header.
    Optional,
}
