//! Where an upstream is: `http://app:8080`, or `h2c://app:8080` for HTTP/2 by prior knowledge; within TLS
//! `https://app:8443`, and `h2://app:8443` for HTTP/2.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of the longest name of RFC 1035, without the dot at its end.
const LONGEST_NAME: usize = 253;
/// Bytes of the longest label of a name.
const LONGEST_LABEL: usize = 63;

/// One upstream. What is at its address may be several: a name can have many addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    /// How it is spoken to.
    pub protocol: UpstreamProtocol,
    /// A name in lower case, or an address; IPv6 without its brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// `http://`: HTTP/1.1
    Http1,
    /// `h2c://`: HTTP/2 in plain text, by prior knowledge.
    H2c,
    /// `https://`: HTTP/1.1 within TLS.
    Https,
    /// `h2://`: HTTP/2 within TLS, which has to be agreed on by ALPN (RFC 9113 section 3.3).
    H2,
}

impl UpstreamProtocol {
    /// The scheme, as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
            Self::H2 => "h2",
        }
    }

    /// Whether it is HTTP/2.
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// Whether it is spoken within TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// The port where none is written.
    const fn default_port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }
}

impl UpstreamUrl {
    /// Host and port as a `Host` field has them: IPv6 in brackets, without the default port.
    pub fn authority(&self) -> String {
        let host = Bracketed(&self.host);
        if self.port == self.protocol.default_port() {
            host.to_string()
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// IPv6 addresses in brackets, all else as it is.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.as_str(), Bracketed(&self.host), self.port)
    }
}

/// Why a text is no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamUrlError {
    /// No scheme at all.
    NoScheme,
    /// A scheme that is not known here.
    Scheme,
    /// `user:password@`
    UserInfo,
    /// A path of its own.
    Path,
    /// `?…`
    Query,
    /// `#…`
    Fragment,
    /// Nothing where the host should be.
    NoHost,
    /// Neither a name nor an address.
    Host,
    /// Not 1 to 65535.
    Port,
}

impl fmt::Display for UpstreamUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "has no scheme; did you forget http://?",
            Self::Scheme => "has a scheme that is not known here; did you forget http://?",
            Self::UserInfo => "has a user or password, which no upstream is sent",
            Self::Path => "has a path; the path of the request is passed on as it is",
            Self::Query => "has a query",
            Self::Fragment => "has a fragment",
            Self::NoHost => "has no host",
            Self::Host => "has a host that is neither a name nor an address (IPv6 stands in brackets)",
            Self::Port => "has a port that is not 1 to 65535",
        })
    }
}

impl std::error::Error for UpstreamUrlError {}

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `app:8080` is what people write first, and would otherwise have the scheme `app`.
        let (scheme, rest) = text.split_once("://").ok_or(UpstreamUrlError::NoScheme)?;
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "http" => UpstreamProtocol::Http1,
            "h2c" => UpstreamProtocol::H2c,
            "https" => UpstreamProtocol::Https,
            "h2" => UpstreamProtocol::H2,
            "" => return Err(UpstreamUrlError::NoScheme),
            _ => return Err(UpstreamUrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UpstreamUrlError::UserInfo);
        }
        if tail.contains('#') {
            return Err(UpstreamUrlError::Fragment);
        }
        if tail.contains('?') {
            return Err(UpstreamUrlError::Query);
        }
        if !matches!(tail, "" | "/") {
            return Err(UpstreamUrlError::Path);
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self { protocol, host, port: port.unwrap_or(protocol.default_port()) })
    }
}

