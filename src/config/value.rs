//! Values of their final types, how they read, and how they get into the configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::parse::telemetry;
use super::{
    AccessLog, Algorithm, ClientAuth, Eviction, Hidden, HostHeader, LogFormat, LogLevel, MinVersion,
    OnRedisFailure, OtlpCompression, OtlpProtocol, ProxyProtocol, RateLimitBackend, SandboxMode, ServerMode,
    TracesExporter, TracesSampler,
};
use crate::client_address::TrustedProxies;
use crate::handler::proxy::url::UpstreamUrl;
use crate::limits::rate::{KeyBy, RedisUrl};
use crate::outcall::Url;
use crate::trace::{Ratio, Trust};
use crate::units::{Rate, Size, Time};

/// The methods that can be allowed. CONNECT is not among them: a tunnel is nothing this server offers.
pub(super) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// A value that is of the kind its key takes, and in range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The limit or feature does not apply.
    Off,
    /// To be decided by what the machine allows.
    Auto,
    /// `true` or `false`.
    Bool(bool),
    /// A plain number.
    Count(u64),
    /// Bytes.
    Size(u64),
    /// A duration.
    Time(Duration),
    /// A slowest pace.
    Rate(Rate),
    /// An address.
    Address(IpAddr),
    /// One of the words of [`Kind::Choice`](super::keys::Kind::Choice).
    Choice(&'static str),
    /// The name of a header field.
    HeaderName(HeaderName),
    /// The value of a header field.
    HeaderValue(HeaderValue),
    /// Networks to trust.
    Networks(TrustedProxies),
    /// HTTP methods.
    Methods(Vec<Method>),
    /// Hosts; empty: any.
    Hosts(Vec<String>),
    /// Upstreams; empty: none.
    Upstreams(Vec<UpstreamUrl>),
    /// A folder.
    Folder(PathBuf),
    /// A file.
    File(PathBuf),
    /// Files.
    Files(Vec<PathBuf>),
    /// A path of a URL, maybe with its query.
    UrlPath(String),
    /// A collector.
    Url(Url),
    /// A part of all.
    Ratio(Ratio),
    /// Keys and values.
    Pairs(Vec<(String, String)>),
    /// Words of [`Kind::Words`](super::keys::Kind::Words).
    Words(Vec<&'static str>),
    /// Content codings.
    Algorithms(Vec<Algorithm>),
    /// A text.
    Text(String),
    /// Where Redis is.
    RedisUrl(RedisUrl),
    /// What a rate limit counts by.
    RateKey(KeyBy),
    /// Where to ask: a host in lower case (IPv6 without brackets), a port, and for HTTP a path.
    Endpoint {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The path with its query, or nothing.
        path: String,
        /// Whether it is asked within TLS.
        tls: bool,
    },
}

impl Value {
    /// Writes the value into a field; `false` where the field is of another type.
    pub(super) fn put<T: FromValue>(&self, field: &mut T) -> bool {
        match T::from_value(self) {
            Some(value) => {
                *field = value;
                true
            }
            None => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], empty: &str) -> fmt::Result {
            if items.is_empty() {
                return f.write_str(empty);
            }
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    f.write_str(", ")?;
                }
                item.fmt(f)?;
            }
            Ok(())
        }
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            Self::Bool(value) => value.fmt(f),
            Self::Count(value) => value.fmt(f),
            Self::Size(value) => Size(*value).fmt(f),
            Self::Time(value) => Time(*value).fmt(f),
            Self::Rate(value) => value.fmt(f),
            Self::Address(value) => value.fmt(f),
            Self::Choice(value) => f.write_str(value),
            Self::HeaderName(value) => value.fmt(f),
            Self::HeaderValue(value) => f.write_str(value.to_str().unwrap_or("(not text)")),
            Self::Networks(value) => list(f, value.networks(), "none"),
            Self::Methods(value) => list(f, value, "none"),
            Self::Hosts(value) => list(f, value, "any"),
            Self::Upstreams(value) => list(f, value, "none"),
            Self::Folder(value) | Self::File(value) => value.display().fmt(f),
            Self::Files(value) => {
                let shown: Vec<_> = value.iter().map(|path| path.display()).collect();
                list(f, &shown, "off")
            }
            Self::Url(value) => value.fmt(f),
            Self::Ratio(value) => value.fmt(f),
            Self::Pairs(value) => f.write_str(&telemetry::encoded(value)),
            Self::Words(value) => list(f, value, "none"),
            Self::UrlPath(value) => f.write_str(value),
            Self::Algorithms(value) => list(f, value, "none"),
            Self::Text(value) => f.write_str(value),
            Self::RedisUrl(value) => value.fmt(f),
            Self::RateKey(value) => value.fmt(f),
            Self::Endpoint { host, port, path, .. } if host.contains(':') => {
                write!(f, "[{host}]:{port}{path}")
            }
            Self::Endpoint { host, port, path, .. } => write!(f, "{host}:{port}{path}"),
        }
    }
}

