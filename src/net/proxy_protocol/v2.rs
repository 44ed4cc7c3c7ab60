//! Version 2: a binary header.

use std::net::{IpAddr, SocketAddr};

use super::Parsed;

/// With this a header begins: bytes that no other protocol begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED: usize = 16;
/// Bytes of addresses and extensions that are looked at; those of real proxies take a few hundred.
const LONGEST: usize = 4096;
/// The type of the extension that holds a checksum over the header.
const CHECKSUM: u8 = 0x03;

/// Reads a header that begins with the signature.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let local = match bytes.get(12) {
        None => return Parsed::Part,
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Parsed::Broken("the PROXY header's version or command is unknown"),
    };
    let Some([family, high, low]) = bytes.get(13..FIXED) else { return Parsed::Part };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST {
        return Parsed::Broken("the PROXY header is over 4096 bytes");
    }
    let end = FIXED + length;
    let (Some(header), Some(block)) = (bytes.get(..end), bytes.get(FIXED..end)) else { return Parsed::Part };
    if local {
        // The proxy's own connection, such as its health check; nothing else is to be looked at.
        return Parsed::Whole(end, None);
    }
    match (family >> 4, family & 0xf) {
        (1, 1) => address::<4>(header, block),
        (2, 1) => address::<16>(header, block),
        // Unspecified, a datagram's, or a UNIX socket's: the socket's own end is used.
        (0..=3, 0..=2) => Parsed::Whole(end, None),
        _ => Parsed::Broken("the PROXY header's family is unknown"),
    }
}

/// `source destination source-port destination-port` and extensions, of a family with `N` bytes.
fn address<const N: usize>(header: &[u8], block: &[u8]) -> Parsed
where
    IpAddr: From<[u8; N]>,
{
    let source = block.first_chunk::<N>().copied();
    let port = block.get(2 * N..2 * N + 2).and_then(|port| port.try_into().ok());
    let extensions = block.get(2 * N + 4..);
    let (Some(source), Some(port), Some(extensions)) = (source, port, extensions) else {
        return Parsed::Broken("the PROXY header is too short for its addresses");
    };
    if !are_sound(header, extensions) {
        return Parsed::Broken("the PROXY header's extensions are wrong");
    }
    Parsed::Whole(header.len(), Some(SocketAddr::new(source.into(), u16::from_be_bytes(port))))
}

/// Whether the extensions end with the header, and the checksum among them, if there is one, is
/// that of the header.
fn are_sound(header: &[u8], mut extensions: &[u8]) -> bool {
    while let [kind, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, after)) = rest.split_at_checked(length) else { return false };
        if *kind == CHECKSUM {
            let at = header.len() - rest.len();
            // Summed up with zeros in its own place.
            let (before, behind) =
                (header.get(..at).unwrap_or_default(), header.get(at + length..).unwrap_or_default());
            let sum = crc32c(before.iter().chain(&[0; 4]).chain(behind));
            if value != sum.to_be_bytes() {
                return false;
            }
        }
        extensions = after;
    }
    extensions.is_empty()
}