/// Takes `host`, `host:port` or `[address]:port` apart; the host in lower case, IPv6 without
/// brackets.
///
/// # Errors
/// There is no host, it is neither a name nor an address, or the port is none.
pub fn host_and_port(authority: &str) -> Result<(String, Option<u16>), UpstreamUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']').ok_or(UpstreamUrlError::Host)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| UpstreamUrlError::Host)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(UpstreamUrlError::Host),
            };
            (address.to_string(), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            // A second colon: an IPv6 address without its brackets, not a bad port.
            if port.is_some_and(|port| port.contains(':')) {
                return Err(UpstreamUrlError::Host);
            }
            if host.is_empty() {
                return Err(UpstreamUrlError::NoHost);
            }
            if !is_name_or_address(host) {
                return Err(UpstreamUrlError::Host);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = port.map(|text| parse_port(text).ok_or(UpstreamUrlError::Port)).transpose()?;
    Ok((host, port))
}

/// Digits alone: the parser of the standard library would take a sign.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

/// Whether `host` is an IPv4 address or a name; one dot at its end makes a name absolute.
fn is_name_or_address(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // No top-level domain is a number: `10.0.0.300` is an address gone wrong.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    name.len() <= LONGEST_NAME && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_read_and_shown_and_read_again() {
        for (text, shown, authority) in [
            ("http://app:8080", "http://app:8080", "app:8080"),
            ("http://app", "http://app:80", "app"),
            ("http://app/", "http://app:80", "app"),
            ("HTTP://App.Example:80", "http://app.example:80", "app.example"),
            ("h2c://app:50051", "h2c://app:50051", "app:50051"),
            ("https://app", "https://app:443", "app"),
            ("HTTPS://app:80", "https://app:80", "app:80"),
            ("h2://app:443/", "h2://app:443", "app"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000/", "http://[::1]:3000", "[::1]:3000"),
            ("http://[2001:DB8:0::1]", "http://[2001:db8::1]:80", "[2001:db8::1]"),
            (
                "http://app.ns.svc.cluster.local.:1",
                "http://app.ns.svc.cluster.local.:1",
                "app.ns.svc.cluster.local.:1",
            ),
            ("http://my_app-1:65535", "http://my_app-1:65535", "my_app-1:65535"),
        ] {
            let url: UpstreamUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.authority(), authority);
            assert_eq!(shown.parse(), Ok(url));
        }
        let url: UpstreamUrl = "http://[::1]".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.protocol), ("::1", 80, UpstreamProtocol::Http1));
    }

    #[test]
    fn what_is_no_upstream_says_why() {
        use UpstreamUrlError as Error;
        let long = format!("http://{}", "a.".repeat(127) + "aa");
        for (text, error) in [
            ("app:8080", Error::NoScheme),
            ("app", Error::NoScheme),
            ("//app", Error::NoScheme),
            ("://app", Error::NoScheme),
            ("", Error::NoScheme),
            ("ftp://app", Error::Scheme),
            ("unix:///run/app.sock", Error::Scheme),
            ("http://user:secret@app", Error::UserInfo),
            ("http://@app", Error::UserInfo),
            ("http://app/api", Error::Path),
            ("http://app//", Error::Path),
            ("http://app?a=1", Error::Query),
            ("http://app/?", Error::Query),
            ("http://app#top", Error::Fragment),
            ("http://app/?a#top", Error::Fragment),
            ("http://", Error::NoHost),
            ("http://:80", Error::NoHost),
            ("http:///", Error::NoHost),
            ("http://app:0", Error::Port),
            ("http://app:", Error::Port),
            ("http://app:+1", Error::Port),
            ("http://app:65536", Error::Port),
            ("http://app:http", Error::Port),
            ("http://[::1]:0", Error::Port),
            ("http://::1:80", Error::Host),
            ("http://[::1", Error::Host),
            ("http://[::1]80", Error::Host),
            ("http://[fe80::1%eth0]", Error::Host),
            ("http://10.0.0.300", Error::Host),
            ("http://10.1", Error::Host),
            ("http://a..b", Error::Host),
            ("http://.", Error::Host),
            ("http://my app", Error::Host),
            ("http://äpp", Error::Host),
            (long.as_str(), Error::Host),
        ] {
            assert_eq!(text.parse::<UpstreamUrl>(), Err(error), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }
}
