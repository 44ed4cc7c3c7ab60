//! Whom a request is for.

use http::{Request, header};

/// The host of a request without its port; `None` in HTTP/1.0 without Host.
pub fn host_of<B>(request: &Request<B>) -> Option<&str> {
    let text = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST)?.to_str().ok()?,
    };
    let end = if text.starts_with('[') { text.find(']').map(|at| at + 1) } else { text.find(':') };
    let host = text.get(..end.unwrap_or(text.len()))?;
    // A fully qualified name may end in a dot and is the same name.
    Some(host.strip_suffix('.').unwrap_or(host))
}

/// Whether `host` is the one that `pattern` names, or for `*.example.com` one below it.
pub fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            host.len() > suffix.len()
                && host.get(host.len() - suffix.len()..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => host.eq_ignore_ascii_case(pattern),
    }
}
