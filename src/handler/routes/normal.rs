//! A path as it is compared with those of the routes.

use std::borrow::Cow;

/// The path with what can be written in several ways written in one: unreserved characters that
/// are percent-encoded are decoded (RFC 3986 section 6.2.2.2), dot segments followed (section
/// 5.2.4), and empty segments left out, as nginx and Envoy do.
///
/// SECURITY: an upstream may well do the same. A path that was compared as it is written would
/// then reach what a route holds by another spelling, past the route's own limits.
pub(super) fn normal(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Cow::Owned(segments.iter().fold(String::new(), |path, segment| path + "/" + segment))
}

/// Decodes unreserved characters, and dots and slashes, which mean the same encoded to many
/// servers; the rest stays as it is.
fn decode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) => {
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
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }
}
