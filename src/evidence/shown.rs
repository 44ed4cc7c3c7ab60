//! What a refused client sent, as it may be shown: without secrets, and without anything that a terminal, a log
//! or a page would take for more than text.
//!
//! SECURITY: by names alone a secret can be told from the rest. So what has no names that are understood is not
//! shown at all: of it there are the length and the hash.

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
            format!("{method} {} {version}", target_without_secrets(target)).trim_end().to_owned()
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
        Some((name, value)) => format!("{name}: {}", value_without_secrets(value.trim())),
        None => unnamed(line.len()),
    }
}

/// What cannot be shown, since nothing tells what it is.
fn unnamed(length: usize) -> String {
    format!("[{length} bytes without a name]")
}

/// A target without the values of secret parameters, and without a password in its authority.
pub(super) fn target_without_secrets(target: &str) -> String {
    let target = match target.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map(|(_, host)| host);
            match host {
                Some(host) => format!("{scheme}://{REDACTED}@{host}{path}"),
                None => target.to_owned(),
            }
        }
        None => target.to_owned(),
    };
    redact::redact_target(&target).into_owned()
}

/// The value of a field that is no secret by its name. It can be a URL, or a list of parameters.
fn value_without_secrets(value: &str) -> String {
    // As the parameters of a query, whatever stands between them.
    let mut out = String::with_capacity(value.len());
    for piece in value.split_inclusive([' ', ',', '"', '\'', '<', '>']) {
        let end = piece.len()
            - piece.chars().last().filter(|last| " ,\"'<>".contains(*last)).map_or(0, char::len_utf8);
        let (word, separator) = piece.split_at_checked(end).unwrap_or((piece, ""));
        // A first parameter has no mark before it.
        let marked = format!("?{word}");
        let shown = match word.contains("://") {
            true => target_without_secrets(word),
            false => {
                let shown = redact::redact_target(&marked);
                shown.strip_prefix('?').unwrap_or(&shown).to_owned()
            }
        };
        out.push_str(&shown);
        out.push_str(separator);
        if word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") {
            // Credentials, in a field that is not called so.
            out.push_str(REDACTED);
            break;
        }
    }
    out
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
        FORM => {
            let marked = format!("?{}", text(bytes));
            let shown = redact::redact_target(&marked);
            Some(shown.strip_prefix('?').unwrap_or(&shown).to_owned())
        }
        "application/json" | "text/json" => Some(json(&String::from_utf8_lossy(bytes))),
        kind if kind.ends_with("+json") => Some(json(&String::from_utf8_lossy(bytes))),
        _ => None,
    }
}

/// JSON that may be cut off, or none at all: all is read as it comes. What is behind a name of a secret is
/// left out: a string or a number by itself; from an object or a list on, all that follows.
fn json(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    // The last string, while nothing but spaces has come since.
    let mut name: Option<bool> = None;
    let mut hidden = false;
    while let Some(next) = rest.chars().next() {
        match next {
            '"' => {
                let end = string_end(rest);
                let (string, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                if std::mem::take(&mut hidden) {
                    out.push_str("\"[redacted]\"");
                    name = None;
                } else {
                    // An escape can hide any letter.
                    name = Some(string.contains('\\') || redact::is_secret_name(string));
                    out.push_str(&value_of_string(string));
                }
                rest = after;
                continue;
            }
            ':' => hidden = name.take().unwrap_or(false),
            next if next.is_whitespace() => {}
            _ if hidden && matches!(next, '{' | '[') => {
                out.push_str(REDACTED);
                break;
            }
            _ if std::mem::take(&mut hidden) => {
                out.push_str(REDACTED);
                rest = rest.trim_start_matches(|letter: char| !matches!(letter, ',' | '}' | ']' | '"'));
                name = None;
                continue;
            }
            _ => name = None,
        }
        out.push(next);
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    text(out.as_bytes())
}

/// A string can be a URL, or a list of parameters.
fn value_of_string(string: &str) -> String {
    value_without_secrets(string)
}

/// Where a string that begins here ends, its quotes included.
fn string_end(source: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in source.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    source.len()
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
