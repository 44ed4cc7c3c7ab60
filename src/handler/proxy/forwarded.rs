//! Who asks, told to the upstream: `X-Forwarded-*`, `X-Real-IP`, and `Forwarded`
//! ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::client_address::write_address;
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
    let proto = believed(&PROTO).cloned().unwrap_or(HeaderValue::from_static("http"));
    let host = believed(&HOST).or(host);

    // One buffer for all three, cut up at its end.
    let mut text = Vec::with_capacity(192);
    join(&mut text, sent, &FOR, exchange.trusted_peer);
    write_address(&mut text, peer);
    let end_of_for = text.len();

    join(&mut text, sent, &header::FORWARDED, exchange.trusted_peer);
    // Colons and brackets make it a quoted string.
    let (before, after): (&[u8], &[u8]) = if peer.is_ipv6() { (b"for=\"[", b"]\"") } else { (b"for=", b"") };
    text.extend_from_slice(before);
    write_address(&mut text, peer);
    text.extend_from_slice(after);
    if let Some(host) = host.map(HeaderValue::as_bytes).filter(|host| is_plain(host)) {
        let quote: &[u8] = if host.contains(&b':') || host.contains(&b'[') { b"\"" } else { b"" };
        for part in [b";host=", quote, host, quote] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(if proto == "https" { b";proto=https" } else { b";proto=http" });
    let end_of_forwarded = text.len();

    write_address(&mut text, exchange.client);

    let mut text = Bytes::from(text);
    put(out, FOR, text.split_to(end_of_for));
    put(out, header::FORWARDED, text.split_to(end_of_forwarded - end_of_for));
    put(out, REAL_IP, text);
    out.insert(PROTO, proto);
    if let Some(host) = host {
        out.insert(HOST, host.clone());
    }
}

/// Nothing that would end the quoted string.
fn is_plain(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte))
}

/// What a trusted peer sent in a field that is a list, to be gone on with.
fn join(text: &mut Vec<u8>, sent: &HeaderMap, name: &HeaderName, trusted: bool) {
    if !trusted {
        return;
    }
    for value in sent.get_all(name) {
        // What is not whole would swallow what is written behind it.
        if let Ok(value) = value.to_str()
            && !value.trim().is_empty()
            && is_whole(value)
        {
            text.extend_from_slice(value.trim().as_bytes());
            text.extend_from_slice(b", ");
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

fn put(out: &mut HeaderMap, name: HeaderName, text: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(text) {
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
