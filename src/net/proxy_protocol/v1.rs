//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{FromStr, Split};

use memchr::memchr;

use super::Parsed;

/// With this a header begins.
pub(super) const BEGINNING: &[u8] = b"PROXY ";

/// Bytes of the longest line, its end included.
const LONGEST: usize = 107;

/// Reads a line that begins like one.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(end) = memchr(b'\n', bytes.get(..LONGEST).unwrap_or(bytes)) else {
        let short = bytes.len() < LONGEST;
        return if short { Parsed::Part } else { Parsed::Broken("the PROXY line is over 107 bytes") };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.filter(|line| line.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let Some(source) = line.and_then(|line| std::str::from_utf8(line).ok()).and_then(source) else {
        return Parsed::Broken("the PROXY line breaks its grammar");
    };
    Parsed::Whole(end + 1, source)
}

/// Whom the line names, which may be nobody; `None` where it breaks the grammar.
// SECURITY: strict, since a header that two readers understand differently gives one of them the
// wrong client.
fn source(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    words.next();
    match words.next()? {
        "TCP4" => addresses::<Ipv4Addr>(words).map(Some),
        "TCP6" => addresses::<Ipv6Addr>(words).map(Some),
        // What else stands in the line is to be ignored.
        "UNKNOWN" => Some(None),
        _ => None,
    }
}

/// `source destination source-port destination-port`, of one family.
fn addresses<A: FromStr + Into<IpAddr>>(mut words: Split<'_, char>) -> Option<SocketAddr> {
    let address = |word: Option<&str>| Some(word?.parse::<A>().ok()?.into());
    let (source, _) = (address(words.next())?, address(words.next())?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| SocketAddr::new(source, source_port))
}

/// A port the way a machine writes it.
fn port(word: &str) -> Option<u16> {
    let canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn a_line_names_the_client() {
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535";
        let unknown = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST - 16));
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443", Some("192.0.2.1:56324")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", Some("255.255.255.255:65535")),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", Some("0.0.0.0:0")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2", Some("[2001:db8::1]:1")),
            ("PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2", Some("[2001:db8::1]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2", Some("[::ffff:192.0.2.1]:1")),
            (longest, Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ", None),
            ("PROXY UNKNOWN 1 2 3 4  5", None),
            ("PROXY UNKNOWN ffff:: what ever", None),
            (&unknown, None),
        ] {
            let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n\r\n").into_bytes();
            let source = source.map(|source| source.parse().unwrap());
            let length = line.len() + 2;
            assert_eq!(parse(&bytes), Parsed::Whole(length, source), "{line}");
            assert_eq!(parse(&bytes[..length]), Parsed::Whole(length, source), "{line}");
            for cut in 0..length {
                let part = if cut < BEGINNING.len() { Parsed::Undecided } else { Parsed::Part };
                assert_eq!(parse(&bytes[..cut]), part, "{line} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_line_that_is_not_exactly_one_is_broken() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST - 15));
        let endless = "PROXY ".repeat(20);
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 \r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1  1 2\r\n",
            "PROXY TCP4\t192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r \n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 99999999999 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 00\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 -1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 0x2\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP6 ::1 10.0.0.1 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 ::1%eth0 ::1 1 2\r\n",
            "PROXY TCP6 :::1 ::1 1 2\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY unknown\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN a\rb\r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY UNKNOWN \u{e9}\r\n",
            "PROXY / HTTP/1.1\r\n",
            &long,
            &endless,
        ] {
            let parsed = parse(line.as_bytes());
            assert!(matches!(parsed, Parsed::Broken(_)), "{line:?}: {parsed:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_line_is_none() {
        for line in ["PROXIES / HTTP/1.1\r\n", "PROXY\r\n", "PROXY/ ", "proxy TCP4 ", " PROXY ", "PRI * HTTP"]
        {
            assert_eq!(parse(line.as_bytes()), Parsed::Absent, "{line:?}");
        }
    }
}
