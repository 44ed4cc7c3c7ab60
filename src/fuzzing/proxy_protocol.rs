//! The PROXY protocol: the first bytes of a connection from a trusted proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::proxy_protocol::{Parsed, parse};

/// The longest header that is taken: that of version 2, with 4096 bytes of addresses and extensions.
const LONGEST: usize = 16 + 4096;

pub(super) fn run(data: &[u8]) {
    let parsed = parse(data);
    match parsed {
        Parsed::Whole(length, source) => {
            assert!(length <= data.len() && length <= LONGEST, "{length} of {} bytes", data.len());
            let (header, behind) = data.split_at(length);
            assert_eq!(parse(header), parsed, "what stands behind a header has no say in it");
            let other: Vec<u8> = behind.iter().map(|byte| byte ^ 0x5a).chain(*b"\r\n\0").collect();
            assert_eq!(parse(&[header, &other].concat()), parsed, "nor has what stands there instead");
            for cut in 0..length {
                let part = parse(&header[..cut]);
                assert!(matches!(part, Parsed::Undecided | Parsed::Part), "cut at {cut}: {part:?}");
            }
            assert_eq!(source, named_by(header), "{header:?}");
        }
        // More does not mend it, nor turn it into something else.
        Parsed::Absent => assert_eq!(parse(&[data, b"PROXY TCP4"].concat()), Parsed::Absent),
        Parsed::Broken(_) => {
            let more = parse(&[data, b"\r\n0"].concat());
            assert!(matches!(more, Parsed::Broken(_)), "{more:?}");
        }
        Parsed::Undecided => assert!(data.len() < 12),
        Parsed::Part => assert!(data.len() < LONGEST),
    }
    // It is the same however it comes: the first part that decides decides for good.
    let decided = (0..=data.len())
        .map(|cut| parse(&data[..cut]))
        .find(|parsed| !matches!(parsed, Parsed::Undecided | Parsed::Part));
    if let Some(decided) = decided {
        assert!(decided == parsed, "{decided:?} of a part, {parsed:?} of all");
    }
}

/// The client that a header names, read in another way than the product does.
fn named_by(header: &[u8]) -> Option<SocketAddr> {
    if let Some(line) = header.strip_prefix(b"PROXY ") {
        let line = std::str::from_utf8(line).unwrap().strip_suffix("\r\n").expect("a line ends in CRLF");
        assert!(!line.contains(['\r', '\n', '\0']) && header.len() <= 107);
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "UNKNOWN" {
            return None;
        }
        let [family, source, destination, port, other] = words[..] else { panic!("{line:?}") };
        let [source, destination] =
            [source, destination].map(|address| address.parse::<IpAddr>().expect("an address"));
        assert!(source.is_ipv4() == (family == "TCP4") && destination.is_ipv4() == source.is_ipv4());
        let [port, _] = [port, other].map(|text| {
            let port = text.parse::<u16>().expect("a port");
            assert_eq!(port.to_string(), text, "a port is written in one way");
            port
        });
        return Some(SocketAddr::new(source, port));
    }
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(header.len(), 16 + length);
    assert_eq!(header[12] >> 4, 2, "version");
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    match (header[12] & 0xf, header[13]) {
        (1, 0x11) => {
            let octets: [u8; 4] = header[16..20].try_into().unwrap();
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), number(24)))
        }
        (1, 0x21) => {
            let octets: [u8; 16] = header[16..32].try_into().unwrap();
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), number(48)))
        }
        (0 | 1, _) => None,
        (command, _) => panic!("command {command}"),
    }
}
