//! The configuration before anything is written into it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::HeaderName;

use super::{
    AccessLog, AdminConfig, ClientAuth, CompressionConfig, Config, Eviction, EvidenceConfig, FilesConfig,
    HostHeader, Http2Config, LimitsConfig, LogConfig, LogFormat, LogLevel, MinVersion, OnRedisFailure,
    ProxyProtocol, RateLimitBackend, RateLimitConfig, SandboxMode, SecurityHeadersConfig, ServerConfig,
    ServerMode, SharedLimitConfig, ShutdownConfig, TlsConfig, UpstreamOptions,
};
use crate::client_address::TrustedProxies;
use crate::limits::rate::KeyBy;

/// A configuration for the table to write every field of. No value here ever reaches a user: a test
/// holds that there is a key for each field.
pub(super) fn blank() -> Config {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Config {
        server: ServerConfig {
            mode: ServerMode::Dev,
            replicas: 0,
            host: any,
            port: 0,
            workers: 0,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: ProxyProtocol::Off,
            request_id_header: HeaderName::from_static("x-request-id"),
            sandbox: SandboxMode::Off,
        },
        admin: AdminConfig { host: any, port: None, allowed_hosts: None },
        tls: TlsConfig {
            cert: Vec::new(),
            key: Vec::new(),
            min_version: MinVersion::Tls12,
            handshake_timeout: Duration::ZERO,
            client_auth: ClientAuth::Off,
            client_ca: Vec::new(),
            redirect_port: None,
            public_port: 0,
        },
        limits: LimitsConfig {
            max_body_size: 0,
            max_url_length: 0,
            max_header_size: 0,
            max_header_count: 0,
            max_response_size: None,
            request_timeout: Duration::ZERO,
            headers_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            min_body_rate: None,
            write_timeout: Duration::ZERO,
            min_send_rate: None,
            max_connections: 0,
            max_connections_per_ip: None,
            max_requests_per_connection: 0,
            max_connection_age: Duration::ZERO,
            max_in_flight: 0,
            allowed_methods: Vec::new(),
            allowed_hosts: Vec::new(),
            memory: 0,
        },
        http2: Http2Config {
            enabled: false,
            max_concurrent_streams: 0,
            max_local_error_resets: 0,
            max_cancelled_streams: 0,
            stream_window: 0,
            connection_window: 0,
            send_buffer: 0,
        },
        rate_limit: RateLimitConfig {
            enabled: false,
            max_requests: None,
            window: Duration::ZERO,
            per_second: None,
            burst: 0,
            block: Duration::ZERO,
            max_keys: 0,
            key: KeyBy::Address,
        },
        shared_limit: SharedLimitConfig {
            backend: RateLimitBackend::Local,
            redis_url: None,
            redis_ca: None,
            redis_timeout: Duration::ZERO,
            redis_prefix: String::new(),
            on_redis_failure: OnRedisFailure::Local,
        },
        shutdown: ShutdownConfig { drain_delay: Duration::ZERO, drain_timeout: Duration::ZERO },
        log: LogConfig { level: LogLevel::Off, format: LogFormat::Json, access: AccessLog::Off },
        upstream: UpstreamOptions {
            url: Vec::new(),
            host_header: HostHeader::Keep,
            connect_timeout: Duration::ZERO,
            first_byte_timeout: None,
            read_timeout: Duration::ZERO,
            keepalive_timeout: Duration::ZERO,
            max_idle: 0,
            tunnel_idle_timeout: Duration::ZERO,
            retries: 0,
            retry_budget: 0,
            eject_after: None,
            eject_window: Duration::ZERO,
            eject_time: Duration::ZERO,
            max_eject_time: Duration::ZERO,
            health_path: None,
            health_interval: Duration::ZERO,
            health_timeout: Duration::ZERO,
            health_fall: 0,
            health_rise: 0,
            resolve_interval: Duration::ZERO,
            ca: None,
            cert: None,
            key: None,
            server_name: None,
        },
        files: FilesConfig { root: None, cache_control: None, fallback: None, precompressed: false },
        compression: CompressionConfig {
            enabled: false,
            algorithms: Vec::new(),
            min_size: 0,
            max_concurrent: 0,
        },
        evidence: EvidenceConfig {
            enabled: false,
            max_count: 0,
            max_bytes: 0,
            eviction: Eviction::Oldest,
            body_bytes: 0,
            panic_threshold: 0,
            panic_window: Duration::ZERO,
        },
        security_headers: SecurityHeadersConfig {
            enabled: false,
            nosniff: false,
            frame_options: None,
            referrer_policy: None,
            content_security_policy: None,
            permissions_policy: None,
            hsts: None,
        },
        routes: Vec::new(),
        checks: Vec::new(),
    }
}
