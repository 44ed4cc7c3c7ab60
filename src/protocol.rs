//! The protocol that a connection turned out to speak.

/// As in the label `protocol` of the metrics and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Not a byte has come, or too few to tell.
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

impl Protocol {
    /// Every protocol, in the order of [`Protocol::index`].
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Http1, Self::Http2];

    /// The metric label and log field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http/1.1",
            Self::Http2 => "http/2",
        }
    }

    /// Its place in [`Protocol::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The version of TLS that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

impl TlsVersion {
    /// As in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}
