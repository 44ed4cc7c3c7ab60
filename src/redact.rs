//! What must never reach a log: names that hold secrets, and the query values behind them.

use std::borrow::Cow;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A name that holds one of these holds a secret. Better one value too many than one too few:
/// `author` goes the way of `authorization`.
const SECRET_WORDS: &[&[u8]] = &[
    b"auth",
    b"cookie",
    b"token",
    b"secret",
    b"password",
    b"passwd",
    b"key",
    b"sig",
    b"credential",
    b"session",
    b"jwt",
    b"pwd",
    b"passphrase",
    // `client_assertion` (RFC 7521 section 4.2).
    b"assertion",
    // `header_b64u`, `ciphertext_b64u`: frames that are for their receivers alone.
    b"b64u",
];

/// Bytes of a parameter name that are decoded to judge it. Nobody has a longer one in earnest,
/// so a longer one is taken for a secret.
const LONGEST_NAME: usize = 256;

/// Whether a header, parameter, setting or log field of this name holds a secret:
/// `Authorization`, `Cookie`, `Set-Cookie`, and anything called like a token, secret, password,
/// key, signature, credential or session, in any case.
pub fn is_secret_name(name: &str) -> bool {
    holds_secret_word(name.as_bytes())
}

fn holds_secret_word(name: &[u8]) -> bool {
    SECRET_WORDS.iter().any(|word| name.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

/// The request target with the value of every secret-named parameter replaced by [`REDACTED`].
///
/// Parameters are what stands between `?`, `&`, `;` and `#`, in the query, in a fragment (which no client
/// should send) and (matrix parameters, such as `;jsessionid=`) in the path. One that is encoded within
/// another, as in `next=%2Fa%3Ftoken%3D1`, or named in JSON, as in `f={"password":"1"}`, takes the other with
/// it. User and password of a URL go as well. Nothing is allocated where there is nothing to redact.
pub fn redact_target(target: &str) -> Cow<'_, str> {
    let redacted = redact_plain(target);
    if memchr::memchr3(b'%', b'@', b':', redacted.as_bytes()).is_none() {
        return redacted;
    }
    redact_veiled(redacted)
}

fn redact_veiled(mut target: Cow<'_, str>) -> Cow<'_, str> {
    if let Some(without) = hide_user_info(&target) {
        target = Cow::Owned(without);
    }
    if is_veiled(target.as_bytes()) || memchr::memchr(b':', target.as_bytes()).is_some() {
        return hide_nested(&target).map_or(target, Cow::Owned);
    }
    target
}

/// Whether there may be something encoded that tells what it is: an equals sign (`%3D`, `%253D` and so on),
/// a colon, a quote, a slash, an at sign.
fn is_veiled(text: &[u8]) -> bool {
    let mut escapes = memchr::memchr_iter(b'%', text).filter_map(|at| text.get(at + 1..at + 3)).peekable();
    if escapes.peek().is_none() {
        return false;
    }
    escapes
        .any(|digits| matches!(digits, b"3D" | b"3d" | b"3A" | b"3a" | b"2F" | b"2f" | b"22" | b"25" | b"40"))
        || memchr::memchr3(b':', b'@', b'"', text).is_some()
}

/// `//user:password@host` without who it is; `None` where there is none.
fn hide_user_info(text: &str) -> Option<String> {
    memchr::memchr(b'@', text.as_bytes())?;
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("//")) {
        let start = at + found + 2;
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.find(['/', '?', '#', '&']).unwrap_or(rest.len());
        let user = rest.get(..length).and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
        if let Some(user) = user.filter(|user| !user.is_empty() && *user != REDACTED) {
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(REDACTED);
            copied = start + user.len();
        }
        at = start + length;
    }
    (copied > 0).then(|| out + text.get(copied..).unwrap_or_default())
}

/// Whether what was encoded is a URL with a user. A password that had a slash may have lost its end.
fn has_user_info(text: &str) -> bool {
    let Some(last) = memchr::memrchr(b'@', text.as_bytes()) else { return false };
    let mut rest = text.get(..last).unwrap_or_default();
    while let Some((_, behind)) = rest.split_once("//") {
        let (authority, after) = behind.split_at(behind.find(['/', '?', '#', '&']).unwrap_or(behind.len()));
        if !authority.is_empty()
            && authority != REDACTED
            && (after.is_empty() || authority.contains([':', '@']))
        {
            return true;
        }
        rest = after;
    }
    false
}

/// Whether a secret is named as JSON does it, `"password":`, or, where names are looser, `password:`.
fn names_secret(text: &str, loose: bool) -> bool {
    let bytes = text.as_bytes();
    // Where the name begins that may end here. Each byte belongs to one: no text makes this slow.
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let after = bytes.get(at + 1..).unwrap_or_default().trim_ascii_start();
        let announces = match byte {
            b'"' | b'\'' => match after.first() {
                Some(b':') => true,
                Some(b',' | b'}' | b']') => loose,
                _ => false,
            },
            // Behind a slash it is a host or a part of a path.
            b':' => loose && !after.is_empty() && (from == 0 || bytes.get(from - 1) != Some(&b'/')),
            b'{' | b'}' | b',' | b'/' | b'=' => false,
            _ => continue,
        };
        let name = bytes.get(from..at).unwrap_or_default();
        // An escape can hide any letter.
        if announces && (holds_secret_word(name) || memchr::memmem::find(name, b"\\u").is_some()) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// The same with each value left out that would be redacted if it were decoded; `None` where there is none.
fn hide_nested(target: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    let mut in_query = false;
    // Whether what was hidden may go on.
    let mut goes_on = false;
    for piece in target.split_inclusive(['?', '&', ';', '#']) {
        let start = at;
        at += piece.len();
        let bare = piece.strip_suffix(['?', '&', ';', '#']).unwrap_or(piece);
        let name_end = bare.find('=').map_or(0, |at| at + 1);
        let (name, value) = bare.split_at_checked(name_end).unwrap_or(("", bare));
        let hidden = if (goes_on && !is_named(bare)) || is_secret_within(name, in_query) {
            Some(start)
        } else if is_secret_within(value, in_query) {
            Some(start + name.len())
        } else {
            None
        };
        if let Some(hidden) = hidden {
            out.push_str(target.get(copied..hidden).unwrap_or_default());
            out.push_str(REDACTED);
            copied = start + bare.len();
        }
        goes_on = hidden.is_some() && (in_query || piece.ends_with(';'));
        in_query |= piece.ends_with(['?', '#']);
    }
    (copied > 0).then(|| out + target.get(copied..).unwrap_or_default())
}

/// Whether a part of a query has a name. Signs at its end pad what is none.
fn is_named(piece: &str) -> bool {
    piece.trim_end_matches('=').contains('=')
}

fn is_secret_within(value: &str, in_query: bool) -> bool {
    if names_secret(value, in_query) {
        return true;
    }
    let mut value = Cow::Borrowed(value);
    for _ in 0..4 {
        if !is_veiled(value.as_bytes()) {
            return false;
        }
        // A first parameter has no mark before it.
        let mut decoded = Vec::with_capacity(value.len() + 1);
        decoded.push(b'?');
        let mut rest = value.as_bytes();
        while let Some((byte, after)) = next_decoded(rest) {
            decoded.push(byte);
            rest = after;
        }
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        if matches!(redact_plain(&decoded), Cow::Owned(_))
            || has_user_info(&decoded)
            || names_secret(decoded.get(1..).unwrap_or_default(), in_query)
        {
            return true;
        }
        value = Cow::Owned(decoded.get(1..).unwrap_or_default().to_owned());
    }
    // Nobody encodes five times over who has nothing to hide.
    is_veiled(value.as_bytes())
}

fn redact_plain(target: &str) -> Cow<'_, str> {
    let mut redacted: Option<String> = None;
    // Up to here `target` has been copied into `redacted`.
    let mut copied = 0;
    let mut at = 0;
    let mut in_query = false;
    while let Some(found) = next_separator(target, at, in_query) {
        in_query |= matches!(target.as_bytes().get(found), Some(b'?' | b'#'));
        let start = found + 1;
        let end = next_boundary(target, start, in_query);
        at = end;
        let Some(parameter) = target.get(start..end) else { break };
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if value.is_empty() || !is_secret_parameter(name) {
            continue;
        }
        let value_at = end - value.len();
        // What has no name may be the rest of the secret: `?` and `;` can be part of a value.
        let mut end = end;
        while goes_on_at(target, end, in_query) {
            let next = next_boundary(target, end + 1, in_query);
            if target.get(end + 1..next).is_none_or(is_named) {
                break;
            }
            end = next;
        }
        at = end;
        let out = redacted.get_or_insert_with(|| String::with_capacity(target.len()));
        out.push_str(target.get(copied..value_at).unwrap_or_default());
        out.push_str(REDACTED);
        copied = end;
    }
    match redacted {
        None => Cow::Borrowed(target),
        Some(mut out) => {
            out.push_str(target.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Whether a value may go on behind the mark at `end`.
fn goes_on_at(target: &str, end: usize, in_query: bool) -> bool {
    match target.as_bytes().get(end) {
        Some(b';') => true,
        // In the path it is where the query begins.
        Some(b'?' | b'#') => in_query,
        _ => false,
    }
}

/// Where the next parameter is announced, at or after `from`.
fn next_separator(target: &str, from: usize, in_query: bool) -> Option<usize> {
    let rest = target.as_bytes().get(from..).filter(|rest| !rest.is_empty())?;
    // In a query, the end of one is the mark of the next.
    let found = if in_query { Some(0) } else { memchr::memchr3(b'?', b';', b'#', rest) };
    found.map(|at| from + at)
}

/// Where the parameter that begins at `from` ends.
fn next_boundary(target: &str, from: usize, in_query: bool) -> usize {
    let rest = target.as_bytes().get(from..).unwrap_or_default();
    let length = rest.iter().position(|byte| match byte {
        b'?' | b';' | b'#' => true,
        b'&' => in_query,
        b'/' => !in_query,
        _ => false,
    });
    length.map_or(target.len(), |length| from + length)
}

fn is_secret_parameter(name: &str) -> bool {
    if memchr::memchr(b'%', name.as_bytes()).is_none() {
        return holds_secret_word(name.as_bytes());
    }
    if name.len() > LONGEST_NAME {
        return true;
    }
    // SECURITY: `%74oken` reaches the application as `token`.
    let mut decoded = [0u8; LONGEST_NAME];
    let mut length = 0;
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = next_decoded(rest) {
        if let Some(slot) = decoded.get_mut(length) {
            *slot = byte;
            length += 1;
        }
        rest = after;
    }
    holds_secret_word(decoded.get(..length).unwrap_or_default())
}

fn next_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = text
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return Some((high << 4 | low, rest));
    }
    text.split_first().map(|(byte, rest)| (*byte, rest))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Where the first name of a secret in `text` ends.
pub fn secret_name_end(text: &str) -> Option<usize> {
    let text = text.as_bytes();
    let end = |word: &&[u8]| {
        let at = text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))?;
        Some(at + word.len())
    };
    SECRET_WORDS.iter().filter_map(end).min()
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
