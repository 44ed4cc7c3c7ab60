//! Stage two: from what was written to what it means.

pub(super) mod telemetry;
mod web;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use super::keys::{FASTEST, Key, Kind};
use super::source::Raw;
use super::value::{METHODS, Value};
use crate::client_address::TrustedProxies;
use crate::limits::rate::{KeyBy, RedisUrl};
use crate::units::{UnitError, parse_duration, parse_rate, parse_size};

/// What `private` and `TRUST_PROXY=true` stand for: loopback, link-local and private ranges.
const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Follows what was written.
const NO_HOST: &str = "is no host name, address or *.name, without port";

/// What `raw` means for `key`; `seconds` where the name it was set by counts integers in seconds.
/// The error says what is wrong in words that follow the value.
pub(super) fn parse(key: &Key, raw: &Raw, seconds: bool) -> Result<Value, String> {
    if let Raw::Text(text) = raw
        && key.auto.is_some()
        && text.trim().eq_ignore_ascii_case("auto")
    {
        return Ok(Value::Auto);
    }
    match (key.kind, raw) {
        (Kind::Networks, raw) => networks(&items(raw)),
        (Kind::Methods, raw) => methods(&items(raw)),
        (Kind::Hosts, raw) => hosts(&items(raw)),
        (Kind::Upstreams, raw) => web::upstreams(&items(raw)),
        (Kind::Algorithms, raw) => web::algorithms(&items(raw)),
        (Kind::AnyMethods, raw) => web::any_methods(&items(raw)),
        (Kind::Files, raw) => Ok(files(&items(raw))?),
        (Kind::Pairs { fields }, raw) => telemetry::pairs(raw, fields),
        (Kind::Words(known), raw) => telemetry::words(&items(raw), known),
        (Kind::Text, Raw::Text(text)) if key.auto.is_none() => Ok(Value::Text(text.clone())),
        (_, Raw::List(_)) => Err("takes one value, not a list".to_owned()),
        (_, Raw::Text(text)) => scalar(key, text.trim(), seconds),
    }
}

/// Where the name of a variable says what its integers count.
const NO_SECONDS: &str = "not a duration: write seconds (30), or units of h, m, s, ms (30s, 1m30s)";

fn scalar(key: &Key, text: &str, seconds: bool) -> Result<Value, String> {
    if key.off && is_off(key.kind, text) {
        return Ok(Value::Off);
    }
    match key.kind {
        Kind::Bool => boolean(text).map(Value::Bool).ok_or_else(|| "not true or false".to_owned()),
        Kind::Count { min, max } => {
            let number = text.parse::<u64>().map_err(|_| "not a whole number in range".to_owned())?;
            in_range(number, min, max).map(Value::Count)
        }
        Kind::Size { min, max } => {
            let bytes = parse_size(text).map_err(|error| error.to_string())?;
            in_range(bytes, min, max).map(Value::Size)
        }
        Kind::Time { min, max } => {
            let duration = match text.parse::<u64>() {
                Ok(count) if seconds => Duration::from_secs(count),
                _ if seconds => parse_duration(text).map_err(|error| match error {
                    UnitError::Duration => NO_SECONDS.to_owned(),
                    other => other.to_string(),
                })?,
                _ => parse_duration(text).map_err(|error| error.to_string())?,
            };
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            in_range(millis, min, max).map(|_| Value::Time(duration))
        }
        Kind::Rate => match parse_rate(text).map_err(|error| error.to_string())? {
            None if key.off => Ok(Value::Off),
            Some(rate) if rate.bytes_per_second <= FASTEST && rate.grace <= Duration::from_secs(86_400) => {
                Ok(Value::Rate(rate))
            }
            _ => Err("out of range".to_owned()),
        },
        Kind::Address => address(text).map(Value::Address).ok_or_else(|| "not an address".to_owned()),
        Kind::Choice(words) => {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            word.map(|word| Value::Choice(word)).ok_or_else(|| "not one of the words known here".to_owned())
        }
        Kind::HeaderName => text
            .parse::<HeaderName>()
            .map(Value::HeaderName)
            .map_err(|_| "not a header field name".to_owned()),
        Kind::HeaderValue => header_value(text).ok_or_else(|| "not a header field value".to_owned()),
        Kind::Folder if text.is_empty() => Err("names no folder".to_owned()),
        Kind::Folder => Ok(Value::Folder(text.into())),
        Kind::File if text.is_empty() => Err("names no file".to_owned()),
        Kind::File => Ok(Value::File(text.into())),
        Kind::ServerName => web::server_name(text).map(Value::Text),
        Kind::UrlPath { query } => web::url_path(text, query).map(Value::UrlPath),
        Kind::Host => host(text).map(|host| Value::Hosts(vec![host])).ok_or_else(|| NO_HOST.to_owned()),
        Kind::OneOf(numbers) => match text.parse() {
            Ok(number) if numbers.contains(&number) => Ok(Value::Count(number)),
            _ => Err("not one of the numbers known here".to_owned()),
        },
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Location => web::location(text).map(Value::Text),
        Kind::CheckName => web::check_name(text).map(Value::Text),
        Kind::HostPort { port } => web::host_port(text, port),
        Kind::HttpUrl => web::http_url(text),
        Kind::RedisUrl => RedisUrl::parse(text).map(Value::RedisUrl).map_err(str::to_owned),
        Kind::RateKey => KeyBy::parse(text).map(Value::RateKey),
        Kind::Store(part) => web::store(part, text).map(Value::Text),
        Kind::Url => telemetry::url(text),
        Kind::Ratio => telemetry::ratio(text),
        Kind::Networks
        | Kind::Methods
        | Kind::AnyMethods
        | Kind::Hosts
        | Kind::Upstreams
        | Kind::Files
        | Kind::Pairs { .. }
        | Kind::Words(_)
        | Kind::Algorithms => Err("takes a list".to_owned()),
    }
}

