//! Who asks, told to the upstream: `X-Forwarded-*`, `X-Real-IP`, and `Forwarded`
//! ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::head::Sink;
use crate::client_address::write_address;
use crate::exchange::Exchange;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// As Envoy writes it.
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
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
pub(crate) fn write(out: &mut impl Sink, sent: &HeaderMap, exchange: &Exchange, host: Option<&HeaderValue>) {
    let believed = |name: &HeaderName| if exchange.trusted_peer { sent.get(name) } else { None };
    let peer = exchange.peer.ip().to_canonical();
    let scheme = if exchange.tls.is_some() { "https" } else { "http" };
    let proto = believed(&PROTO).cloned().unwrap_or(HeaderValue::from_static(scheme));
    let host = believed(&HOST).or(host);

    let (mut text, mut address) = (Vec::with_capacity(128), Vec::with_capacity(40));
    write_address(&mut address, peer);
    join(&mut text, sent, &FOR, exchange, write_address);
    text.extend_from_slice(&address);
    out.put_made(&FOR, &text);

    text.clear();
    join(&mut text, sent, &header::FORWARDED, exchange, node);
    put_node(&mut text, peer, |text| text.extend_from_slice(&address));
    if let Some(host) = host.map(HeaderValue::as_bytes).filter(|host| is_plain(host)) {
        let quote: &[u8] = if host.contains(&b':') || host.contains(&b'[') { b"\"" } else { b"" };
        for part in [b";host=", quote, host, quote] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(if proto == "https" { b";proto=https" } else { b";proto=http" });
    out.put_made(&header::FORWARDED, &text);

    if exchange.client.to_canonical() != peer {
        address.clear();
        write_address(&mut address, exchange.client);
    }
    out.put_made(&REAL_IP, &address);
    out.put(&PROTO, &proto);
    // SECURITY: anybody else's is none of those that are passed on ([`is_forwarding`]).
    if let Some(certificate) =
        exchange.client_certificate.as_ref().filter(|_| believed(&CLIENT_CERT).is_none())
    {
        out.put_made(&CLIENT_CERT, certificate.as_bytes());
    }
    if let Some(host) = host {
        out.put(&HOST, host);
    }
}

/// An address as one node. Colons and brackets make it a quoted string.
fn node(text: &mut Vec<u8>, address: IpAddr) {
    let address = address.to_canonical();
    put_node(text, address, |text| write_address(text, address));
}

fn put_node(text: &mut Vec<u8>, address: IpAddr, write: impl Fn(&mut Vec<u8>)) {
    let (before, after): (&[u8], &[u8]) =
        if address.is_ipv6() { (b"for=\"[", b"]\"") } else { (b"for=", b"") };
    text.extend_from_slice(before);
    write(text);
    text.extend_from_slice(after);
}

/// Nothing that would end the quoted string.
fn is_plain(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte))
}

/// What a trusted peer sent in a field that is a list, to be gone on with; `put` writes an address as
/// an element of it.
fn join(
    text: &mut Vec<u8>,
    sent: &HeaderMap,
    name: &HeaderName,
    exchange: &Exchange,
    put: impl Fn(&mut Vec<u8>, IpAddr),
) {
    if !exchange.trusted_peer {
        return;
    }
    // SECURITY: the client as it was understood, in the place of what cannot be passed on. Without it,
    // what stands left of the gap would be taken for the word of whoever stands right of it.
    let begin = |text: &mut Vec<u8>| {
        text.clear();
        put(text, exchange.client);
        text.extend_from_slice(b", ");
    };
    if !sent.contains_key(name) && exchange.client != exchange.peer.ip().to_canonical() {
        // A proxy in front may write the other field alone; both are to tell of the same client.
        begin(text);
    }
    for value in sent.get_all(name) {
        // What is not whole would swallow what is written behind it.
        match value.to_str().map(str::trim) {
            Ok(value) if !value.is_empty() && is_whole(value) => {
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b", ");
            }
            _ => begin(text),
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
        let own = "for=1.2.3.4;host=\"example.com:8080\";proto=http";
        assert_eq!(out["forwarded"], format!("for=9.9.9.9, {own}"));
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
