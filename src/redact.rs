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
/// Parameters are what stands between `?`, `&` and `;`, in the query and (matrix parameters, such
/// as `;jsessionid=`) in the path. One that is encoded within another, as in `next=%2Fa%3Ftoken%3D1`,
/// takes the other with it. Nothing is allocated where there is nothing to redact.
pub fn redact_target(target: &str) -> Cow<'_, str> {
    let redacted = redact_plain(target);
    if is_nested(&redacted) {
        return hide_nested(&redacted).map_or(redacted, Cow::Owned);
    }
    redacted
}

/// Whether an equals sign may be encoded somewhere: `%3D`, `%253D` and so on.
fn is_nested(target: &str) -> bool {
    let escapes = memchr::memchr_iter(b'%', target.as_bytes());
    let mut digits = escapes.filter_map(|at| target.as_bytes().get(at + 1..at + 3));
    digits.any(|digits| matches!(digits, b"3D" | b"3d" | b"25"))
}

/// The same with each value left out that would be redacted if it were decoded; `None` where there is none.
fn hide_nested(target: &str) -> Option<String> {
    let mut out = String::with_capacity(target.len());
    let mut found = false;
    for piece in target.split_inclusive(['?', '&', ';']) {
        let name_end = piece.find('=').map_or(0, |at| at + 1);
        let (name, value) = piece.split_at_checked(name_end).unwrap_or(("", piece));
        let last = value.chars().next_back().filter(|last| matches!(last, '?' | '&' | ';'));
        let bare = last.and_then(|last| value.strip_suffix(last)).unwrap_or(value);
        let hidden = is_nested(bare) && is_secret_within(bare);
        out.push_str(name);
        out.push_str(if hidden { REDACTED } else { bare });
        out.extend(last);
        found |= hidden;
    }
    found.then_some(out)
}

fn is_secret_within(value: &str) -> bool {
    // A first parameter has no mark before it.
    let mut value = format!("?{value}");
    for _ in 0..4 {
        let mut decoded = Vec::with_capacity(value.len());
        let mut rest = value.as_bytes();
        while let Some((byte, after)) = next_decoded(rest) {
            decoded.push(byte);
            rest = after;
        }
        value = String::from_utf8_lossy(&decoded).into_owned();
        if matches!(redact_plain(&value), Cow::Owned(_)) {
            return true;
        }
        if !is_nested(&value) {
            return false;
        }
    }
    // Nobody encodes five times over who has nothing to hide.
    true
}

fn redact_plain(target: &str) -> Cow<'_, str> {
    let mut redacted: Option<String> = None;
    // Up to here `target` has been copied into `redacted`.
    let mut copied = 0;
    let mut at = 0;
    let mut in_query = false;
    while let Some(found) = next_separator(target, at, in_query) {
        in_query |= target.as_bytes().get(found) == Some(&b'?');
        let start = found + 1;
        let end = next_boundary(target, start, in_query);
        at = end;
        let Some(parameter) = target.get(start..end) else { break };
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if value.is_empty() || !is_secret_parameter(name) {
            continue;
        }
        let value_at = end - value.len();
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

/// Where the next parameter is announced, at or after `from`.
fn next_separator(target: &str, from: usize, in_query: bool) -> Option<usize> {
    let rest = target.as_bytes().get(from..)?;
    let found =
        if in_query { memchr::memchr3(b'?', b'&', b';', rest) } else { memchr::memchr2(b'?', b';', rest) };
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
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_any_case() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "Cookie",
            "SET-COOKIE",
            "x-csrf-token",
            "client_secret",
            "Password",
            "passwd",
            "apiKey",
            "X-Amz-Signature",
            "sig",
            "credentials",
            "sessionid",
            "auth",
            "header_b64u",
            "ciphertext_b64u",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["", "page", "q", "user", "content-type", "to", "ken"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secret_values_are_replaced_and_the_rest_is_kept() {
        for (target, expected) in [
            ("/a?token=abc", "/a?token=[redacted]"),
            ("/a?x=1&API_KEY=abc&y=2", "/a?x=1&API_KEY=[redacted]&y=2"),
            ("/a?%74oken=abc&b=1", "/a?%74oken=[redacted]&b=1"),
            ("/a?t%6Fke%6e=abc", "/a?t%6Fke%6e=[redacted]"),
            ("/a?x=1;password=p;y=2", "/a?x=1;password=[redacted];y=2"),
            ("/a?user[password]=p", "/a?user[password]=[redacted]"),
            ("/a?sig=a=b==&x=1", "/a?sig=[redacted]&x=1"),
            ("/cb?next=/b?token=abc", "/cb?next=/b?token=[redacted]"),
            ("/cb?next=%2Fb%3Ftoken%3Dabc&x=1", "/cb?next=[redacted]&x=1"),
            ("/cb?next=%252Fb%253ftoken%253dabc", "/cb?next=[redacted]"),
            ("/cb?n=%25252Fb%25253Ftoken%25253Dabc", "/cb?n=[redacted]"),
            ("/cb?n=%3Ftoken%3Dabc", "/cb?n=[redacted]"),
            ("/cb?n=token%3Dabc;b", "/cb?n=[redacted];b"),
            ("/a;jsessionid=abc/b?x=1", "/a;jsessionid=[redacted]/b?x=1"),
            ("/a?token=1&token=2", "/a?token=[redacted]&token=[redacted]"),
            ("/ü?kéy=1&key=ü", "/ü?kéy=1&key=[redacted]"),
        ] {
            assert_eq!(redact_target(target), expected);
        }
    }

    #[test]
    fn nothing_is_allocated_where_there_is_nothing_to_redact() {
        for target in [
            "/",
            "/a?token",
            "/a?token=",
            "/a?",
            "/token=abc",
            "/a?x=token",
            "/a?%7=1",
            "/a?b=%3D&c=a%3Db",
            "/%25?100%25=%253D",
            "/a?%zz=%",
            "*",
            "",
            "/a&key=1",
        ] {
            assert!(matches!(redact_target(target), Cow::Borrowed(same) if same == target), "{target}");
        }
    }

    #[test]
    fn an_absurdly_long_encoded_name_is_taken_for_a_secret() {
        let target = format!("/?%41{}=abc", "a".repeat(LONGEST_NAME));
        assert!(redact_target(&target).ends_with("=[redacted]"));
    }
}
