//! The span of a request: one, from the first byte of its head to the last of its answer, with the
//! attributes of the semantic conventions for HTTP servers (1.23 and later).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, Version};

use super::span::{Kind, Span, Value, cut};
use super::{Recording, SAMPLED, Trace};
use crate::redact::redact_target;
use crate::refusal::Reason;

/// Bytes of a path, and of a query.
const LONGEST_TARGET: usize = 1024;
/// Bytes of a user agent, of a host, and of an id.
const LONGEST_WORD: usize = 256;
/// Bytes of a method that is not known.
const LONGEST_METHOD: usize = 32;

/// Methods that the conventions know; CONNECT and QUERY are never served.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// `None`: aborted before an answer.
    pub status: Option<u16>,
    /// Why it was refused, or its answer cut off.
    pub reason: Option<Reason>,
    /// The configured path of its route.
    pub route: Option<&'a str>,
    /// Its id.
    pub request_id: &'a str,
    /// Who asked, after trusted proxies.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// From the first byte of the head to the end of the answer.
    pub duration: Duration,
}

/// `GET`, or `_OTHER` for what is no known method.
pub(super) fn method_name(method: &Method) -> &'static str {
    METHODS.iter().find(|known| **known == method.as_str()).copied().unwrap_or("_OTHER")
}

/// Adds the attributes of a method.
pub(super) fn put_method(attributes: &mut Vec<(&'static str, Value)>, method: &Method) {
    let name = method_name(method);
    attributes.push(("http.request.method", Value::Word(name)));
    if name == "_OTHER" {
        let original = cut(method.as_str(), LONGEST_METHOD);
        attributes.push(("http.request.method_original", Value::Text(original.into())));
    }
}

/// What a span is called that is about this method.
pub(super) fn span_name(method: &Method, route: Option<&str>) -> Box<str> {
    let name = match method_name(method) {
        "_OTHER" => "HTTP",
        name => name,
    };
    route.map_or_else(|| name.into(), |route| [name, " ", cut(route, LONGEST_WORD)].concat().into())
}

/// Path and query of a target, with secrets redacted.
pub(super) fn redacted(target: &str) -> (Box<str>, Option<Box<str>>) {
    let target = redact_target(target);
    let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
    let query = query.filter(|query| !query.is_empty()).map(|query| cut(query, LONGEST_TARGET).into());
    (cut(path, LONGEST_TARGET).into(), query)
}

/// `1.1`, as the conventions write it.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

impl Trace {
    /// The request is over: its span goes to be exported, if it is recorded.
    pub fn end(&self, ended: &Ended<'_>) {
        let Some(recording) = &self.recording else { return };
        let start = recording.nanos(Duration::ZERO);
        let error = ended.error();
        recording.spans.push(Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: recording.parent,
            remote_parent: recording.parent.is_some(),
            flags: self.flags | SAMPLED,
            state: recording.state.clone(),
            kind: Kind::Server,
            name: span_name(&recording.method, ended.route),
            start,
            end: recording.nanos(ended.duration),
            failed: error.is_some(),
            attributes: recording.attributes(ended, error),
            link: recording.link,
        });
    }
}

impl Ended<'_> {
    /// What failed, if something did: the fault of a client is none of the server's.
    fn error(&self) -> Option<Value> {
        match (self.status, self.reason) {
            (Some(status), None) if status >= 500 => Some(Value::Text(status.to_string().into())),
            (Some(status), Some(reason)) if status >= 500 => Some(Value::Word(reason.label())),
            // It was cut off, and its status tells of something else.
            (Some(status), Some(reason)) if status < 400 => Some(Value::Word(reason.label())),
            (Some(_), _) => None,
            (None, Some(reason)) => Some(Value::Word(reason.label())),
            (None, None) => Some(Value::Word("aborted")),
        }
    }
}

