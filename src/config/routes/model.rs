//! What a route and a readiness check are.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use crate::config::{
    CompressionConfig, FilesConfig, LimitsConfig, Origin, RateLimitConfig, SecurityHeadersConfig,
    UpstreamOptions,
};
use crate::handler::proxy::url::UpstreamUrl;

/// One route, with the effective value of everything that it can override.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// The prefix, on segment borders: `/` or `/api`, without a slash at its end.
    pub path: String,
    /// The host, lower case, without port; `*.example.com` is any below it, `None` any at all.
    pub host: Option<String>,
    /// What answers.
    pub target: Target,
    /// Where it was set.
    pub origin: Origin,
    /// Its limits. What only the whole server has, as `max_connections`, is the same in all.
    pub limits: LimitsConfig,
    /// How its upstreams are spoken to, and where they are.
    pub upstream: UpstreamOptions,
    /// How its files are served, and where they are.
    pub files: FilesConfig,
    /// Compression of its answers.
    pub compression: CompressionConfig,
    /// Fields added to its answers.
    pub security_headers: SecurityHeadersConfig,
    /// Its own rate limit, off if its `max_requests` is `None`; without one the global applies.
    pub rate_limit: Option<RateLimitConfig>,
    /// Its own list of methods; without one that of `limits` applies.
    pub methods: Option<Vec<Method>>,
    /// Bytes of an answer, where the route itself set it: what comes from upstreams and files is
    /// otherwise bounded in time and not in size.
    pub max_response_size: Option<u64>,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An application somewhere else, one of several that are alike.
    Upstream(Vec<UpstreamUrl>),
    /// The files of a folder.
    Files(PathBuf),
    /// The client is sent elsewhere.
    Redirect {
        /// An absolute URL, or a path from `/`.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// Whether the rest of the path and the query are appended to `to`; a slash at the end of `to`
        /// and the one that the rest begins with are one.
        keep_path: bool,
    },
    /// The same answer for every request.
    Respond {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: Bytes,
        /// Its `Content-Type`.
        content_type: HeaderValue,
    },
}

/// A readiness check: one that fails makes `/ready` 503, and nothing else.
#[derive(Debug, Clone)]
pub struct CheckConfig {
    /// Letters, digits, `-` and `_`; unlike every other.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// From one try to the next.
    pub interval: Duration,
    /// Longest time of a try.
    pub timeout: Duration,
    /// Failures in a row that make it fail.
    pub fall: u32,
    /// Successes in a row that make it pass again.
    pub rise: u32,
    /// Where it was set.
    pub origin: Origin,
}

/// Where it was set does not matter: a comment more in the file is no change.
impl PartialEq for CheckConfig {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, probe, interval, timeout, fall, rise, origin: _ } = self;
        (name, probe, interval, timeout, fall, rise)
            == (&other.name, &other.probe, &other.interval, &other.timeout, &other.fall, &other.rise)
    }
}

/// What a readiness check asks. Hosts are names in lower case or addresses, IPv6 without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection can be made.
    Tcp {
        /// Where.
        host: String,
        /// Where.
        port: u16,
    },
    /// A GET is answered well.
    Http {
        /// Where.
        host: String,
        /// Where.
        port: u16,
        /// With its query.
        path: String,
    },
    /// The same within TLS.
    Https {
        /// Where, and whose certificate there has to be.
        host: String,
        /// Where.
        port: u16,
        /// With its query.
        path: String,
        /// CAs that are believed in place of the public ones.
        ca: Option<PathBuf>,
    },
    /// A PING is answered.
    Redis {
        /// Where.
        host: String,
        /// Where.
        port: u16,
    },
    /// A start-up handshake is answered.
    Postgres {
        /// Where.
        host: String,
        /// Where.
        port: u16,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port, path) = match self {
            Self::Tcp { host, port } => ("tcp ", host, port, ""),
            Self::Http { host, port, path } => ("http://", host, port, path.as_str()),
            Self::Https { host, port, path, .. } => ("https://", host, port, path.as_str()),
            Self::Redis { host, port } => ("redis ", host, port, ""),
            Self::Postgres { host, port } => ("postgres ", host, port, ""),
        };
        match host.contains(':') {
            true => write!(f, "{kind}[{host}]:{port}{path}"),
            false => write!(f, "{kind}{host}:{port}{path}"),
        }
    }
}
