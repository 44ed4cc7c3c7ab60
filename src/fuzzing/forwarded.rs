//! `X-Forwarded-For` and `Forwarded`: whom a trusted proxy says it speaks for, and what the next hop
//! is told.
//!
//! A line is one field: `x...` is `X-Forwarded-For`, `f...` is `Forwarded`; `p...` is the peer.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::client_address::TrustedProxies;
use crate::exchange::Exchange;
use crate::handler::proxy::forwarded;
use crate::protocol::Protocol;

/// Whose word is taken.
const TRUSTED: [&str; 3] = ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"];

pub(super) fn run(data: &[u8]) {
    let trusted = TrustedProxies::new(TRUSTED.iter().map(|network| network.parse().unwrap()).collect());
    let mut peer: IpAddr = "10.0.0.1".parse().unwrap();
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else { continue };
        match (kind, HeaderValue::from_bytes(value)) {
            (b'x', Ok(value)) => _ = fields.append("x-forwarded-for", value),
            (b'f', Ok(value)) => _ = fields.append("forwarded", value),
            (b'p', _) => peer = str_of(value).parse().unwrap_or(peer),
            _ => {}
        }
    }
    let client = trusted.client(peer, &fields);
    believes_no_more_than_the_chain(&trusted, peer, &fields, client);

    let mut exchange = Exchange::new(SocketAddr::new(peer, 5), client, Protocol::Http1, Instant::now());
    exchange.trusted_peer = trusted.trusts(peer);
    let mut out = HeaderMap::new();
    forwarded::write(&mut out, &fields, &exchange, Some(&HeaderValue::from_static("a.example:80")));
    // The next hop trusts us, and whom we trust: it must come to the same client by either field.
    let ours = "10.255.255.255".parse().unwrap();
    assert_eq!(trusted.client(ours, &out), client, "X-Forwarded-For, from {fields:?} by {peer}: {out:?}");
    if !fields.contains_key("x-forwarded-for") {
        out.remove("x-forwarded-for");
        assert_eq!(trusted.client(ours, &out), client, "Forwarded, from {fields:?} by {peer}: {out:?}");
    }
}

/// The client is the peer; or a hop that stands in the field, with nothing but trusted hops between
/// it and us.
fn believes_no_more_than_the_chain(
    trusted: &TrustedProxies,
    peer: IpAddr,
    fields: &HeaderMap,
    client: IpAddr,
) {
    let peer = peer.to_canonical();
    if client == peer {
        return;
    }
    assert!(trusted.trusts(peer), "{peer} is believed, and not trusted");
    let name = if fields.contains_key("x-forwarded-for") { "x-forwarded-for" } else { "forwarded" };
    let text: Vec<String> =
        fields.get_all(name).iter().map(|value| str_of(value.as_bytes()).into_owned()).collect();
    let text = text.join(",");
    for element in text.rsplit(',') {
        let hop = address_in(element, name == "forwarded");
        if hop == Some(client) {
            return;
        }
        assert!(
            hop.is_some_and(|hop| trusted.trusts(hop)),
            "{client} is behind {element:?}, which is not trusted: {text:?}"
        );
    }
    panic!("{client} does not stand in {text:?}");
}

/// The address that an element names, read in another way than the product does.
fn address_in(element: &str, with_name: bool) -> Option<IpAddr> {
    let node = if with_name {
        let mut pairs = element.split(';').map(str::trim_ascii);
        pairs.find(|pair| pair.to_ascii_lowercase().starts_with("for="))?.get(4..)?
    } else {
        element
    };
    let node = node.trim().trim_matches('"');
    let whole = node.parse::<IpAddr>().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let loose = || {
        let inner = match node.strip_prefix('[') {
            Some(rest) => rest.split(']').next()?,
            None => node.split(':').next()?,
        };
        inner.parse().ok()
    };
    whole.or_else(with_port).or_else(loose).map(|address| address.to_canonical())
}

fn str_of(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
