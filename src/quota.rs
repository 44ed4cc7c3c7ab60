//! What a client is told of where it stands with its rate limit: `RateLimit-Policy` and `RateLimit`
//! ([draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/)).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Told with every answer while there is a limit, and so kept as numbers until an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests in a window.
    pub requests: u64,
    /// The window, in seconds.
    pub window: u64,
    /// Requests that may still come at once.
    pub remaining: u64,
    /// Seconds until it stands as at the beginning.
    pub reset: u64,
}

impl Quota {
    /// The two fields.
    pub fn fields(&self) -> [(HeaderName, HeaderValue); 2] {
        let value = |write: fn(&Self, &mut Vec<u8>)| {
            let mut text = Vec::with_capacity(64);
            write(self, &mut text);
            HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
        };
        [(POLICY, value(Self::policy)), (LIMIT, value(Self::limit))]
    }

    /// The two fields as HTTP/1.1 writes them, each with the end of its line.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"ratelimit-policy: ");
        self.policy(into);
        into.extend_from_slice(b"\r\nratelimit: ");
        self.limit(into);
        into.extend_from_slice(b"\r\n");
    }

    /// Whether `headers` has one of them.
    pub fn is_in(headers: &HeaderMap) -> bool {
        headers.keys().any(|name| *name == POLICY || *name == LIMIT)
    }

    fn policy(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"\"default\";q=");
        number(self.requests, into);
        into.extend_from_slice(b";w=");
        number(self.window, into);
    }

    fn limit(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"\"default\";r=");
        number(self.remaining, into);
        into.extend_from_slice(b";t=");
        number(self.reset, into);
    }
}

fn number(number: u64, into: &mut Vec<u8>) {
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_and_the_lines_tell_the_same() {
        let quota = Quota { requests: u64::MAX, window: 61, remaining: 0, reset: 10 };
        let mut lines = Vec::new();
        quota.write(&mut lines);
        let text = "ratelimit-policy: \"default\";q=18446744073709551615;w=61\r\nratelimit: \"default\";r=0;t=10\r\n";
        assert_eq!(String::from_utf8_lossy(&lines), text);
        let fields: HeaderMap = quota.fields().into_iter().collect();
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\r\n", value.to_str().unwrap());
        assert_eq!(fields.iter().map(line).collect::<String>(), text);
    }

    #[test]
    fn either_of_them_is_found() {
        let found =
            |name| Quota::is_in(&HeaderMap::from_iter([(HeaderName::from_static(name), POLICY.into())]));
        assert!(found("ratelimit") && found("ratelimit-policy") && !found("ratelimit-reset"));
    }
}
