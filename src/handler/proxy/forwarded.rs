//! Who asks, told to the upstream: `X-Forwarded-*`, `X-Real-IP`, and `Forwarded`
//! ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::exchange::Exchange;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whether the field tells who asks. From a peer that is not trusted none is passed on; from one
/// that is, those that are not written here again.
pub(super) fn is_forwarding(name: &HeaderName) -> bool {
    *name == header::FORWARDED || *name == REAL_IP || name.as_str().starts_with("x-forwarded-")
}

/// Whether [`write`] writes it.
pub(super) fn is_written(name: &HeaderName) -> bool {
    [FOR, HOST, PROTO, REAL_IP, header::FORWARDED].contains(name)
}

/// Writes the fields of this hop: behind what a trusted peer sent, in place of anybody else's.
pub(super) fn write(out: &mut HeaderMap, sent: &HeaderMap, exchange: &Exchange, host: Option<&HeaderValue>) {
    let believed = |name: &HeaderName| sent.get(name).filter(|_| exchange.trusted_peer);
    let peer = exchange.peer.ip().to_canonical();
    let mut text = String::with_capacity(64);

    join(&mut text, sent, &FOR, exchange.trusted_peer);
    // Writing to a String does not fail, here and below.
    let _ = write!(text, "{peer}");
    put(out, FOR, &text);

    let proto = believed(&PROTO).cloned().unwrap_or(HeaderValue::from_static("http"));
    let host = believed(&HOST).or(host);
    text.clear();
    join(&mut text, sent, &header::FORWARDED, exchange.trusted_peer);
    match peer {
        IpAddr::V4(_) => {
            let _ = write!(text, "for={peer}");
        }
        // Colons and brackets make it a quoted string.
        IpAddr::V6(_) => {
            let _ = write!(text, "for=\"[{peer}]\"");
        }
    }
    if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(|host| is_plain(host)) {
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        let _ = write!(text, ";host={quote}{host}{quote}");
    }
    let _ = write!(text, ";proto={}", if proto == "https" { "https" } else { "http" });
    put(out, header::FORWARDED, &text);

    out.insert(PROTO, proto);
    if let Some(host) = host {
        out.insert(HOST, host.clone());
    }
    text.clear();
    let _ = write!(text, "{}", exchange.client);
    put(out, REAL_IP, &text);
}

/// Nothing that would end the quoted string.
fn is_plain(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// What a trusted peer sent in a field that is a list, to be gone on with.
fn join(text: &mut String, sent: &HeaderMap, name: &HeaderName, trusted: bool) {
    if !trusted {
        return;
    }
    for value in sent.get_all(name) {
        // What is not whole would swallow what is written behind it.
        if let Ok(value) = value.to_str()
            && !value.trim().is_empty()
            && is_whole(value)
        {
            text.push_str(value.trim());
            text.push_str(", ");
        }
    }
}

/// Whether every quoted string ends.
fn is_whole(list: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in list.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

fn put(out: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        out.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::protocol::Protocol;

    fn written(peer: &str, trusted: bool, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let mut exchange = Exchange::new(peer, "9.9.9.9".parse().unwrap(), Protocol::Http1, Instant::now());
        exchange.trusted_peer = trusted;
        let headers =
            sent.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut out = HeaderMap::new();
        let host = HeaderValue::from_static("example.com:8080");
        write(&mut out, &headers.collect(), &exchange, Some(&host));
        out
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        let sent = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6"),
        ];
        let out = written("1.2.3.4:5", false, &sent);
        assert_eq!(out["x-forwarded-for"], "1.2.3.4");
        assert_eq!(out["x-forwarded-proto"], "http");
        assert_eq!(out["x-forwarded-host"], "example.com:8080");
        assert_eq!(out["forwarded"], "for=1.2.3.4;host=\"example.com:8080\";proto=http");
        assert_eq!(out["x-real-ip"], "9.9.9.9");
    }

    #[test]
    fn a_quoted_string_that_does_not_end_is_left_out() {
        let sent = [("forwarded", "for=\"[::1]"), ("x-forwarded-for", "6.6.6.6")];
        let out = written("1.2.3.4:5", true, &sent);
        assert_eq!(out["forwarded"], "for=1.2.3.4;host=\"example.com:8080\";proto=http");
        assert!(is_whole("a=\"b\\\"c\", d") && !is_whole("a=\"b\\\""));
    }

    #[test]
    fn a_trusted_peer_is_gone_on_with() {
        let sent = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=6.6.6.6"),
        ];
        let out = written("[2001:db8::1]:5", true, &sent);
        assert_eq!(out["x-forwarded-for"], "6.6.6.6, 2001:db8::1");
        assert_eq!(out["x-forwarded-proto"], "https");
        assert_eq!(out["x-forwarded-host"], "shop.example");
        assert_eq!(out["forwarded"], "for=6.6.6.6, for=\"[2001:db8::1]\";host=shop.example;proto=https");
    }
}
