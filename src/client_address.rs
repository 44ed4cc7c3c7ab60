//! Who is asking: the socket's other end, or whom a trusted proxy says it speaks for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// The peers whose `X-Forwarded-*`, `Forwarded` and request id are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `address` is one of them. An IPv4 address mapped into IPv6 is taken for what it is.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The networks, as configured.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// The client behind `peer`.
    ///
    /// Only a trusted peer is asked, and only as far back as the chain of trusted proxies goes:
    /// from the right, the first address that is not trusted is the client. `X-Forwarded-For`
    /// comes before `Forwarded`: a proxy that writes the first commonly passes the second on
    /// untouched, so the second would be the client's own word.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let chain: &mut dyn Iterator<Item = Option<IpAddr>> = if headers.contains_key("x-forwarded-for") {
            &mut headers
                .get_all("x-forwarded-for")
                .iter()
                .rev()
                .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
                .map(node_address)
        } else {
            &mut headers
                .get_all("forwarded")
                .iter()
                .rev()
                .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
                .map(|element| forwarded_for(element).and_then(node_address))
        };
        for hop in chain {
            // SECURITY: an entry that is no address ends the chain: what stands left of it was
            // written by nobody we know.
            let Some(hop) = hop else { break };
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client
    }
}

/// The `for=` of one element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    element.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })
}

/// An address as it stands in a forwarding field: bare, quoted, in brackets, with a port.
fn node_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_matches('"');
    let bare = if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']')?.0
    } else if text.matches(':').count() == 1 {
        text.split_once(':')?.0
    } else {
        text
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Appends an address as text. By hand for IPv4, which is most: the general formatter would cost
/// more than all else that is done with it.
pub fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let (mut text, mut length) = ([0; 16], 0);
            let mut put = |byte| {
                if let Some(place) = text.get_mut(length) {
                    (*place, length) = (byte, length + 1);
                }
            };
            for octet in v4.octets() {
                if octet >= 100 {
                    put(b'0' + octet / 100);
                }
                if octet >= 10 {
                    put(b'0' + octet / 10 % 10);
                }
                put(b'0' + octet % 10);
                put(b'.');
            }
            // Without the last dot.
            out.extend_from_slice(text.get(..length - 1).unwrap_or_default());
        }
        IpAddr::V6(v6) => {
            use std::io::Write;
            // Writing to a Vec does not fail.
            let _ = write!(out, "{v6}");
        }
    }
}

/// The unit that per-client limits count: an IPv4 address, or an IPv6 /64, which is what one
/// subscriber is given and can change within at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(IpAddr);

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & (u128::MAX << 64);
                Self(IpAddr::V6(Ipv6Addr::from(prefix)))
            }
            v4 => Self(v4),
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, fields: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies::new(trusted.iter().map(|net| net.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn an_untrusted_peer_speaks_only_for_itself() {
        let xff = [("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client(&[], "9.9.9.9", &xff), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "9.9.9.9", &xff), "9.9.9.9");
    }

    #[test]
    fn the_client_is_the_first_untrusted_address_from_the_right() {
        let trusted = ["10.0.0.0/8"];
        let chain = [("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9")];
        assert_eq!(client(&trusted, "10.0.0.1", &chain), "1.2.3.4");
        let split = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4:5555")];
        assert_eq!(client(&trusted, "::ffff:10.0.0.1", &split), "1.2.3.4");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_chain() {
        let chain = [("x-forwarded-for", "1.2.3.4, unknown, 10.0.0.9")];
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &chain), "10.0.0.9");
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
        let trusted = ["10.0.0.0/8"];
        let fields = [("forwarded", "for=6.6.6.6, For=\"[2001:db8::1]:443\";proto=https")];
        assert_eq!(client(&trusted, "10.0.0.1", &fields), "2001:db8::1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client(&trusted, "10.0.0.1", &both), "1.2.3.4");
    }

    #[test]
    fn an_ipv6_client_is_its_64_bit_prefix() {
        let key = |address: &str| ClientKey::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
    }
}
