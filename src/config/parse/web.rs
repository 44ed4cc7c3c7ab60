//! Upstreams, paths and the other words of the web.

use std::net::IpAddr;

use http::Method;

use crate::config::Algorithm;
use crate::config::keys::StorePart;
use crate::config::value::Value;
use crate::evidence::cold;
use crate::handler::proxy::url::{UpstreamUrl, UpstreamUrlError, host_and_port};

/// Bytes of the longest name of a check: it becomes a label and a word of `/ready`.
const LONGEST_CHECK_NAME: usize = 64;

/// A list of upstreams, or `none`.
pub(super) fn upstreams(items: &[&str]) -> Result<Value, String> {
    if let [one] = items
        && ["none", "off", "false"].iter().any(|word| one.eq_ignore_ascii_case(word))
    {
        return Ok(Value::Upstreams(Vec::new()));
    }
    let mut urls = Vec::new();
    for item in items {
        let url: UpstreamUrl = item.parse().map_err(|error| match items {
            [_] => format!("{error}"),
            // It may be a part of a password.
            _ if item.contains('@') => format!("one of them {error}"),
            _ => format!("{item:?}: {error}"),
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

/// Methods of any name, which an application behind may know.
pub(super) fn any_methods(items: &[&str]) -> Result<Value, String> {
    let mut methods = Vec::new();
    for item in items {
        let name = item.to_ascii_uppercase();
        if name == "CONNECT" {
            return Err("CONNECT is never allowed".to_owned());
        }
        let method: Method = name.parse().map_err(|_| format!("{item:?} is no method name"))?;
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    if methods.is_empty() { Err("allows nothing".to_owned()) } else { Ok(Value::Methods(methods)) }
}

/// Where a redirect leads: an absolute URL, or a path with what follows it.
pub(super) fn location(text: &str) -> Result<String, String> {
    // `//host` and `/\host` are other hosts to a browser, and look like paths.
    let path = text.starts_with('/') && !text.starts_with("//");
    let url = match text.split_once("://") {
        Some((scheme, rest)) => {
            ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
                && rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        }
        None => false,
    };
    if !path && !url {
        return Err("neither a URL nor a path".to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?#[]".contains(&byte);
    if text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("has a letter that no URL has".to_owned())
    }
}

/// The name of a readiness check.
pub(super) fn check_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let sound = (1..=LONGEST_CHECK_NAME).contains(&text.len()) && text.bytes().all(allowed);
    if sound { Ok(text.to_owned()) } else { Err("no name of a check".to_owned()) }
}

/// `host:port`, or `host` alone where there is a port that goes without saying.
pub(super) fn host_port(text: &str, default: Option<u16>) -> Result<Value, String> {
    if text.contains("://") {
        return Err("is a URL".to_owned());
    }
    let (host, port) = host_and_port(text).map_err(|error| error.to_string())?;
    let port = port.or(default).ok_or("has no port")?;
    Ok(Value::Endpoint { host, port, path: String::new(), tls: false })
}

/// A name or address that a certificate can be for.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match host_and_port(text) {
        Ok((_, Some(_))) => Err("has a port".to_owned()),
        Ok((host, None)) => Ok(host),
        Err(_) => Err("neither a name nor an address".to_owned()),
    }
}

/// `http://host:port/path`, the path with its query.
pub(super) fn http_url(text: &str) -> Result<Value, String> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| UpstreamUrlError::NoScheme.to_string())?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let url: UpstreamUrl =
        format!("{scheme}://{authority}").parse().map_err(|error: UpstreamUrlError| error.to_string())?;
    if url.protocol.is_http2() {
        return Err("is asked over HTTP/1.1 alone; write http:// or https://".to_owned());
    }
    let path = if path.is_empty() { "/" } else { path };
    let tls = url.protocol.is_tls();
    Ok(Value::Endpoint { host: url.host, port: url.port, path: url_path(path, true)?, tls })
}

/// A part of where evidence is written to.
pub(super) fn store(part: StorePart, text: &str) -> Result<String, String> {
    match part {
        StorePart::Place => cold::location(text).map(|_| text.to_owned()),
        StorePart::Bucket => cold::bucket_name(text),
        StorePart::Prefix => cold::bucket_prefix(text),
        StorePart::Region => cold::bucket_region(text),
        StorePart::Endpoint => cold::endpoint(text).map(|endpoint| endpoint.to_string()),
        StorePart::Key => {
            let sound =
                (1..=4096).contains(&text.len()) && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
            if sound { Ok(text.to_owned()) } else { Err("holds what no key does".to_owned()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_a_list_without_doubles_or_none() {
        let read = |text: &str| {
            let items: Vec<&str> = text.split(' ').filter(|item| !item.is_empty()).collect();
            upstreams(&items).map(|value| value.to_string())
        };
        assert_eq!(read("http://a h2c://b:1 http://A:80").as_deref(), Ok("http://a:80, h2c://b:1"));
        assert_eq!(read("none").as_deref(), Ok("none"));
        assert_eq!(read("").as_deref(), Ok("none"));
        assert_eq!(read("app:80"), Err("has no scheme; did you forget http://?".to_owned()));
        assert_eq!(read("http://a none"), Err("\"none\": has no scheme; did you forget http://?".to_owned()));
        // A password with a comma in it falls apart, and its parts stay out of the error.
        let secret = read("http://me:hun ter2@app").unwrap_err();
        assert!(!secret.contains("ter2"), "{secret}");
    }

    #[test]
    fn paths_may_have_what_paths_have() {
        for path in ["/", "/a/b", "/a.b/..c", "/a;b=c@d:e", "/%20"] {
            assert_eq!(url_path(path, false).as_deref(), Ok(path));
        }
        assert_eq!(url_path("/healthz?a=b&c//..", true).as_deref(), Ok("/healthz?a=b&c//.."));
        for path in ["", "a", "/a?b", "/./a", "/a/.", "/%2e./", "/a//b", "/a#", "/a\n", "/<a>", "/é"] {
            assert!(url_path(path, false).is_err(), "{path}");
        }
    }

    #[test]
    fn a_location_is_a_url_or_a_path_of_this_host() {
        for to in ["/", "/a?b#c", "https://example.com", "HTTP://[::1]:8080/x%20y"] {
            assert_eq!(location(to).as_deref(), Ok(to));
        }
        for to in [
            "",
            "a",
            "//evil",
            "/\\evil",
            "ftp://a",
            "https://",
            "https:///a",
            "/a b",
            "/a\r\nX: 1",
            "javascript:alert(1)",
        ] {
            assert!(location(to).is_err(), "{to}");
        }
    }

    #[test]
    fn methods_of_any_name_are_taken_once() {
        let read = |items: &[&str]| any_methods(items).map(|value| value.to_string());
        assert_eq!(read(&["get", "PROPFIND", "GET", "M-SEARCH"]).as_deref(), Ok("GET, PROPFIND, M-SEARCH"));
        for items in [&["connect"][..], &["A B"], &["GET", "é"], &[]] {
            assert!(read(items).is_err(), "{items:?}");
        }
    }

    #[test]
    fn a_place_to_ask_is_read_with_its_default_port() {
        let endpoint = |value: Result<Value, String>| value.map(|value| value.to_string());
        assert_eq!(endpoint(host_port("Db", Some(5_432))).as_deref(), Ok("db:5432"));
        assert_eq!(endpoint(host_port("[::1]:1", None)).as_deref(), Ok("[::1]:1"));
        assert_eq!(endpoint(http_url("http://app")).as_deref(), Ok("app:80/"));
        assert_eq!(endpoint(http_url("http://[::1]:8080/a?b=c")).as_deref(), Ok("[::1]:8080/a?b=c"));
        assert!(matches!(http_url("https://app"), Ok(Value::Endpoint { port: 443, tls: true, .. })));
        let name = |text: &str| server_name(text);
        for (text, read) in
            [("App.test.", "app.test."), ("[::1]", "::1"), ("0:0::1", "::1"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(name(text).as_deref(), Ok(read));
        }
        assert!(["a:1", "[::1]:1", "a b", "", "10.0.0.300"].into_iter().all(|text| name(text).is_err()));
        for text in ["db", "", ":1", "db:0", "db:x", "tcp://db:1", "::1:80"] {
            assert!(host_port(text, None).is_err(), "{text}");
        }
        for text in [
            "app",
            "h2://app",
            "h2c://app",
            "http://",
            "http://app?a",
            "http://app/#a",
            "http://u@app/",
            "http://app//a",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }
}
