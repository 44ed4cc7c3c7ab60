//! The listeners of a server, and what the connections of each are held to.

use std::net::SocketAddr;
use std::sync::Arc;

use super::bind_error::BindError;
use super::builder::Given;
use super::running::Port;
use super::stack::Shared;
use super::tls::Certificates;
use crate::config::Config;
use crate::limits::headers::HeaderLimits;
use crate::limits::url_length::MaxUrlLength;
use crate::memory::MemoryAccount;
use crate::net::admission::Admission;
use crate::net::context::{ConnectionLimits, Context, HeadLimits, Http2Limits, ProxyProtocol};
use crate::net::listener::Listener;
use crate::net::penalty::PenaltyBox;
use crate::net::secure::Tls;
use crate::net::send_watch::SendLimits;
use crate::net::turns::Turns;

/// On the socket that was `given`, else on one of our own.
fn listener_of(
    section: &'static str,
    address: SocketAddr,
    given: Option<Given>,
) -> Result<Listener, BindError> {
    let listener = match given {
        None => Listener::bind(address),
        Some(Given::Own(socket)) => Listener::own(socket),
        Some(Given::Shared(socket)) => Listener::adopt(socket),
    };
    listener.map_err(|error| BindError::Listen { section, address, error })
}

pub(super) fn main_port(
    config: &Config,
    shared: &Shared,
    given: Option<Given>,
    spare_files: usize,
    certificates: Option<&Certificates>,
) -> Result<Port, BindError> {
    let limits = &config.limits;
    let listener = listener_of("server", SocketAddr::new(config.server.host, config.server.port), given)?;
    let trusted = config.server.trusted_proxies.clone();
    let admission =
        Admission::new(limits.max_connections, limits.max_connections_per_ip, trusted).within(spare_files);
    Ok(Port {
        listener,
        admission,
        context: Arc::new(Context {
            proxy_protocol: config.server.proxy_protocol,
            tls: certificates.map(|certificates| Tls {
                server: certificates.server.clone(),
                handshake_timeout: config.tls.handshake_timeout,
            }),
            ..context(config, shared, limits.max_requests_per_connection)
        }),
    })
}

/// Scrapers and people: few, and each no more than it needs.
const ADMIN_CONNECTIONS: usize = 64;

pub(super) fn admin_port(
    config: &Config,
    shared: &Shared,
    given: Option<Given>,
) -> Result<Option<Port>, BindError> {
    let Some(port) = config.admin.port else { return Ok(None) };
    let listener = listener_of("admin", SocketAddr::new(config.admin.host, port), given)?;
    let admission = Admission::new(ADMIN_CONNECTIONS, None, config.server.trusted_proxies.clone());
    let context = Arc::new(Context {
        // Those few connections are part of what the process itself holds.
        memory: MemoryAccount::new(u64::MAX),
        ..context(config, shared, config.limits.max_requests_per_connection)
    });
    Ok(Some(Port { listener, admission, context }))
}

/// Its connections are among those of the main port.
pub(super) fn redirect_port(
    config: &Config,
    shared: &Shared,
    given: Option<Given>,
    admission: &Admission,
) -> Result<Option<Port>, BindError> {
    let Some(port) = config.tls.redirect_port.filter(|_| config.tls.is_on()) else { return Ok(None) };
    let listener = listener_of("tls", SocketAddr::new(config.server.host, port), given)?;
    let context = Arc::new(Context {
        proxy_protocol: config.server.proxy_protocol,
        ..context(config, shared, config.limits.max_requests_per_connection)
    });
    Ok(Some(Port { listener, admission: admission.clone(), context }))
}

fn head_limits(config: &Config) -> HeadLimits {
    let url = MaxUrlLength(config.limits.max_url_length);
    let fields = HeaderLimits { count: config.limits.max_header_count, size: config.limits.max_header_size };
    HeadLimits {
        url_length: url.0,
        fields_size: fields.size,
        fields_count: fields.count,
        url_too_long: url.refusal(),
        fields_too_large: fields.too_large(),
        too_many_fields: fields.too_many(),
    }
}

fn context(config: &Config, shared: &Shared, max_requests: u64) -> Context {
    let (limits, http2) = (&config.limits, &config.http2);
    Context {
        limits: ConnectionLimits {
            headers_timeout: limits.headers_timeout,
            idle_timeout: limits.idle_timeout,
            send: SendLimits { timeout: limits.write_timeout, min_rate: limits.min_send_rate },
            max_requests,
            max_age: limits.max_connection_age,
            head: head_limits(config),
            http2: http2.enabled.then_some(Http2Limits {
                max_concurrent_streams: http2.max_concurrent_streams,
                max_local_error_resets: http2.max_local_error_resets,
                max_cancelled_streams: http2.max_cancelled_streams,
                stream_window: http2.stream_window,
                connection_window: http2.connection_window,
                send_buffer: http2.send_buffer,
            }),
        },
        trusted: config.server.trusted_proxies.clone(),
        memory: shared.memory.clone(),
        penalties: PenaltyBox::default(),
        turns: Turns::default(),
        // Only the main listener stands behind proxies.
        proxy_protocol: ProxyProtocol::Off,
        tls: None,
        lifecycle: shared.lifecycle.clone(),
        metrics: shared.metrics.clone(),
        evidence: shared.evidence.clone(),
        access_log: shared.access_log.clone(),
        request_id_header: config.server.request_id_header.clone(),
    }
}