/// CRC-32C (RFC 9260 appendix A), a bit at a time: it is asked once for a connection, if at all.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, block].concat()
    }

    fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind], u16::try_from(value.len()).unwrap().to_be_bytes().as_slice(), value].concat()
    }

    /// 192.0.2.1:258 to 10.0.0.1:80.
    const INET: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 0, 80];

    fn inet6() -> Vec<u8> {
        let source = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        [source.as_slice(), &[0; 16], &[1, 2, 0, 80]].concat()
    }

    /// A header whose last extension is its checksum, and then what follows it.
    fn with_checksum(behind: &[u8]) -> Vec<u8> {
        let mut bytes = header(0x21, 0x11, &[INET, &extension(CHECKSUM, &[0; 4]), behind].concat());
        let sum = crc32c(bytes.iter()).to_be_bytes();
        bytes[31..35].copy_from_slice(&sum);
        bytes
    }

    #[test]
    fn a_header_names_the_client_and_may_be_cut_anywhere() {
        let (v4, v6) = (Some("192.0.2.1:258"), Some("[2001:db8::1]:258"));
        let noop = extension(4, &[0; 300]);
        let tls = extension(0x20, &[1, 0, 0, 0, 0]);
        let most = [INET, &extension(0xea, &vec![7; LONGEST - INET.len() - 3])].concat();
        for (bytes, source) in [
            (header(0x21, 0x11, INET), v4),
            (header(0x21, 0x21, &inet6()), v6),
            (header(0x21, 0x11, &[INET, &noop, &tls].concat()), v4),
            (header(0x21, 0x21, &[inet6(), tls].concat()), v6),
            (header(0x21, 0x11, &most), v4),
            (with_checksum(b""), v4),
            (with_checksum(&noop), v4),
            // The proxy itself: family and block do not matter.
            (header(0x20, 0, b""), None),
            (header(0x20, 0x11, INET), None),
            (header(0x20, 0xff, b"anything"), None),
            // Families and protocols that have no address of use here.
            (header(0x21, 0, b""), None),
            (header(0x21, 0, b"anything"), None),
            (header(0x21, 0x10, INET), None),
            (header(0x21, 0x12, INET), None),
            (header(0x21, 0x22, &inet6()), None),
            (header(0x21, 0x31, &[b'/'; 216]), None),
            (header(0x21, 0x32, &[b'/'; 216]), None),
        ] {
            let length = bytes.len();
            let source = source.map(|source| source.parse().unwrap());
            let more = [&bytes, b"GET / HTTP/1.1\r\n\r\n".as_slice()].concat();
            assert_eq!(parse(&more), Parsed::Whole(length, source), "{bytes:?}");
            assert_eq!(parse(&bytes), Parsed::Whole(length, source), "{bytes:?}");
            for cut in 0..length {
                let part = if cut < SIGNATURE.len() { Parsed::Undecided } else { Parsed::Part };
                assert_eq!(parse(&bytes[..cut]), part, "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_header_that_breaks_the_rules_is_broken() {
        let mut flipped = with_checksum(b"");
        flipped[16] ^= 1;
        let over = u16::try_from(LONGEST + 1).unwrap().to_be_bytes();
        let too_long = [SIGNATURE.as_slice(), &[0x21, 0x11], &over].concat();
        let too_long_local = [SIGNATURE.as_slice(), &[0x20, 0], &[0xff; 2]].concat();
        for bytes in [
            // Versions 0, 1 and 3; commands that there are none of. Told by the one byte.
            [SIGNATURE.as_slice(), &[0x01]].concat(),
            [SIGNATURE.as_slice(), &[0x11]].concat(),
            [SIGNATURE.as_slice(), &[0x31]].concat(),
            [SIGNATURE.as_slice(), &[0x22]].concat(),
            [SIGNATURE.as_slice(), &[0x2f]].concat(),
            // Too long is told before it has come.
            too_long,
            too_long_local,
            header(0x21, 0x41, INET),
            header(0x21, 0xf1, INET),
            header(0x21, 0x13, INET),
            header(0x21, 0x01 | 0x0e, INET),
            // Addresses that are cut off, and of the other family.
            header(0x21, 0x11, b""),
            header(0x21, 0x11, &INET[..11]),
            header(0x21, 0x21, INET),
            header(0x21, 0x21, &inet6()[..35]),
            // Extensions that end behind the header, or within their own head.
            header(0x21, 0x11, &[INET, &[4, 0, 1]].concat()),
            header(0x21, 0x11, &[INET, &[4, 0]].concat()),
            header(0x21, 0x11, &[INET, &[4]].concat()),
            // Checksums: of another header, and of the wrong length.
            flipped,
            header(0x21, 0x11, &[INET, &extension(CHECKSUM, &[0; 4])].concat()),
            header(0x21, 0x11, &[INET, &extension(CHECKSUM, b"")].concat()),
            header(0x21, 0x11, &[INET, &extension(CHECKSUM, &[0; 5])].concat()),
        ] {
            let parsed = parse(&bytes);
            assert!(matches!(parsed, Parsed::Broken(_)), "{bytes:?}: {parsed:?}");
        }
    }

    #[test]
    fn what_leaves_the_signature_is_no_header() {
        for at in 0..SIGNATURE.len() {
            let mut bytes = header(0x21, 0x11, INET);
            bytes[at] ^= 0x20;
            assert_eq!(parse(&bytes), Parsed::Absent, "{at}");
        }
    }

    #[test]
    fn the_checksum_is_the_one_that_others_compute() {
        // RFC 3720 appendix B.4, and the check value of the algorithm.
        assert_eq!(crc32c([0; 32].iter()), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    }
}
