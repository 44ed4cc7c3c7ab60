//! How much a refusal tells about its client.

use crate::refusal::Reason;

/// What is evicted first, the least telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Happens to honest clients, often.
    Low,
    /// Happens to honest clients, seldom.
    Medium,
    /// Hardly ever happens to those who mean no harm.
    High,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// Its name in the list.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// That of `reason`; `None` for what is no evidence of anything: that a connection had been idle.
    pub const fn of(reason: Reason) -> Option<Self> {
        Some(match reason {
            Reason::Idle => return None,
            Reason::AmbiguousFraming
            | Reason::InvalidPath
            | Reason::InvalidHost
            | Reason::MalformedRequest
            | Reason::Http2Abuse
            // What a handler cannot bear is worth a look, whoever sent it.
            | Reason::InternalError => Self::High,
            Reason::HostNotAllowed
            | Reason::MethodNotAllowed
            | Reason::UnsupportedMethod
            | Reason::ExpectationFailed
            | Reason::UrlTooLong
            | Reason::HeaderTooLarge
            | Reason::TooManyHeaders
            | Reason::BodyTooLarge
            | Reason::BodyTooSlow
            | Reason::HeadersTimeout
            | Reason::BodyTimeout
            | Reason::SlowReader
            | Reason::TooManyConnectionsFromClient => Self::Medium,
            // By https where it was meant, and by those who do not believe the certificate.
            Reason::PlainHttp
            | Reason::TlsHandshakeFailed
            | Reason::TlsHandshakeTimeout
            | Reason::NotFound
            | Reason::RateLimited
            | Reason::ResponseTooLarge
            | Reason::UpstreamUnreachable
            | Reason::UpstreamInvalid
            | Reason::UpstreamTimeout
            | Reason::RequestTimeout
            | Reason::Overloaded
            | Reason::TooManyConnections
            | Reason::RateLimitUnavailable
            | Reason::ServerShuttingDown => Self::Low,
        })
    }
}
