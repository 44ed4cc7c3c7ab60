//! What every connection of a listener has in common.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};

use super::date;
use super::penalty::PenaltyBox;
use super::secure::Tls;
use super::send_watch::SendLimits;
use super::turns::Turns;
use crate::client_address::TrustedProxies;
use crate::evidence::{Evidence, Why};
use crate::lifecycle::Lifecycle;
use crate::memory::{MemoryAccount, TLS, TLS_WORKING, WAITING, WORKING};
use crate::protocol::Protocol;
use crate::random;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::{AccessLog, Metrics};

/// What a connection may cost in time and bytes, before and between requests.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// From the first byte of a head to its end.
    pub headers_timeout: Duration,
    /// With nothing in flight.
    pub idle_timeout: Duration,
    /// A client that does not read.
    pub send: SendLimits,
    /// Requests on one connection.
    pub max_requests: u64,
    /// Age at which a connection is asked to close; each gets its own, up to 10 % off.
    pub max_age: Duration,
    /// A request head.
    pub head: HeadLimits,
    /// HTTP/2; `None` is off.
    pub http2: Option<Http2Limits>,
}

/// What a request head may cost. The layers enforce it exactly; the parser is told of it as an
/// outer wall, and where that wall is hit first, the refusals here are the layers' own words.
#[derive(Debug, Clone)]
pub struct HeadLimits {
    /// Bytes of the request target.
    pub url_length: usize,
    /// Bytes of all fields together.
    pub fields_size: usize,
    /// Fields.
    pub fields_count: usize,
    /// For a target whose end the parser never saw.
    pub url_too_long: Refusal,
    /// For fields whose end it never saw.
    pub fields_too_large: Refusal,
    /// For more fields than it has room for.
    pub too_many_fields: Refusal,
}

/// What an HTTP/2 connection may cost besides.
#[derive(Debug, Clone)]
pub struct Http2Limits {
    /// Streams open at a time.
    pub max_concurrent_streams: u32,
    /// Streams the server had to reset.
    pub max_local_error_resets: usize,
    /// Streams the client gave up before their answer.
    pub max_cancelled_streams: u64,
    /// Bytes of a stream the client may send unread.
    pub stream_window: u32,
    /// Bytes of the connection the client may send unread.
    pub connection_window: u32,
    /// Bytes of a stream buffered for sending.
    pub send_buffer: usize,
}

/// Whether connections of trusted peers begin with a PROXY header, which names the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// None is looked for.
    #[default]
    Off,
    /// One without is refused.
    Required,
    /// Some do.
    Optional,
}

/// Shared by all connections of a listener.
#[derive(Debug)]
pub struct Context {
    /// The limits.
    pub limits: ConnectionLimits,
    /// Whose forwarding fields are believed.
    pub trusted: TrustedProxies,
    /// What begins a connection of theirs.
    pub proxy_protocol: ProxyProtocol,
    /// What is spoken before HTTP; `None`: nothing.
    pub tls: Option<Tls>,
    /// What connections and requests hold.
    pub memory: MemoryAccount,
    /// Who was slow when room was short.
    pub penalties: PenaltyBox,
    /// Who goes first when there is too much to do.
    pub turns: Turns,
    /// Where the process is in its life.
    pub lifecycle: Lifecycle,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Where refusals are kept; `None`: nowhere.
    pub evidence: Option<Evidence>,
    /// Lines for refusals that no request carries.
    pub access_log: AccessLog,
    /// The field that names a request in its answer.
    pub request_id_header: HeaderName,
}

impl ConnectionLimits {
    /// The longest request line that is looked at: the target, and room for method and version.
    pub fn max_line(&self) -> usize {
        self.head.url_length + 64
    }

    /// How long a connection that has asked so often may be idle. One that has never asked has only
    /// the time that a head may take, whatever else it sends.
    pub(super) fn patience(&self, requests: u64) -> Duration {
        match requests {
            0 => self.headers_timeout.min(self.idle_timeout),
            _ => self.idle_timeout,
        }
    }

    /// The parser's read buffer, and so the most bytes that a head can take before it is refused
    /// unparsed. Our own limits are inside it, so that they speak first.
    pub fn max_head(&self) -> usize {
        (self.head.url_length + self.head.fields_size + 4096).max(8192)
    }
}

impl Context {
    /// Bytes that a connection holds while it waits.
    pub fn waiting(&self) -> u64 {
        if self.tls.is_some() { WAITING + TLS } else { WAITING }
    }

    /// Bytes that it holds besides while it is at work.
    pub(super) fn working(&self) -> u64 {
        if self.tls.is_some() { WORKING + TLS_WORKING } else { WORKING }
    }

    /// Whether a connection from `peer` may begin with a PROXY header.
    pub(super) fn expects_header_of(&self, peer: IpAddr) -> bool {
        // SECURITY: anybody else would choose its own address.
        self.proxy_protocol != ProxyProtocol::Off && self.trusted.trusts(peer)
    }

    /// Counts and logs a refusal that no request carries and nothing answers.
    pub fn refused(&self, reason: Reason, client: IpAddr, protocol: Protocol) {
        self.metrics.rejected(reason);
        self.access_log.refused_connection(reason, client, protocol, None);
        if let Some(evidence) = &self.evidence {
            evidence.connection(Why::plain(reason), client, protocol, &[], "");
        }
    }

    /// Counts and logs a refusal that no request carries, but perhaps the beginning of one (`came`); the answer to
    /// it, as HTTP/1.1 bytes.
    pub fn refuse(&self, refusal: Refusal, client: IpAddr, protocol: Protocol, came: &[u8]) -> Vec<u8> {
        let id = random::hex_id();
        let id = std::str::from_utf8(&id).unwrap_or_default();
        self.metrics.rejected(refusal.reason);
        self.access_log.refused_connection(refusal.reason, client, protocol, Some(id));
        if let Some(evidence) = &self.evidence {
            let why = Why { reason: refusal.reason, detail: &refusal.detail, limit: refusal.limit };
            evidence.connection(why, client, protocol, came, id);
        }
        let refusal = refusal.field(header::DATE, date::now());
        match HeaderValue::from_str(id) {
            Ok(value) => refusal.field(self.request_id_header.clone(), value).into_http1(id),
            Err(_) => refusal.into_http1(id),
        }
    }
}