/// Types of configuration fields.
pub(super) trait FromValue: Sized {
    /// The field's content, or `None` where the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Off { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl FromValue for $number {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Count(number) | Value::Size(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
impl FromValue for Vec<PathBuf> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Files(paths) => Some(paths.clone()),
            Value::Off => Some(Self::new()),
            _ => None,
        }
    }
}

numbers!(u16, u32, u64, usize);

macro_rules! plain {
    ($($variant:ident => $field:ty),* $(,)?) => {$(
        impl FromValue for $field {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        }
    )*};
}
plain! {
    Bool => bool,
    Time => Duration,
    Rate => Rate,
    Address => IpAddr,
    HeaderName => HeaderName,
    HeaderValue => HeaderValue,
    Networks => TrustedProxies,
    Methods => Vec<Method>,
    Hosts => Vec<String>,
    Upstreams => Vec<UpstreamUrl>,
    Algorithms => Vec<Algorithm>,
    RedisUrl => RedisUrl,
    RateKey => KeyBy,
    Url => Url,
    Ratio => Ratio,
    Pairs => Vec<(String, String)>,
    Words => Vec<&'static str>,
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::UrlPath(text) | Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for Hidden {
    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value).map(Self)
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Folder(path) | Value::File(path) => Some(path.clone()),
            _ => None,
        }
    }
}

macro_rules! choices {
    ($($field:ty { $($word:literal => $variant:ident),* $(,)? })*) => {$(
        impl FromValue for $field {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $(Value::Choice($word) => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl $field {
            /// As it is written in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    )*};
}
choices! {
    LogLevel {
        "off" => Off, "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug, "trace" => Trace,
    }
    LogFormat { "json" => Json, "console" => Console }
    HostHeader { "keep" => Keep, "upstream" => Upstream }
    ProxyProtocol { "off" => Off, "required" => Required, "optional" => Optional }
    Eviction { "priority" => Priority, "oldest" => Oldest }
    ServerMode { "dev" => Dev, "prod" => Prod }
    RateLimitBackend { "local" => Local, "redis" => Redis }
    OnRedisFailure { "local" => Local, "refuse" => Refuse }
    SandboxMode { "off" => Off, "on" => On, "required" => Required }
    MinVersion { "1.2" => Tls12, "1.3" => Tls13 }
    ClientAuth { "off" => Off, "optional" => Optional, "required" => Required }
    TracesExporter { "otlp" => Otlp, "none" => None }
    OtlpProtocol { "http/protobuf" => Http, "grpc" => Grpc }
    OtlpCompression { "none" => None, "gzip" => Gzip }
    TracesSampler {
        "parentbased_always_on" => ParentOn, "parentbased_always_off" => ParentOff,
        "parentbased_traceidratio" => ParentRatio, "always_on" => On, "always_off" => Off,
        "traceidratio" => Ratio,
    }
    AccessLog { "all" => All, "errors" => Errors, "off" => Off }
}

/// Known below, where it has no words.
impl FromValue for Trust {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("trusted") => Some(Self::Trusted),
            Value::Choice("all") => Some(Self::All),
            Value::Choice("none") => Some(Self::None),
            _ => None,
        }
    }
}
