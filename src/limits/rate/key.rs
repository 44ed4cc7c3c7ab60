//! Whom a limit counts: an address, a field of the request, or a part of its path.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderName, Request};
use ring::digest::{Context, SHA256};

use crate::client_address::ClientKey;
use crate::path::normal;

/// What tells one client from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyBy {
    /// The address (IPv6 by /64).
    #[default]
    Address,
    /// The value of this field. Who has none, an empty one, or more than one, is counted by address.
    ///
    /// SECURITY: a client can make up as many values as it likes. For fields that somebody in front has
    /// checked.
    Header(HeaderName),
    /// The segment of the path at this place, from 1, in the spelling that routes are chosen by. Where
    /// there is none, the address counts.
    Path(u8),
}

/// The most segments into a path.
pub(super) const DEEPEST: u8 = 32;

impl KeyBy {
    /// Reads `address`, `header:NAME` and `path:N`.
    ///
    /// # Errors
    /// What is wrong, in words that follow the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match (kind.trim().to_ascii_lowercase().as_str(), rest.trim()) {
            ("address", "") => Ok(Self::Address),
            ("header", name) => match name.parse() {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err("names no header field".to_owned()),
            },
            ("path", place) => match place.parse() {
                Ok(place @ 1..=DEEPEST) => Ok(Self::Path(place)),
                _ => Err(format!("is no place in a path: 1 to {DEEPEST}")),
            },
            _ => Err("is not one of the kinds known here".to_owned()),
        }
    }

    /// Whom this request counts for.
    pub(super) fn key<B>(&self, client: IpAddr, request: &Request<B>) -> Key {
        let found = match self {
            Self::Address => None,
            Self::Header(name) => {
                let mut values = request.headers().get_all(name).iter();
                // SECURITY: of two values an application may read the other one.
                match (values.next(), values.next()) {
                    (Some(value), None) if !value.is_empty() => {
                        Some(Key::digest(b"header", value.as_bytes()))
                    }
                    _ => None,
                }
            }
            Self::Path(place) => {
                let path = normal(request.uri().path());
                let segment = path.split('/').nth(usize::from(*place)).filter(|segment| !segment.is_empty());
                segment.map(|segment| Key::digest(b"path", segment.as_bytes()))
            }
        };
        found.unwrap_or_else(|| Key::Client(client.into()))
    }
}

impl fmt::Display for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Path(place) => write!(f, "path:{place}"),
        }
    }
}

/// One of those whom a limit counts. As large as an address, whatever it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Client(ClientKey),
    /// SECURITY: in place of what the client sent, which may be a secret and is of any length; the same in
    /// every process, so that they can share a limit.
    Digest([u8; 16]),
}

impl Key {
    fn digest(kind: &[u8], value: &[u8]) -> Self {
        Self::Digest(digest(&[kind, value]))
    }
}

impl fmt::Display for Key {
    /// As in Redis: an operator can look an address up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "a:{client}"),
            Self::Digest(digest) => {
                f.write_str("d:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Half a SHA-256 of these parts, told apart by their lengths.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut half = [0; 16];
    half.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(by: &str, path: &str, fields: &[&str]) -> String {
        let mut request = Request::builder().uri(path);
        for value in fields {
            request = request.header("x-key", *value);
        }
        let client = "192.0.2.1".parse().unwrap();
        KeyBy::parse(by).unwrap().key(client, &request.body(()).unwrap()).to_string()
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_is_said() {
        for by in ["address", "header:x-api-key", "path:1", "path:32"] {
            assert_eq!(KeyBy::parse(by).unwrap().to_string(), by);
        }
        assert_eq!(KeyBy::parse("Header: X-API-Key").unwrap().to_string(), "header:x-api-key");
        for by in
            ["", "addresses", "address:1", "header:", "header:a b", "path:", "path:0", "path:33", "path:x"]
        {
            assert!(KeyBy::parse(by).is_err(), "{by}");
        }
    }

    #[test]
    fn a_field_counts_by_its_digest_and_by_address_where_it_is_missing_or_doubtful() {
        let one = key("header:x-key", "/", &["secret"]);
        assert!(one.starts_with("d:") && one.len() == 34 && !one.contains("secret"), "{one}");
        assert_eq!(one, key("header:x-key", "/other", &["secret"]));
        assert_ne!(one, key("header:x-key", "/", &["Secret"]));
        assert_eq!(key("header:x-key", "/", &[&"x".repeat(16_384)]).len(), 34);
        for doubtful in [&[][..], &["a", "b"], &[""]] {
            assert_eq!(key("header:x-key", "/", doubtful), "a:192.0.2.1");
        }
        assert_eq!(key("address", "/", &["secret"]), "a:192.0.2.1");
    }

    /// Or whoever spells it anew each time is never counted twice.
    #[test]
    fn a_segment_counts_in_its_one_spelling() {
        let acme = key("path:2", "/tenants/acme/orders", &[]);
        assert!(acme.starts_with("d:"));
        for same in ["/tenants/%61cme", "//tenants//acme/x", "/x/../tenants/./ac%6De;v=1?q=1", "/other/acme"]
        {
            assert_eq!(key("path:2", same, &[]), acme, "{same}");
        }
        assert_ne!(key("path:2", "/tenants/acme2", &[]), acme);
        for none in ["/tenants", "/tenants/", "/"] {
            assert_eq!(key("path:2", none, &[]), "a:192.0.2.1", "{none}");
        }
    }

    #[test]
    fn a_key_is_no_larger_than_an_address() {
        assert_eq!(size_of::<Key>(), size_of::<IpAddr>());
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
