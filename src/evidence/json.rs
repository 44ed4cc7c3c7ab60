//! The beginning of a body of JSON, without secrets.

use super::hide;
use super::shown::text;
use crate::redact::{self, REDACTED};

/// JSON that may be cut off. What is behind a name of a secret is left out: a string or a number by itself; from
/// an object or a list on, all that follows. `None` where it is no JSON, or names a secret in a way that does not
/// tell where it is.
pub(super) fn shown(source: &str) -> Option<String> {
    if !source.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut out = String::new();
    let mut rest = source;
    // The last string was a name: whether of a secret.
    let mut name: Option<bool> = None;
    let mut hidden = false;
    while let Some(next) = rest.chars().next() {
        match next {
            '"' => {
                let (string, after) = rest.split_at_checked(string_end(rest))?;
                let bare = string.get(1..)?.strip_suffix('"').unwrap_or(string.get(1..)?);
                let is_name = after.trim_start().starts_with(':');
                if std::mem::take(&mut hidden) {
                    if is_name {
                        return None;
                    }
                    out.push_str("\"[redacted]\"");
                } else if is_name {
                    // An escape can hide any letter.
                    name = Some(bare.contains('\\') || redact::is_secret_name(bare));
                    out.push_str(&string_without_secrets(bare));
                } else if is_name_of_a_secret(bare) {
                    // {"name": "password", "value": ...}
                    return None;
                } else {
                    out.push_str(&string_without_secrets(bare));
                }
                rest = after;
                continue;
            }
            ':' => hidden = name.take()?,
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' if hidden => {
                out.push_str(REDACTED);
                break;
            }
            '{' | '[' => {}
            '}' | ']' | ',' if hidden => return None,
            '}' | ']' | ',' => {}
            _ => {
                let (word, after) = rest.split_at_checked(word_end(rest))?;
                if !is_word(word, after.is_empty()) {
                    return None;
                }
                out.push_str(if std::mem::take(&mut hidden) { REDACTED } else { word });
                rest = after;
                continue;
            }
        }
        out.push(next);
        rest = rest.get(next.len_utf8()..)?;
    }
    Some(text(out.as_bytes()))
}

fn string_without_secrets(bare: &str) -> String {
    let shown = if bare.contains('\\') { hide::length(bare.len()) } else { hide::value(bare) };
    format!("\"{shown}\"")
}

/// A string that is a name by itself, where a name says what another string is.
fn is_name_of_a_secret(bare: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]: ".contains(&byte);
    bare.len() <= 64 && bare.bytes().all(of_name) && redact::is_secret_name(bare)
}

fn word_end(source: &str) -> usize {
    let of_word = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    source.find(|letter| !of_word(letter)).unwrap_or(source.len())
}

/// A number, or `true`, `false`, `null`; the last of what was cut off can be the beginning of one.
fn is_word(word: &str, last: bool) -> bool {
    let is_literal =
        |literal: &&str| *literal == word || (last && !word.is_empty() && literal.starts_with(word));
    let is_number = word.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_number || ["true", "false", "null"].iter().any(is_literal)
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
