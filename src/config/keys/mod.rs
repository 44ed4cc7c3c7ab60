//! THE table of keys: what can be set, how it is written, and where it goes.
//!
//! TOML paths, environment names, `--set`, defaults, ranges, help, `docs/CONFIGURATION.md`, the
//! JSON schema and the example file all come from these rows. Adding a key means adding one row
//! here and one field in [`Config`].

mod evidence;
mod files;
mod http2;
mod limits;
mod rate_limit;
mod security_headers;
mod server;
mod shutdown_log;
mod tls;
mod tracing;
mod upstream;

use super::value::Value;
use super::{Algorithm, Config};
use crate::units::{Size, Time};
use std::time::Duration;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`, as in the file and for `--set`.
    pub path: &'static str,
    /// Short environment names. In one that ends in `_SECONDS` an integer counts seconds.
    pub aliases: &'static [&'static str],
    /// A short name that goes before all others: of a few names that OpenTelemetry has for one thing, the
    /// more special.
    pub first: Option<&'static str>,
    /// How the value is written, and its range.
    pub kind: Kind,
    /// Whether `off` (for numbers also 0) is a value.
    pub off: bool,
    /// What `auto` stands for, where it is a value.
    pub auto: Option<&'static str>,
    /// The default, as an operator would write it.
    pub default: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Whether SIGHUP applies a change while the server runs.
    pub reloadable: bool,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Writes a value into the configuration; `false` means that the row's kind and the field's
    /// type disagree, which a test over the table rules out.
    pub(super) set: fn(&mut Config, &Value) -> bool,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A number, in a range.
    Count {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// Bytes, in a range.
    Size {
        /// Least, in bytes.
        min: u64,
        /// Most, in bytes.
        max: u64,
    },
    /// A duration, in a range.
    Time {
        /// Least, in milliseconds.
        min: u64,
        /// Most, in milliseconds.
        max: u64,
    },
    /// A slowest pace in bytes per second, with a grace.
    Rate,
    /// An IPv4 or IPv6 address.
    Address,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// The name of a header field.
    HeaderName,
    /// The value of a header field.
    HeaderValue,
    /// A list of networks or addresses.
    Networks,
    /// A list of HTTP methods.
    Methods,
    /// A list of host names.
    Hosts,
    /// A list of upstreams.
    Upstreams,
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A name or address that a certificate can be for.
    ServerName,
    /// A list of files.
    Files,
    /// A path of a URL.
    UrlPath {
        /// Whether a query may follow.
        query: bool,
    },
    /// A list of content codings.
    Algorithms,
    /// A list of method names, known here or not.
    AnyMethods,
    /// One host name.
    Host,
    /// One of a few numbers.
    OneOf(&'static [u64]),
    /// Any text, as it is.
    Text,
    /// Where a redirect leads.
    Location,
    /// The name of a readiness check.
    CheckName,
    /// A part of where evidence is written to.
    Store(StorePart),
    /// A host and a port.
    HostPort {
        /// The port where none is written.
        port: Option<u16>,
    },
    /// `http://host:port/path`, or `https`
    HttpUrl,
    /// `redis://user:password@host:port/database`
    RedisUrl,
    /// What a rate limit counts by.
    RateKey,
    /// `http://host:port/path`, or `https`, of a collector.
    Url,
    /// A part of all, from 0 to 1.
    Ratio,
    /// A list of `key=value`, percent-encoded.
    Pairs {
        /// Whether they are header fields.
        fields: bool,
    },
    /// A list of a few words.
    Words(&'static [&'static str]),
}

/// What a text of [`Kind::Store`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePart {
    /// A folder, or a bucket with a prefix.
    Place,
    /// A bucket.
    Bucket,
    /// What keys begin with.
    Prefix,
    /// A region.
    Region,
    /// A server.
    Endpoint,
    /// A key or a part of one, of which nothing is shown.
    Key,
}

/// The longest duration that any key takes: a day, in milliseconds.
pub(super) const DAY: u64 = 86_400_000;
/// The largest size that any key takes: 1024 GiB.
pub(super) const TEBIBYTE: u64 = 1 << 40;
/// The fastest least pace that can be asked of a client: 1 GiB per second.
pub(super) const FASTEST: u64 = 1 << 30;

