//! The words of OpenTelemetry: URLs of collectors, ratios, and lists of `key=value`.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use super::web::url_path;
use crate::config::source::Raw;
use crate::config::value::Value;
use crate::handler::proxy::url::{UpstreamUrlError, host_and_port};
use crate::outcall::Url;
use crate::trace::Ratio;

/// Pairs of one list, and bytes of one value: what a collector is sent with each batch.
const MOST_PAIRS: usize = 64;
const LONGEST_PAIR: usize = 4096;

/// `http://host:port/path` or `https://…`; the path is `/` where there is none.
pub(super) fn url(text: &str) -> Result<Value, String> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| UpstreamUrlError::NoScheme.to_string())?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(UpstreamUrlError::Scheme.to_string()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("has a user or password; what the collector is to be sent is tracing.headers".to_owned());
    }
    let (host, port) = host_and_port(authority).map_err(|error| error.to_string())?;
    let path = if path.is_empty() { "/" } else { path };
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(Value::Url(Url { tls, host, port, path: url_path(path, true)? }))
}

/// `0.01`
pub(super) fn ratio(text: &str) -> Result<Value, String> {
    Ratio::parse(text).map(Value::Ratio).ok_or_else(|| "not a number from 0 to 1".to_owned())
}

/// One or more of these words.
pub(super) fn words(items: &[&str], known: &[&'static str]) -> Result<Value, String> {
    let mut words = Vec::new();
    for item in items {
        let word = known.iter().find(|known| known.eq_ignore_ascii_case(item));
        let word = word.ok_or_else(|| format!("{item:?} is none of the words known here"))?;
        if !words.contains(word) {
            words.push(*word);
        }
    }
    if words.is_empty() { Err("names nothing".to_owned()) } else { Ok(Value::Words(words)) }
}

/// `key=value,key=value`, values percent-encoded (W3C Baggage, as the OTEL_* variables have it); with `fields`,
/// names and values of header fields. Nothing of a value is in an error: it may be a secret.
pub(super) fn pairs(raw: &Raw, fields: bool) -> Result<Value, String> {
    let items: Vec<&str> = match raw {
        Raw::Text(text) if text.trim().eq_ignore_ascii_case("none") => Vec::new(),
        Raw::Text(text) => text.split(',').collect(),
        Raw::List(list) => list.iter().map(String::as_str).collect(),
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (place, item) in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).enumerate() {
        let wrong = |what: &str| format!("pair {} {what}", place + 1);
        let (key, value) = item.split_once('=').ok_or_else(|| wrong("has no ="))?;
        let value =
            decoded(value.trim()).ok_or_else(|| wrong("has a value that is not percent-encoded UTF-8"))?;
        let mut key =
            decoded(key.trim()).ok_or_else(|| wrong("has a key that is not percent-encoded UTF-8"))?;
        if key.is_empty() || key.len() + value.len() > LONGEST_PAIR {
            return Err(wrong("has no key, or is too long"));
        }
        if fields {
            key = key.to_ascii_lowercase();
            let name = key.parse::<HeaderName>().map_err(|_| wrong("has a key that is no field name"))?;
            if HeaderValue::from_str(&value).is_err() {
                return Err(wrong("has a value that is no field value"));
            }
            if is_ours(&name) {
                return Err(format!("{name} is written by the exporter itself"));
            }
        }
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => pairs.push((key, value)),
        }
    }
    if pairs.len() > MOST_PAIRS {
        Err(format!("has over {MOST_PAIRS} pairs"))
    } else {
        Ok(Value::Pairs(pairs))
    }
}

/// Fields that say what is sent, or how.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "transfer-encoding"
            | "connection"
            | "te"
            | "upgrade"
            | "grpc-encoding"
    )
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// As [`pairs`] reads it.
pub(in crate::config) fn encoded(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    let put = |text: &mut String, part: &str| {
        for byte in part.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-._~/:@ ".contains(&byte);
            // Writing to a String cannot fail.
            let _ = if plain { write!(text, "{}", char::from(byte)) } else { write!(text, "%{byte:02X}") };
        }
    };
    for (place, (key, value)) in pairs.iter().enumerate() {
        text.push_str(if place > 0 { "," } else { "" });
        put(&mut text, key);
        text.push('=');
        put(&mut text, value);
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, fields: bool) -> Result<String, String> {
        pairs(&Raw::Text(text.to_owned()), fields).map(|value| value.to_string())
    }

    #[test]
    fn pairs_are_read_as_the_variables_write_them() {
        for (text, fields, expected) in [
            ("none", false, "none"),
            ("", false, "none"),
            (
                "service.name=talos-gateway,environment=prod",
                false,
                "service.name=talos-gateway,environment=prod",
            ),
            (" a = b , ,c=%20d%2Ce ", false, "a=b,c= d%2Ce"),
            ("a=1,a=2", false, "a=2"),
            ("a=x=y==", false, "a=x%3Dy%3D%3D"),
            ("Api-Key=s%C3%A9,x=", false, "Api-Key=s%C3%A9,x="),
            ("Authorization=Basic%20Zm9v,X-B=c", true, "authorization=Basic Zm9v,x-b=c"),
        ] {
            assert_eq!(read(text, fields).as_deref(), Ok(expected), "{text}");
        }
        let list = Raw::List(vec!["a=b,c".to_owned(), "d=e".to_owned()]);
        assert_eq!(pairs(&list, false).unwrap().to_string(), "a=b%2Cc,d=e");
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said_without_its_value() {
        for (text, fields) in [
            ("s3cret", false),
            ("a=1,s3cret", false),
            ("a=s3cret%", false),
            ("a=s3cret%2", false),
            ("a=s3cret%+1", false),
            ("a=s3cret%ff", false),
            ("=s3cret", false),
            ("a b=s3cret", true),
            ("a=s3cret%0D%0Ax", true),
            ("content-length=5", true),
            ("Host=s3cret", true),
        ] {
            let error = read(text, fields).unwrap_err();
            assert!(!error.contains("s3cret"), "{text}: {error}");
        }
        assert!(read(&format!("a={}", "b".repeat(LONGEST_PAIR)), false).is_err());
        assert!(read(&(0..65).map(|n| format!("k{n}=v,")).collect::<String>(), false).is_err());
    }

    #[test]
    fn a_collector_is_a_url() {
        for (text, expected) in [
            ("http://localhost:4318", "http://localhost:4318/"),
            ("HTTPS://Otlp.Example.com", "https://otlp.example.com:443/"),
            ("http://c/otlp", "http://c:80/otlp"),
            ("http://[::1]:4317/v1/traces?x=y", "http://[::1]:4317/v1/traces?x=y"),
        ] {
            assert_eq!(url(text).map(|value| value.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "localhost:4317",
            "grpc://a",
            "http://",
            "http://a:0",
            "http://a:70000",
            "http://u:p@a",
            "http://a/../b",
            "http://a/#x",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