impl Recording {
    /// So long after its begin, in nanoseconds since 1970.
    pub(super) fn nanos(&self, after: Duration) -> u64 {
        let since = self.began.0.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn attributes(&self, ended: &Ended<'_>, error: Option<Value>) -> Vec<(&'static str, Value)> {
        let mut attributes = Vec::with_capacity(20);
        let mut put = |name, value| attributes.push((name, value));
        let target = self.target.as_ref().map_or("", |target| target.as_str());
        let (path, query) = redacted(target);
        put("url.path", Value::Text(path));
        put("url.scheme", Value::Word(self.scheme));
        if let Some(query) = query {
            put("url.query", Value::Text(query));
        }
        if let Some(route) = ended.route {
            put("http.route", Value::Text(cut(route, LONGEST_TARGET).into()));
        }
        if let Some(status) = ended.status {
            put("http.response.status_code", Value::Number(status.into()));
        }
        if let Some(error) = error {
            put("error.type", error);
        }
        if let Some((host, port)) = self.host.as_ref().and_then(|host| host_and_port(host.as_str())) {
            put("server.address", Value::Text(cut(host, LONGEST_WORD).into()));
            let port = port.unwrap_or(if self.scheme == "https" { 443 } else { 80 });
            put("server.port", Value::Number(port.into()));
        }
        put("client.address", Value::Text(ended.client.to_canonical().to_string().into()));
        put("network.peer.address", Value::Text(ended.peer.ip().to_canonical().to_string().into()));
        put("network.peer.port", Value::Number(ended.peer.port().into()));
        put("network.protocol.version", Value::Word(version_name(self.version)));
        if let Some(agent) = self.user_agent.as_ref() {
            let agent = String::from_utf8_lossy(agent.as_bytes());
            put("user_agent.original", Value::Text(cut(&agent, LONGEST_WORD).into()));
        }
        if !ended.request_id.is_empty() {
            put("nessen.request_id", Value::Text(cut(ended.request_id, LONGEST_WORD).into()));
        }
        if let Some(reason) = ended.reason {
            put("nessen.refusal", Value::Word(reason.label()));
        }
        put_method(&mut attributes, &self.method);
        attributes
    }
}

/// `host:port` taken apart; IPv6 without its brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    // SECURITY: a refused request may have a user and a password there.
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && !port.is_empty() => (host, Some(port.parse().ok()?)),
        _ => (authority.trim_end_matches(':'), None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_taken_apart() {
        for (text, expected) in [
            ("a.test", Some(("a.test", None))),
            ("a.test:", Some(("a.test", None))),
            ("a.test:8080", Some(("a.test", Some(8080)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("admin:s3cret@a.test:80", Some(("a.test", Some(80)))),
            ("admin:s3@cret@[::1]", Some(("::1", None))),
            ("a:b", None),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn a_method_that_is_not_known_is_told_in_bounds() {
        let method = Method::from_bytes("x".repeat(100).as_bytes()).unwrap();
        let mut attributes = Vec::new();
        put_method(&mut attributes, &method);
        assert_eq!(attributes[0].1, Value::Word("_OTHER"));
        assert_eq!(attributes[1].1, Value::Text("x".repeat(32).into()));
        assert_eq!(&*span_name(&method, Some("/a")), "HTTP /a");
        assert_eq!(&*span_name(&Method::GET, None), "GET");
        // A method is its letters: `get` is another.
        assert_eq!(method_name(&Method::from_bytes(b"get").unwrap()), "_OTHER");
    }

    #[test]
    fn secrets_of_a_target_are_redacted_before_it_is_cut() {
        let long = format!("/{}?a=1&token=s3cret", "p".repeat(5000));
        let (path, query) = redacted(&long);
        assert_eq!((path.len(), query.as_deref()), (1024, Some("a=1&token=[redacted]")));
        assert_eq!(redacted("/a;sid=1?"), ("/a;sid=1".into(), None));
        assert_eq!(redacted("/a;jsessionid=1?x"), ("/a;jsessionid=[redacted]".into(), Some("x".into())));
    }
}
