//! What a refused client sent, as it may be shown: without secrets, and without anything that a terminal, a log
//! or a page would take for more than text.
//!
//! SECURITY: by names alone a secret can be told from the rest. So what has no names that are understood is not
//! shown at all: of it there are the length and the hash.

use super::{hide, json};
use crate::redact::{self, REDACTED};

/// Bytes of a body that is judged: what begins within is cut off with it.
const FORM: &str = "application/x-www-form-urlencoded";

/// The lines of a head that was read, its first line among them.
pub(super) fn head(bytes: &[u8]) -> Vec<String> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().map(request_line);
    let rest = lines.filter(|line| !line.is_empty()).map(field);
    first.into_iter().chain(rest).collect()
}

/// `METHOD target HTTP/1.1`
fn request_line(line: &[u8]) -> String {
    let text = text(line);
    match text.split_once(' ') {
        None => text,
        Some((method, rest)) => {
            let (target, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
            format!("{method} {} {version}", hide::target(target)).trim_end().to_owned()
        }
    }
}

/// `name: value`
fn field(line: &[u8]) -> String {
    let text = text(line);
    // That of HTTP/2's own fields begins with a colon.
    let colon = text.get(1..).and_then(|rest| rest.find(':')).map(|at| at + 1);
    match colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((name, _)) if redact::is_secret_name(name) => format!("{name}: {REDACTED}"),
        Some((name, value)) => format!("{name}: {}", value_of(name.trim(), value.trim())),
        None => unnamed(line.len()),
    }
}

fn value_of(name: &str, value: &str) -> String {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    if is("sec-websocket-protocol") {
        // Tokens are sent as names of protocols: a browser lets a page set nothing else.
        return hide::length(value.len());
    }
    if is("host") || is(":authority") {
        let host = hide::host(value);
        let bare = host.strip_prefix(REDACTED).and_then(|host| host.strip_prefix('@')).unwrap_or(&host);
        if bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)) {
            return host;
        }
    }
    hide::value(value)
}

/// What cannot be shown, since nothing tells what it is.
fn unnamed(length: usize) -> String {
    format!("[{length} bytes without a name]")
}

/// The lines of what could not be read as a head. Where it does not even begin like one, there is nothing that
/// can be shown.
pub(super) fn unread(bytes: &[u8]) -> Vec<String> {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    let mut lines = bytes.split(is_end).filter(|line| !line.is_empty());
    let Some(first) = lines.next().filter(|line| is_like_a_request(line)) else { return Vec::new() };
    let mut shown = vec![cut_at_secret(&request_line(first))];
    for line in lines {
        shown.push(match line.first() {
            // It goes on with what may have been a secret.
            Some(b' ' | b'\t') => unnamed(line.len()),
            _ if memchr::memchr(b':', line).is_none() => unnamed(line.len()),
            _ => cut_at_secret(&field(line)),
        });
    }
    shown
}

/// A word of letters, and a target.
fn is_like_a_request(line: &[u8]) -> bool {
    let method = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
    (3..=32).contains(&method)
        && line.get(method) == Some(&b' ')
        && line.get(method + 1).is_some_and(|byte| matches!(byte, b'/' | b'*') || byte.is_ascii_alphabetic())
        && memchr::memmem::find(line, b"HTTP/").is_some()
}

/// Where the grammar is broken, nothing is sure to end where it seems to: what stands behind the name of a
/// secret is left out.
fn cut_at_secret(text: &str) -> String {
    match redact::secret_name_end(text).and_then(|at| text.get(..at)).filter(|cut| cut.len() < text.len()) {
        Some(cut) => format!("{cut} {REDACTED}"),
        None => text.to_owned(),
    }
}

/// What a beginning that is no request looks like.
pub(super) fn guess(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x16, 0x03, ..] => "tls",
        [b'S', b'S', b'H', b'-', ..] => "ssh",
        [b'P', b'R', b'I', b' ', ..] => "http2",
        [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..] => "proxy_protocol",
        [0x03, 0x00, ..] => "rdp",
        [0x05, ..] | [0x04, 0x01, ..] => "socks",
        _ if is_like_a_request(
            bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default(),
        ) =>
        {
            "http1"
        }
        _ => "unknown",
    }
}

/// The beginning of a body, where it is of a type that names its parts; its type and coding are those of the
/// head. `whole` where it is not cut off.
pub(super) fn body(bytes: &[u8], head: &[String]) -> Option<String> {
    let value = |name: &str| {
        let fields = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next_back()
    };
    if bytes.is_empty() || value("content-encoding").is_some() {
        return None;
    }
    let kind = value("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
    match kind.as_str() {
        FORM => form(bytes),
        "application/json" | "text/json" => json::shown(&String::from_utf8_lossy(bytes)),
        kind if kind.ends_with("+json") => json::shown(&String::from_utf8_lossy(bytes)),
        _ => None,
    }
}

/// A form: parts with names, and nothing else. The last part may be cut off within its name, and is left out.
fn form(bytes: &[u8]) -> Option<String> {
    let text = text(bytes);
    let (whole, last) = text.rsplit_once('&').unwrap_or(("", &text));
    let shown = if last.contains('=') || whole.is_empty() { &*text } else { whole };
    let is_named = |part: &str| {
        part.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.%+[]-".contains(&byte))
        })
    };
    shown.split('&').all(is_named).then(|| hide::value(shown))
}

/// Bytes as text: what is no printable ASCII as `\xNN`, and the backslash doubled, so that nothing is lost.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => {
                text.push_str("\\x");
                for digit in [byte >> 4, byte & 15] {
                    text.extend(char::from_digit(digit.into(), 16));
                }
            }
        }
    }
    text
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
