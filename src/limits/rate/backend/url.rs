//! `rate_limit.redis_url`

use std::fmt;

use crate::redact::REDACTED;

/// Where Redis is, and as whom to go there. What is shown of it holds neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// A name in lower case, or an address, of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken (`rediss`).
    pub tls: bool,
    /// The database.
    pub database: u16,
    user: Option<String>,
    password: Option<String>,
}

/// Where none is written.
const PORT: u16 = 6379;

impl RedisUrl {
    /// Reads `redis://user:password@host:port/database`, of which the host alone must be there, and
    /// `rediss://` likewise.
    ///
    /// # Errors
    /// What is wrong, in words that follow the value and hold nothing of it: whatever part of it may be the
    /// password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("has no redis:// or rediss:// in front")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("is of another scheme than redis:// and rediss://"),
        };
        if rest.contains(['?', '#']) {
            return Err("has a ? or #: in a user or password write %3F and %23; nothing else takes one");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (info, place) = match authority.rsplit_once('@') {
            Some((info, place)) => (Some(info), place),
            None => (None, authority),
        };
        if path.contains('@') {
            return Err("has an @ behind a slash: in a user or password write %2F for the slash");
        }
        let (host, port) = host_port(place)?;
        let database = match path {
            "" => 0,
            number => number.parse().map_err(|_| "has a database that is no number up to 65535")?,
        };
        let (user, password) = match info {
            None => (None, None),
            Some(info) => match info.split_once(':') {
                Some((user, password)) => (decode(user)?, decode(password)?),
                None => (decode(info)?, None),
            },
        };
        if user.is_some() && password.is_none() {
            return Err("has a user without a password; a password alone is written :password@");
        }
        Ok(Self { host, port, tls, database, user, password })
    }

    /// The user, where it is not the default one.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if there is one.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

fn host_port(place: &str) -> Result<(String, u16), &'static str> {
    const NO_HOST: &str = "has no host name or address where one belongs";
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(NO_HOST)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| NO_HOST)?;
            (host, port)
        }
        None => {
            let (host, port) = place.find(':').map_or((place, ""), |colon| place.split_at(colon));
            let label = |label: &str| {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                (1..=63).contains(&label.len()) && label.bytes().all(fits)
            };
            let name = host.strip_suffix('.').unwrap_or(host);
            if name.len() > 253 || !name.split('.').all(label) {
                return Err(NO_HOST);
            }
            (host, port)
        }
    };
    let port = match port {
        "" => PORT,
        port => match port.strip_prefix(':').and_then(|port| port.parse().ok()) {
            Some(port @ 1..) => port,
            _ => return Err("has a port that is no number from 1 to 65535"),
        },
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// Percent-encoding taken off (RFC 3986 section 2.1); `None` for nothing.
fn decode(text: &str) -> Result<Option<String>, &'static str> {
    const BAD: &str = "has a user or password in which a % is followed by no two hexadecimal digits of UTF-8";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or(BAD)?;
        // A sign, which the parser of numbers takes, is no digit.
        let digits =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or(BAD)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| BAD)?);
        rest = behind;
    }
    let text = String::from_utf8(bytes).map_err(|_| BAD)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss://" } else { "redis://" })?;
        if self.user.is_some() || self.password.is_some() {
            write!(f, "{REDACTED}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_in_all_its_parts() {
        for (text, shown, user, password) in [
            ("redis://cache", "redis://cache:6379", None, None),
            ("redis://Redis-Cluster:6380/3", "redis://redis-cluster:6380/3", None, None),
            ("rediss://:p%40ss@10.0.0.1", "rediss://[redacted]@10.0.0.1:6379", None, Some("p@ss")),
            ("redis://me:a:b@[::1]:1/0", "redis://[redacted]@[::1]:1", Some("me"), Some("a:b")),
            (
                "redis://m%3Ae:x@y@cache.example.",
                "redis://[redacted]@cache.example.:6379",
                Some("m:e"),
                Some("x@y"),
            ),
            ("valkey://cache/", "redis://cache:6379", None, None),
            ("redis://@cache", "redis://cache:6379", None, None),
        ] {
            let url = RedisUrl::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!((url.user(), url.password()), (user, password), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_any_of_it() {
        for text in [
            "",
            "cache:6379",
            "http://cache",
            "unix:///run/redis.sock",
            "redis://",
            "redis://:hunter2@",
            "redis://:hunter2@/1",
            "redis://:hunter2@cache:0",
            "redis://:hunter2@cache:70000",
            "redis://:hunter2@cache:x",
            "redis://:hunter2@cache/x",
            "redis://:hunter2@cache/65536",
            "redis://:hunter2@cache?protocol=3",
            "redis://:hunter2%@cache",
            "redis://:hunter2%zz@cache",
            "redis://:hunter2%+5@cache",
            "redis://:hunter2%ff@cache",
            "redis://me@cache",
            "redis://:hun/ter2@cache",
            "redis://[cache]",
            "redis://[::1",
            "redis://ca che",
            "redis://a..b",
            "redis://:hunter2#@cache",
        ] {
            let problem = RedisUrl::parse(text).expect_err(text);
            assert!(!problem.contains("hunter2") && !problem.contains("ter2"), "{problem}");
        }
    }
}