fn is_off(kind: Kind, text: &str) -> bool {
    let numeric = !matches!(
        kind,
        Kind::HeaderValue
            | Kind::Folder
            | Kind::File
            | Kind::ServerName
            | Kind::UrlPath { .. }
            | Kind::Store(_)
    );
    ["off", "none", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
        || (numeric && !text.is_empty() && matches!(parse_size(text), Ok(0)))
}

fn in_range(number: u64, min: u64, max: u64) -> Result<u64, String> {
    if (min..=max).contains(&number) { Ok(number) } else { Err("out of range".to_owned()) }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    // The one name taken without a resolver: what every host file says of it.
    if text.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn header_value(text: &str) -> Option<Value> {
    // HeaderValue alone would take bytes above ASCII and the empty value.
    let plain = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    plain.then(|| HeaderValue::from_str(text).ok()).flatten().map(Value::HeaderValue)
}

/// The items of a list, or of a text with commas or spaces between them.
fn items(raw: &Raw) -> Vec<&str> {
    let split = |text| str::split(text, |c: char| c == ',' || c.is_whitespace());
    let items: Vec<&str> = match raw {
        Raw::Text(text) => split(text).collect(),
        Raw::List(list) => list.iter().map(String::as_str).collect(),
    };
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn files(items: &[&str]) -> Result<Value, String> {
    match items {
        [] => Err("names no file".to_owned()),
        [one] if ["off", "none", "false"].iter().any(|word| one.eq_ignore_ascii_case(word)) => Ok(Value::Off),
        items => Ok(Value::Files(items.iter().map(Into::into).collect())),
    }
}

fn networks(items: &[&str]) -> Result<Value, String> {
    let mut networks = Vec::new();
    match items {
        [one] if boolean(one) == Some(false) || one.eq_ignore_ascii_case("none") => {}
        [one] if boolean(one) == Some(true) => networks.extend(private()),
        items => {
            for item in items {
                if item.eq_ignore_ascii_case("private") {
                    networks.extend(private());
                } else {
                    networks.push(network(item).ok_or_else(|| format!("{item:?} is no address or CIDR"))?);
                }
            }
        }
    }
    Ok(Value::Networks(TrustedProxies::new(networks)))
}

fn private() -> impl Iterator<Item = IpNet> {
    PRIVATE.iter().filter_map(|network| network.parse().ok())
}

fn network(text: &str) -> Option<IpNet> {
    // A mapped address is compared as the IPv4 address that it stands for.
    let net = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    net.or_else(|_| text.parse::<IpNet>()).map(|net| net.trunc()).ok()
}

fn methods(items: &[&str]) -> Result<Value, String> {
    let mut methods = Vec::new();
    for item in items {
        let name = item.to_ascii_uppercase();
        if name == "CONNECT" {
            return Err("CONNECT is never allowed".to_owned());
        }
        let method = METHODS.contains(&name.as_str()).then(|| name.parse::<Method>().ok()).flatten();
        let method = method.ok_or_else(|| format!("{item:?} is no method known here"))?;
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    if methods.is_empty() { Err("allows nothing".to_owned()) } else { Ok(Value::Methods(methods)) }
}

fn hosts(items: &[&str]) -> Result<Value, String> {
    if let [one] = items
        && (one.eq_ignore_ascii_case("any") || *one == "*")
    {
        return Ok(Value::Hosts(Vec::new()));
    }
    let mut hosts = Vec::new();
    for item in items {
        let host = host(item).ok_or_else(|| format!("{item:?} {NO_HOST}"))?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(Value::Hosts(hosts))
}

/// One host in lower case.
fn host(text: &str) -> Option<String> {
    Some(text.to_ascii_lowercase()).filter(|host| is_host(host))
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    fn read(path: &str, text: &str) -> Result<String, String> {
        let key = keys::find(path).unwrap();
        parse(key, &Raw::Text(text.to_owned()), false).map(|value| value.to_string())
    }

    #[test]
    fn every_kind_is_read_as_an_operator_writes_it() {
        for (path, text, expected) in [
            ("http2.enabled", "YES", "true"),
            ("http2.enabled", "0", "false"),
            ("http2.enabled", "on", "true"),
            ("server.port", "0", "0"),
            ("server.host", "[::]", "::"),
            ("server.host", "localhost", "127.0.0.1"),
            ("server.workers", "AUTO", "auto"),
            ("admin.port", "off", "off"),
            ("admin.port", "0", "off"),
            ("admin.port", "9090", "9090"),
            ("limits.max_response_size", "0", "off"),
            ("limits.max_response_size", "0B", "off"),
            ("limits.max_body_size", "1048576", "1MiB"),
            ("limits.request_timeout", "30000", "30s"),
            ("limits.min_body_rate", "off", "off"),
            ("limits.min_body_rate", "0", "off"),
            ("limits.min_body_rate", "1000", "1 KB/s after 5s"),
            ("limits.allowed_methods", "get,HEAD POST get", "GET, HEAD, POST"),
            ("limits.allowed_hosts", "Example.com, *.example.org,[::1]", "example.com, *.example.org, [::1]"),
            ("limits.allowed_hosts", "any", "any"),
            ("server.trusted_proxies", "10.1.2.3/8, ::ffff:9.9.9.9", "10.0.0.0/8, 9.9.9.9/32"),
            ("server.trusted_proxies", "false", "none"),
            ("log.level", "WARN", "warn"),
            ("shutdown.drain_delay", "0", "0s"),
            ("security_headers.frame_options", "SAMEORIGIN", "SAMEORIGIN"),
            ("security_headers.frame_options", "off", "off"),
        ] {
            assert_eq!(read(path, text).as_deref(), Ok(expected), "{path} = {text}");
        }
    }

    #[test]
    fn what_is_out_of_range_or_of_another_kind_is_refused() {
        for (path, text) in [
            ("http2.enabled", "maybe"),
            ("server.port", "65536"),
            ("server.port", "-1"),
            ("server.host", "example.com"),
            ("server.workers", "0"),
            ("limits.max_body_size", "0"),
            ("limits.max_body_size", "auto"),
            ("limits.max_url_length", "15"),
            ("limits.max_url_length", "64KiB"),
            ("limits.max_header_size", "1023"),
            ("limits.request_timeout", "0"),
            ("limits.request_timeout", "25h"),
            ("limits.min_body_rate", "2GiB/s"),
            ("limits.allowed_methods", "GET CONNECT"),
            ("limits.allowed_methods", "GET BREW"),
            ("limits.allowed_methods", ""),
            ("limits.allowed_hosts", "example.com:80"),
            ("limits.allowed_hosts", "a..b"),
            ("server.trusted_proxies", "10.0.0.0/33"),
            ("server.trusted_proxies", "10.0.0.1, true"),
            ("server.request_id_header", "no spaces"),
            ("security_headers.frame_options", "DENY\r\nEvil: 1"),
            ("security_headers.frame_options", ""),
            ("log.level", "loud"),
            ("http2.stream_window", "2GiB"),
        ] {
            assert!(read(path, text).is_err(), "{path} = {text}");
        }
    }

    #[test]
    fn trust_proxy_true_is_every_private_range_and_nothing_else() {
        let key = keys::find("server.trusted_proxies").unwrap();
        let Ok(Value::Networks(trusted)) = parse(key, &Raw::Text("true".to_owned()), false) else { panic!() };
        assert_eq!(trusted.networks().len(), PRIVATE.len());
        for inside in ["127.0.0.1", "10.9.9.9", "172.31.0.1", "192.168.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(trusted.trusts(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["172.32.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(!trusted.trusts(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_integer_counts_seconds_where_the_name_says_so() {
        let key = keys::find("shutdown.drain_timeout").unwrap();
        let read = |text: &str| parse(key, &Raw::Text(text.to_owned()), true);
        assert_eq!(read("45"), Ok(Value::Time(Duration::from_secs(45))));
        assert_eq!(read("1500ms"), Ok(Value::Time(Duration::from_millis(1500))));
        assert_eq!(read("soon"), Err(NO_SECONDS.to_owned()));
    }
}
