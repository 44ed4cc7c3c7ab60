//! Values and targets without secrets.
//!
//! SECURITY: what a client sends follows no grammar that it does not want to follow. So a value is judged as a
//! whole before it is taken apart, and what is in doubt is left out.

use crate::redact::{self, REDACTED};

/// Words that credentials stand behind, without being named a secret.
const SCHEMES: &[&[u8]] = &[b"bearer", b"basic", b"digest", b"negotiate", b"ntlm"];

/// Names of secrets in a value, all of which nothing follows. SECURITY: each is looked for in all the rest.
const MOST_NAMES: usize = 8;

/// A target without the values of secret parameters, and without a password in its authority.
pub(super) fn target(target: &str) -> String {
    let owned = match target.starts_with('/') {
        true => user_info(target),
        // The authority itself, as CONNECT has it, or a URL.
        false => user_info(&match target.contains("//") {
            true => target.to_owned(),
            false => host(target),
        }),
    };
    let (path, fragment) = match owned.split_once('#') {
        Some((path, fragment)) => (path, Some(fragment)),
        None => (&*owned, None),
    };
    let mut shown = at_names(&encoded(&redact::redact_target(path)));
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(&value(fragment));
    }
    shown
}

/// The value of a field or string that is no secret by its name. It can be a URL, or a list of parameters.
pub(super) fn value(value: &str) -> String {
    // An escape can hide any letter.
    if value.contains("\\\\") {
        return length(value.len());
    }
    // A first parameter has no mark before it.
    let marked = format!("?{}", user_info(value).replace('#', "&#"));
    let shown = encoded(&redact::redact_target(&marked));
    at_names(shown.strip_prefix('?').unwrap_or(&shown)).replace("&#", "#")
}

/// An authority without its user.
pub(super) fn host(authority: &str) -> String {
    let end = authority.find('/').unwrap_or(authority.len());
    let at = authority.get(..end).and_then(|authority| authority.rfind('@'));
    match at.and_then(|at| authority.get(at..)) {
        Some(host) => format!("{REDACTED}{host}"),
        None => authority.to_owned(),
    }
}

/// What is not shown.
pub(super) fn length(length: usize) -> String {
    format!("[{length} bytes]")
}

/// Without users and passwords of URLs, wherever those stand.
fn user_info(value: &str) -> String {
    if !value.contains('@') {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("//") {
        out.push_str(&bare_user(before));
        out.push_str("//");
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, path) = after.split_at_checked(end).unwrap_or((after, ""));
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        // Behind a colon is a port: or a password, that may have a slash in it.
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || authority.ends_with(']');
        let whole = if is_port || authority.contains('@') { authority } else { after };
        match whole.rfind('@').and_then(|at| after.get(at..)) {
            Some(host) => {
                out.push_str(REDACTED);
                out.push('@');
                rest = host.get(1..).unwrap_or_default();
            }
            None => {
                out.push_str(authority);
                rest = path;
            }
        }
    }
    out.push_str(&bare_user(rest));
    out
}

/// `user:password@host`
fn bare_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{REDACTED}@{host}"),
        _ => text.to_owned(),
    }
}

/// Without each value that tells a secret once it is decoded.
fn encoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(['?', '&', ';']) {
        let bare = piece.strip_suffix(['?', '&', ';']).unwrap_or(piece);
        let start = bare.find('=').map_or(0, |at| at + 1);
        let (name, value) = bare.split_at_checked(start).unwrap_or(("", bare));
        out.push_str(name);
        out.push_str(if is_telling_decoded(value) { REDACTED } else { value });
        out.push_str(piece.get(bare.len()..).unwrap_or_default());
    }
    out
}

fn is_telling_decoded(value: &str) -> bool {
    let mut value = value.to_owned();
    for _ in 0..4 {
        let decoded = decode(&value);
        if decoded == value {
            return false;
        }
        if decoded.contains('\\') || user_info(&decoded) != decoded || at_names(&decoded) != decoded {
            return true;
        }
        value = decoded;
    }
    // Nobody encodes five times over who has nothing to hide.
    decode(&value) != value
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| rest.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let pair = (*byte == b'%').then(|| digit(1).zip(digit(2))).flatten();
        match pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Cut off behind the first name of a secret, or word for credentials, that something follows.
fn at_names(text: &str) -> String {
    cut(&cut(text, redact::secret_name_end), scheme_end)
}

fn scheme_end(text: &str) -> Option<usize> {
    let text = text.as_bytes();
    (0..text.len()).find_map(|at| {
        let rest = text.get(at..)?;
        let is_here =
            |word: &&&[u8]| rest.get(..word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word));
        SCHEMES.iter().find(is_here).map(|word| at + word.len())
    })
}

fn cut(text: &str, find: fn(&str) -> Option<usize>) -> String {
    let mut from = 0;
    let mut names = 0;
    while let Some(end) = text.get(from..).and_then(find).map(|end| from + end) {
        names += 1;
        if names > MOST_NAMES {
            return format!("{}{REDACTED}", text.get(..end).unwrap_or_default());
        }
        let rest = text.get(end..).unwrap_or_default();
        let goes_on = |letter: char| letter.is_ascii_alphanumeric() || "_-.[]".contains(letter);
        let name_end = end + rest.find(|letter| !goes_on(letter)).unwrap_or(rest.len());
        let (name, after) = text.split_at_checked(name_end).unwrap_or((text, ""));
        from = name_end;
        if let Some(after) = after.strip_prefix('=') {
            let after_it = after.strip_prefix(REDACTED).unwrap_or(after);
            if is_over(after_it) {
                continue;
            }
            return format!("{name}={REDACTED}");
        }
        if after.is_empty() || after.starts_with([',', ';', '/', ')', '&', '?']) {
            continue;
        }
        let space = if after.starts_with(' ') { " " } else { "" };
        return format!("{name}{space}{REDACTED}");
    }
    text.to_owned()
}

/// Whether a value ends here: a piece without a name still belongs to it.
fn is_over(after: &str) -> bool {
    match after.strip_prefix([';', '?']) {
        Some(next) => next.split(['?', '&', ';']).next().is_some_and(|piece| piece.contains('=')),
        None => after.is_empty() || after.starts_with(['&', '/']),
    }
}