/// A duration that must not be zero: a time-out of zero refuses everything, and elsewhere in the
/// field zero means "no time-out", so it is not taken at all.
pub(super) const TIMEOUT: Kind = Kind::Time { min: 1, max: DAY };
/// A duration for which zero has one plain meaning.
const TIME_OR_ZERO: Kind = Kind::Time { min: 0, max: DAY };

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
        set: fn(&mut Config, &Value) -> bool,
    ) -> Self {
        Self {
            path,
            aliases: &[],
            first: None,
            kind,
            off: false,
            auto: None,
            default,
            help,
            reloadable: false,
            secret: false,
            set,
        }
    }

    const fn env(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn env_first(mut self, alias: &'static str) -> Self {
        self.first = Some(alias);
        self
    }

    pub(super) const fn or_off(mut self) -> Self {
        self.off = true;
        self
    }

    const fn or_auto(mut self, meaning: &'static str) -> Self {
        self.auto = Some(meaning);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn live(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part after the dot.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// `NESSEN_SECTION_KEY`
    pub fn env_name(&self) -> String {
        format!("NESSEN_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// Every environment name: the long one, then the short ones.
    pub fn env_names(&self) -> impl Iterator<Item = String> {
        let short = self.aliases.iter().chain(&self.first);
        std::iter::once(self.env_name()).chain(short.map(|alias| (*alias).to_owned()))
    }

    /// What may be written, in words.
    pub fn allowed(&self) -> String {
        let time = |millis| Time(Duration::from_millis(millis));
        let plain = match self.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Count { min, max } => format!("{min} to {max}"),
            Kind::Size { min, max } => format!("{} to {}", Size(min), Size(max)),
            Kind::Time { min, max } => format!("{} to {}", time(min), time(max)),
            Kind::Rate => format!("1 B/s to {}/s, as in 500 B/s after 5s", Size(FASTEST)),
            Kind::Address => "an IPv4 or IPv6 address".to_owned(),
            Kind::Choice(words) => words.join(", "),
            Kind::HeaderName => "a header field name".to_owned(),
            Kind::HeaderValue => "a header field value".to_owned(),
            Kind::Networks => "a list of addresses, CIDRs, or private; or none".to_owned(),
            Kind::Methods => format!("a list of {}", super::value::METHODS.join(", ")),
            Kind::Hosts => "a list of hosts without port, *.example.com for all below it; or any".to_owned(),
            // Where there is no default, there has to be one.
            Kind::Upstreams if self.default.is_empty() => {
                "http://host:port, h2c, https or h2, or a list of them".to_owned()
            }
            Kind::Upstreams => "a list of http://host:port, h2c, https or h2; or none".to_owned(),
            Kind::Folder => "a folder".to_owned(),
            Kind::File => "a file".to_owned(),
            Kind::ServerName => "a host name or address, without port".to_owned(),
            Kind::Files => "a file, or a list of files".to_owned(),
            Kind::UrlPath { query: true } => "a path from /, with its query".to_owned(),
            Kind::UrlPath { query: false } => "a path from /, without .. and //".to_owned(),
            Kind::AnyMethods => "a list of method names, not CONNECT".to_owned(),
            Kind::Host => "a host without port, *.example.com for all below it".to_owned(),
            Kind::OneOf(numbers) => numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
            Kind::Text => "a text".to_owned(),
            Kind::Location => "an http:// or https:// URL, or a path from /".to_owned(),
            Kind::CheckName => "1 to 64 letters, digits, - and _".to_owned(),
            Kind::Store(StorePart::Place) => "a folder, or s3://bucket/prefix".to_owned(),
            Kind::Store(StorePart::Bucket) => {
                "3 to 63 lower-case letters, digits, dots and hyphens".to_owned()
            }
            Kind::Store(StorePart::Prefix) => {
                "letters, digits and !-_.*'()=, with slashes between".to_owned()
            }
            Kind::Store(StorePart::Region) => "a region, such as eu-central-1".to_owned(),
            Kind::Store(StorePart::Endpoint) => "https://host:port or http://host:port".to_owned(),
            Kind::Store(StorePart::Key) => "1 to 4096 printable characters".to_owned(),
            Kind::HostPort { port: None } => "host:port".to_owned(),
            Kind::HostPort { port: Some(port) } => format!("host or host:port ({port})"),
            Kind::HttpUrl => "http://host:port/path, or https".to_owned(),
            Kind::RedisUrl => "redis://user:password@host:port/database, or rediss://".to_owned(),
            Kind::RateKey => "address, header:NAME, or path:N, the Nth segment of the path".to_owned(),
            Kind::Url => "http://host:port/path or https://host:port/path".to_owned(),
            Kind::Ratio => "0 to 1".to_owned(),
            Kind::Pairs { .. } => "a list of key=value, values percent-encoded; or none".to_owned(),
            Kind::Words(words) => format!("a list of {}", words.join(", ")),
            Kind::Algorithms => format!("a list of {}", Algorithm::ALL.map(Algorithm::as_str).join(", ")),
        };
        let off = if self.off { "off, or " } else { "" };
        let auto = if self.auto.is_some() { "auto, or " } else { "" };
        format!("{auto}{off}{plain}")
    }
}

/// The sections, in the order of the reference and the example file.
pub(super) const SECTIONS: &[(&str, &str, &[Key])] = &[
    ("server", "Where to listen and whom to believe.", server::SERVER),
    ("admin", "A second listener, for what only operators should see.", server::ADMIN),
    ("tls", "HTTPS on the main port.", tls::TLS),
    ("limits", "What one client, and all of them together, can make the server spend.", limits::LIMITS),
    ("http2", "HTTP/2 by prior knowledge. A flood ends in GOAWAY(ENHANCE_YOUR_CALM).", http2::HTTP2),
    ("rate_limit", "A token bucket per client, in each process or shared in Redis.", rate_limit::RATE_LIMIT),
    ("shutdown", "The way out.", shutdown_log::SHUTDOWN),
    ("log", "Logs on standard output.", shutdown_log::LOG),
    (
        "tracing",
        "OpenTelemetry traces, over OTLP. The OTEL_* variables mean what they mean everywhere.",
        tracing::TRACING,
    ),
    ("metrics", "What /metrics shows besides.", tracing::METRICS),
    ("upstream", "The application behind a proxy. Any route can have its own.", upstream::UPSTREAM),
    ("files", "Files of a folder. Any route can have its own.", files::FILES),
    ("compression", "Compression of answers of text types that are not compressed yet.", files::COMPRESSION),
    ("evidence", "What was refused, kept for people to look at.", evidence::EVIDENCE),
    ("security_headers", "Fields added to answers that do not set them.", security_headers::SECURITY_HEADERS),
];

/// Every key, in order.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|(_, _, keys)| keys.iter())
}

/// The key at this path.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

#[cfg(test)]
mod tests;
