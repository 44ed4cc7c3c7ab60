//! Upstreams, paths and the other words of the web.

use crate::config::Algorithm;
use crate::config::value::Value;
use crate::handler::proxy::url::UpstreamUrl;

/// A list of upstreams, or `none`.
pub(super) fn upstreams(items: &[&str]) -> Result<Value, String> {
    if let [one] = items
        && ["none", "off", "false"].iter().any(|word| one.eq_ignore_ascii_case(word))
    {
        return Ok(Value::Upstreams(Vec::new()));
    }
    let mut urls = Vec::new();
    for item in items {
        // The text itself may hold a password, and the error shows the value already.
        let url: UpstreamUrl = item.parse().map_err(|error| match items {
            [_] => format!("{error}"),
            _ => format!("{item:?} {error}"),
        })?;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Ok(Value::Upstreams(urls))
}

/// Content codings, the best first.
pub(super) fn algorithms(items: &[&str]) -> Result<Value, String> {
    let mut algorithms = Vec::new();
    for item in items {
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(item));
        let algorithm = algorithm.ok_or_else(|| format!("{item:?} is no content coding known here"))?;
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    if algorithms.is_empty() { Err("offers nothing".to_owned()) } else { Ok(Value::Algorithms(algorithms)) }
}

/// A path of a URL from `/`, with its query where that is allowed.
pub(super) fn url_path(text: &str, query: bool) -> Result<String, String> {
    let path = match text.split_once('?') {
        Some(_) if !query => return Err("has a query".to_owned()),
        Some((path, _)) => path,
        None => text,
    };
    if !path.starts_with('/') {
        return Err("does not begin with /".to_owned());
    }
    if text.contains('#') {
        return Err("has a fragment".to_owned());
    }
    if path.contains("//") {
        return Err("has an empty segment (//)".to_owned());
    }
    if path.split('/').any(is_dots) {
        return Err("has a segment of dots".to_owned());
    }
    // What RFC 3986 allows to stand in a path or query.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte);
    match text.bytes().find(|byte| !allowed(*byte)) {
        Some(b' ' | 0x80..) => Err("has a letter that has to be percent-encoded".to_owned()),
        Some(_) => Err("has a letter that no path has".to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// `.` and `..`, also where a dot is encoded.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}
