//! The configuration itself: plain types, section by section.

mod evidence;
mod limiting;
mod serving;
mod tracing;

pub use evidence::{Eviction, EvidenceConfig, Hidden};
pub use limiting::{OnRedisFailure, RateLimitBackend, RateLimitConfig, SharedLimitConfig};
pub use serving::{
    Algorithm, ClientAuth, CompressionConfig, FilesConfig, HostHeader, MinVersion, ProxyProtocol,
    SandboxMode, TlsConfig, UpstreamOptions,
};

pub use tracing::{
    MetricsConfig, OtlpCompression, OtlpProtocol, TracesExporter, TracesSampler, TracingConfig,
};

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, Method};

use super::routes::{CheckConfig, RouteConfig};
use crate::client_address::TrustedProxies;
use crate::units::Rate;

/// Everything that can be set, section by section, as in the file.
///
/// ```
/// use nessen::config::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.server.port = 0;
/// config.limits.request_timeout = Duration::from_secs(5);
/// # assert!(config.limits.max_connections >= 16);
/// ```
///
/// What a program sets by hand is its own word and is not checked again; [`load`](super::load) and
/// [`Config::from_env`] check everything.
#[derive(Debug, Clone)]
pub struct Config {
    /// `server.*`
    pub server: ServerConfig,
    /// `admin.*`
    pub admin: AdminConfig,
    /// `tls.*`
    pub tls: TlsConfig,
    /// `limits.*`
    pub limits: LimitsConfig,
    /// `http2.*`
    pub http2: Http2Config,
    /// `rate_limit.*`, what a route can have of its own
    pub rate_limit: RateLimitConfig,
    /// `rate_limit.*`, where the buckets are
    pub shared_limit: SharedLimitConfig,
    /// `shutdown.*`
    pub shutdown: ShutdownConfig,
    /// `log.*`
    pub log: LogConfig,
    /// `tracing.*`
    pub tracing: TracingConfig,
    /// `metrics.*`
    pub metrics: MetricsConfig,
    /// `upstream.*`
    pub upstream: UpstreamOptions,
    /// `files.*`
    pub files: FilesConfig,
    /// `compression.*`
    pub compression: CompressionConfig,
    /// `evidence.*`
    pub evidence: EvidenceConfig,
    /// `security_headers.*`
    pub security_headers: SecurityHeadersConfig,
    /// `[[route]]`, `upstream.url` and `files.root`: the first that a request matches serves it.
    /// Without any, the program's own router does, or the welcome app.
    pub routes: Vec<RouteConfig>,
    /// `[[check]]`
    pub checks: Vec<CheckConfig>,
}

/// Where to listen and whom to believe.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Whether settings that do not fit production are errors.
    pub mode: ServerMode,
    /// Processes that serve together.
    pub replicas: u32,
    /// Address to bind.
    pub host: IpAddr,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// Worker threads, already resolved from `auto`.
    pub workers: usize,
    /// Peers whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether their connections begin with the address of the client.
    pub proxy_protocol: ProxyProtocol,
    /// The field that carries the request id.
    pub request_id_header: HeaderName,
    /// Whether the process gives up what it does not need. For who starts it, as the binary does: a
    /// server that is built in a program leaves the program's process alone (see [`crate::sandbox`]).
    pub sandbox: SandboxMode,
}

/// `server.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMode {
    /// Anything goes.
    Dev,
    /// What does not fit production is an error.
    Prod,
}

/// The second listener, for what only operators should see.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Address to bind.
    pub host: IpAddr,
    /// Port to bind; `None` leaves the admin endpoints on the main port.
    pub port: Option<u16>,
    /// Hosts by which the status page is read; `None`: those that no stranger can point here, which
    /// are allowed in any case. Empty: any.
    pub allowed_hosts: Option<Vec<String>>,
}

/// Every limit. `None` is off.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Bytes of a request body.
    pub max_body_size: u64,
    /// Bytes of a request target.
    pub max_url_length: usize,
    /// Bytes of all header fields together.
    pub max_header_size: usize,
    /// Header fields of a request.
    pub max_header_count: usize,
    /// Bytes of an answer of the app's own router.
    pub max_response_size: Option<u64>,
    /// From the request head to the response head.
    pub request_timeout: Duration,
    /// From the first byte of a request head to its end.
    pub headers_timeout: Duration,
    /// A connection with nothing in flight.
    pub idle_timeout: Duration,
    /// Longest gap between bytes of a body.
    pub body_timeout: Duration,
    /// Slowest upload.
    pub min_body_rate: Option<Rate>,
    /// Longest time in which a client takes no byte of its answer.
    pub write_timeout: Duration,
    /// Slowest download, where the client is what slows it.
    pub min_send_rate: Option<Rate>,
    /// Open connections, already resolved from `auto`.
    pub max_connections: usize,
    /// Open connections of one client address (IPv6: of one /64).
    pub max_connections_per_ip: Option<usize>,
    /// Requests answered on one connection.
    pub max_requests_per_connection: u64,
    /// Age at which a connection is asked to close, give or take 10 %.
    pub max_connection_age: Duration,
    /// Requests served at a time.
    pub max_in_flight: usize,
    /// Methods served.
    pub allowed_methods: Vec<Method>,
    /// Hosts served, lower case, without port; empty: any. `*.example.com` matches one label or more.
    pub allowed_hosts: Vec<String>,
    /// Bytes that clients may make the server hold, already resolved from `auto`.
    pub memory: u64,
}

/// HTTP/2 by prior knowledge.
#[derive(Debug, Clone)]
pub struct Http2Config {
    /// Whether the HTTP/2 preface is understood at all.
    pub enabled: bool,
    /// Streams open at a time on one connection.
    pub max_concurrent_streams: u32,
    /// Streams that the server had to reset because the client broke the protocol.
    pub max_local_error_resets: usize,
    /// Streams that the client cancelled before they were answered.
    pub max_cancelled_streams: u64,
    /// Bytes of one stream that a client may send unread.
    pub stream_window: u32,
    /// Bytes of one connection that a client may send unread.
    pub connection_window: u32,
    /// Bytes of one stream buffered for sending.
    pub send_buffer: usize,
}

/// The way out.
#[derive(Debug, Clone)]
pub struct ShutdownConfig {
    /// Not ready, still serving.
    pub drain_delay: Duration,
    /// Then work in flight may run this long.
    pub drain_timeout: Duration,
}

/// Logs on standard output.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Which requests are written.
    pub access: AccessLog,
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// Something failed.
    Error,
    /// Something is wrong and the server goes on.
    Warn,
    /// The life of the server and its requests.
    Info,
    /// What an operator needs to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// `log.format`, already resolved from its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Console,
}

/// `log.access`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Every request; probes only where they fail.
    All,
    /// Refusals and answers of 400 and above.
    Errors,
    /// None.
    Off,
}

/// Fields added to answers that do not set them. `None` adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecurityHeadersConfig {
    /// Master switch.
    pub enabled: bool,
    /// `X-Content-Type-Options: nosniff`
    pub nosniff: bool,
    /// `X-Frame-Options`
    pub frame_options: Option<http::HeaderValue>,
    /// `Referrer-Policy`
    pub referrer_policy: Option<http::HeaderValue>,
    /// `Content-Security-Policy`
    pub content_security_policy: Option<http::HeaderValue>,
    /// `Permissions-Policy`
    pub permissions_policy: Option<http::HeaderValue>,
    /// `Strict-Transport-Security`, on answers by TLS alone (RFC 6797 section 7.2)
    pub hsts: Option<http::HeaderValue>,
}
