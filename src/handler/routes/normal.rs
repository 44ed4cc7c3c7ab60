//! A path as it is compared with those of the routes.

use std::borrow::Cow;

/// The path with what can be written in several ways written in one: unreserved characters that
/// are percent-encoded are decoded (RFC 3986 section 6.2.2.2), dot segments followed (section
/// 5.2.4), and empty segments left out, as nginx and Envoy do. A backslash is taken for a slash, as
/// by servers of Windows, and what a segment has behind a semicolon for no part of it, as by those
/// of Java.
///
/// SECURITY: an upstream may well do the same. A path that was compared as it is written would
/// then reach what a route holds by another spelling, past the route's own limits.
pub(super) fn normal(path: &str) -> Cow<'_, str> {
    let odd = |byte: u8| matches!(byte, b'%' | b';' | b'\\');
    if !path.bytes().any(odd) && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Cow::Owned(segments.iter().fold(String::new(), |path, segment| path + "/" + segment))
}

/// Whether some servers see the path climb where others see a name: `..;`, or dots beside a slash
/// that is encoded or leans the other way. No client needs that.
///
/// SECURITY: whichever reading the route was chosen by, an upstream of the other kind would serve
/// what another route is for.
pub(super) fn is_ambiguous(path: &str) -> bool {
    if !path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\')) {
        return false;
    }
    let decoded = decode(path);
    let all = decoded.split(['/', '\\']).filter(|segment| segment.split(';').next() == Some(".."));
    let plain = path.split('/').filter(|segment| decode(segment) == "..");
    all.count() != plain.count()
}

/// Decodes unreserved characters, and what has a meaning above, which many servers see in it as
/// well; the rest stays as it is.
fn decode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~/\\;".contains(&byte) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or("");
            }
            _ => {
                out.push('%');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_climbs_in_one_way_or_not_at_all() {
        for path in ["/a/../b", "/a/%2e%2E/b", "/a%2fb;c/d\\e", "/a/..b/...", "/a;../b", "/..%zz", "/"] {
            assert!(!is_ambiguous(path), "{path}");
        }
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
            ("/a%20b/%zz/%", "/a%20b/%zz/%"),
            ("/.", ""),
            ("/x/..;/api", "/api"),
            ("/x/%2e.;a=b/api;v=1/y;z", "/api/y"),
            ("/api%3bv=1/;/y", "/api/y"),
            ("/x\\..\\api%5cy", "/api/y"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }
}
