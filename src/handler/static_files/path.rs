//! Which paths may name a file at all, decided before the file system is asked.

use crate::refusal::{Reason, Refusal};

/// The one name with a dot that is meant for everybody (RFC 8615), and only at the top.
const WELL_KNOWN: &str = ".well-known";

/// Refuses what names no file: `path` is the part below the route, beginning with `/`, still
/// percent-encoded.
///
/// What can be read in two ways is 400: `..` however it is spelt, an encoded slash, a backslash,
/// NUL and its neighbours, an empty segment, broken encoding. A name with a dot in front is 404,
/// as if it were not there: `.env`, `.git`, `.htpasswd` are never meant to be served.
pub(crate) fn judge(path: &str) -> Result<(), Refusal> {
    let decoded =
        decode(path).ok_or_else(|| invalid("the path holds an encoding or a byte that no file name has"))?;
    let Some(below) = decoded.strip_prefix('/') else {
        return Err(invalid("the path does not begin with a slash"));
    };
    let mut segments = below.split('/').peekable();
    let (mut hidden, mut first) = (false, true);
    while let Some(segment) = segments.next() {
        if segment == ".." {
            return Err(invalid("the path leaves its root"));
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(invalid("the path holds an empty segment"));
        }
        hidden |= segment.starts_with('.') && !(first && segment == WELL_KNOWN);
        first = false;
    }
    if hidden { Err(super::not_found()) } else { Ok(()) }
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidPath, detail)
}

/// Decodes once, as the file server does after us. `None` for what must not be decoded.
fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, encoded) = match byte {
            b'%' => (hex(bytes.next()?)? << 4 | hex(bytes.next()?)?, true),
            byte => (byte, false),
        };
        let ends_path = !encoded && matches!(byte, b'?' | b'#');
        if byte.is_ascii_control() || byte == b'\\' || encoded && byte == b'/' || ends_path {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A file's name, relative to the root, as a path of a URL.
pub(super) fn encode(name: &str) -> String {
    let mut path = String::from("/");
    for byte in name.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_file_or_is_refused() {
        let refused = |path: &str| judge(path).err().map(|refusal| refusal.reason);
        for path in
            ["/", "/a", "/a/", "/a/b.c", "/a%20b", "/%C3%A9", "/\u{e9}", "/a..b", "/a/b..", "/%252e%252e/x"]
        {
            assert_eq!(refused(path), None, "{path}");
        }
        for path in ["/.well-known", "/.well-known/", "/.well-known/security.txt", "/%2ewell-known/x"] {
            assert_eq!(refused(path), None, "{path}");
        }
        for path in [
            "/..",
            "/../x",
            "/a/..",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%2e./x",
            "/..%2fx",
            "/..%5cx",
            "/..\\x",
            "/a%2fb",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/%00/b",
            "/a%0ab",
            "/a%7f",
            "/%",
            "/%4",
            "/%zz",
            "/%u0041",
            "/%ff",
            "/%c3",
            "/%c0%ae%c0%ae/x",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "",
            "a",
            "../x",
            "/a?b",
            "/a#b",
            // Both at once: what is broken is said before what is hidden.
            "/.git/../x",
        ] {
            assert_eq!(refused(path), Some(Reason::InvalidPath), "{path}");
        }
        for path in [
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/a/.git/config",
            "/a/%2Egit/",
            "/.",
            "/./a",
            "/...",
            "/.well-known/.x",
            "/a/.well-known/x",
            "/.well-knownx",
        ] {
            assert_eq!(refused(path), Some(Reason::NotFound), "{path}");
        }
    }

    #[test]
    fn a_name_encoded_is_read_back() {
        for name in ["index.html", "a b/\u{e9}%.html", "a?b#c"] {
            assert_eq!(decode(&encode(name)).as_deref(), Some(&*format!("/{name}")));
        }
    }
}
