//! A path as it is compared with those of the routes.

use std::borrow::Cow;
use std::fmt::Write;

/// The path with what can be written in several ways written in one: what may stand as it is does,
/// and all else is percent-encoded in capitals (RFC 3986 sections 6.2.2.1 and 6.2.2.2); dot segments
/// are followed (section 5.2.4), and empty segments left out, as nginx and Envoy do. A backslash is
/// taken for a slash, as by servers of Windows, and what a segment has behind a semicolon for no part
/// of it, as by those of Java.
///
/// SECURITY: an upstream may well do the same. A path that was compared as it is written would
/// then reach what a route holds by another spelling, past the route's own limits.
pub fn normal(path: &str) -> Cow<'_, str> {
    if is_simple(path) {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']).map(name) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Cow::Owned(segments.iter().fold(String::new(), |path, segment| path + "/" + segment))
}

/// Whether a path is in its one spelling already, as nearly all are: what may stand as it is, without
/// parameters, empty segments, and segments that begin with a dot.
fn is_simple(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let fits = PLAIN.get(usize::from(byte)).copied().unwrap_or(false)
            && byte != b';'
            && (before != b'/' || !matches!(byte, b'/' | b'.'));
        before = byte;
        fits
    })
}

/// A segment without its parameters.
fn name(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Whether some servers see the path climb where others see a name: `..;`, or dots beside a slash
/// that is encoded or leans the other way; or end, at an encoded NUL (RFC 3986 section 7.3). No
/// client needs that.
///
/// SECURITY: whichever reading the route was chosen by, an upstream of the other kind would serve
/// what another route is for.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    if !path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\')) {
        return false;
    }
    let decoded = decode(path);
    if decoded.contains("%00") {
        return true;
    }
    let all = decoded.split(['/', '\\']).filter(|segment| name(segment) == "..");
    let plain = path.split('/').filter(|segment| decode(segment) == "..");
    all.count() != plain.count()
}

/// What may stand in a path as it is (RFC 3986 section 3.3), and the slash.
fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// The same, byte by byte.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, for which a panic is an error")]
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
            )
            || matches!(byte, b';' | b'=' | b':' | b'@' | b'/');
        byte += 1;
    }
    plain
};

/// Each byte in its one spelling. An encoded slash is one, as it is to many servers; a percent sign
/// that encodes nothing stays what it is.
fn decode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut put = |byte: u8| match byte {
        byte if is_plain(byte) || byte == b'\\' => out.push(char::from(byte)),
        // Writing to a String cannot fail.
        byte => _ = write!(out, "%{byte:02X}"),
    };
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, behind @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                put(high << 4 | low);
                rest = behind;
            }
            _ => {
                put(first);
                rest = after;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_climbs_in_one_way_or_not_at_all() {
        for path in ["/a/../b", "/a/%2e%2E/b", "/a%2fb;c/d\\e", "/a/..b/...", "/a;../b", "/..%zz", "/"] {
            assert!(!is_ambiguous(path), "{path}");
        }
        for path in ["/a%00", "/%00/b"] {
            assert!(is_ambiguous(path), "{path}");
        }
        assert!(!is_ambiguous("/a%2500"), "a percent sign, and two digits");
        for path in ["/a/..;/b", "/a%2f../b", "/a/..%2Fb", "/a\\../b", "/a/%2e.%5cb", "/a/..%3bx", "/../..;"]
        {
            assert!(is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn one_place_has_one_path() {
        for (path, expected) in [
            ("/", "/"),
            ("/api/x", "/api/x"),
            ("/%61pi/x", "/api/x"),
            ("/a/../api/./x", "/api/x"),
            ("/a/%2e%2E/api", "/api"),
            ("/a%2f..%2fapi", "/api"),
            ("//api///x", "/api/x"),
            ("/../../api", "/api"),
            ("/a%20b", "/a%20b"),
            ("/.", ""),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/%40me%3a%21", "/@me:!"),
            ("/a%3fb%23c%25d\"{", "/a%3Fb%23c%25d%22%7B"),
            // No encoding, and so no other byte's either.
            ("/%zz/%", "/%25zz/%25"),
            ("/x/..;/api", "/api"),
            ("/x/%2e.;a=b/api;v=1/y;z", "/api/y"),
            ("/api%3bv=1/;/y", "/api/y"),
            ("/x\\..\\api%5cy", "/api/y"),
            ("/%2", "/%252"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
            assert_eq!(normal(expected), expected, "what is normal stays");
        }
    }
}
