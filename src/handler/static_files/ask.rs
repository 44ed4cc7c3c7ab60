//! What is asked of `ServeDir`, and what it leaves to us.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

/// The fields it reads, besides Range.
const READ: [HeaderName; 3] =
    [header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];
/// Lists of which it reads the first line only.
const LISTS: [HeaderName; 2] = [header::IF_MATCH, header::IF_NONE_MATCH];

/// The request for the file at `path`, without a Range. A HEAD asks as a GET does, whose body is
/// then left unread: `ServeDir` would only look at the name, and answer 200 for what is no file.
pub(super) fn request(from: &Parts, path: &str) -> Option<Request<()>> {
    let mut request = Request::builder().uri(path).body(()).ok()?;
    for name in READ {
        for value in from.headers.get_all(&name) {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    for name in LISTS {
        let mut lines = from.headers.get_all(&name).iter();
        let Some(first) = lines.next() else { continue };
        let joined = lines.fold(first.as_bytes().to_vec(), |joined, line| {
            [&joined, b", ".as_slice(), line.as_bytes()].concat()
        });
        request.headers_mut().insert(name, HeaderValue::from_bytes(&joined).ok()?);
    }
    Some(request)
}

/// The Range to be obeyed: of a GET, in bytes. Any other is ignored (RFC 9110 section 14.2),
/// where `ServeDir` would answer 416, and 206 to a HEAD.
pub(super) fn range(from: &Parts) -> Option<HeaderValue> {
    let mut values = from.headers.get_all(header::RANGE).iter();
    let value = values.next().filter(|_| from.method == Method::GET)?.to_str().ok()?;
    let (unit, ranges) = value.split_once('=')?;
    if values.next().is_some() || !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    HeaderValue::try_from(format!("bytes={ranges}")).ok()
}

/// Whether this is one range, of so many bytes from the end.
pub(super) fn is_end(range: &HeaderValue) -> bool {
    let length = range.to_str().ok().and_then(|range| range.strip_prefix("bytes=-"));
    length.is_some_and(|length| {
        length.bytes().all(|digit| digit.is_ascii_digit()) && !length.trim_matches('0').is_empty()
    })
}

/// Whether the client's If-Range, if any, is of what is there now. `ServeDir` does not know this
/// field: without it, a client that goes on with a download would join two files into one.
pub(super) fn is_current(from: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(condition) = from.get(header::IF_RANGE) else { return true };
    let tag = condition.as_bytes().contains(&b'"');
    // A tag that is weak begins with W, and equals none of ours, which are strong.
    let field = if tag { header::ETAG } else { header::LAST_MODIFIED };
    answer.get(field) == Some(condition)
}

/// Whether a page may be the answer to what was not found: see [`FilesOptions::fallback`].
///
/// Browsers name `text/html` when somebody goes to an address. `*/*` is what scripts, `fetch` and
/// curl send, and counts where the name has no extension: a missing `app.js` answered with a page
/// only turns into a stranger error later.
///
/// [`FilesOptions::fallback`]: super::FilesOptions::fallback
pub(super) fn takes_page(headers: &HeaderMap, path: &str) -> bool {
    let mut accept =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    let (mut named, mut any) = (None, accept.peek().is_none());
    for range in accept.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.split_once('=').is_some_and(|(name, q)| {
                name.trim().eq_ignore_ascii_case("q") && q.trim().parse().is_ok_and(|q: f32| q <= 0.0)
            })
        });
        if kind.eq_ignore_ascii_case("text/html") {
            named = Some(!refused);
        } else if kind.eq_ignore_ascii_case("text/*") || kind == "*/*" {
            any |= !refused;
        }
    }
    let plain = !path.rsplit('/').next().unwrap_or_default().contains('.');
    named.unwrap_or(any && plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_given_to_who_takes_one() {
        let takes = |accept: &str, path: &str| {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            takes_page(&headers, path)
        };
        for (accept, plain, script) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true, true),
            ("Text/HTML;q=0.1", true, true),
            ("*/*", true, false),
            ("", true, false),
            ("text/*", true, false),
            ("text/html;q=0, */*", false, false),
            ("text/html; level=1; Q=0.0", false, false),
            ("application/json", false, false),
            ("*/*;q=0", false, false),
            ("image/png, image/*", false, false),
        ] {
            assert_eq!(takes(accept, "/user/7"), plain, "{accept}");
            assert_eq!(takes(accept, "/user/app.js"), script, "{accept}");
        }
    }

    #[test]
    fn only_a_range_of_bytes_is_obeyed() {
        let range = |method: Method, value: &'static str| {
            let request = Request::builder().method(method).header("range", value).body(()).unwrap();
            range(&request.into_parts().0).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(range(Method::GET, "bytes=0-1").as_deref(), Some("bytes=0-1"));
        assert_eq!(range(Method::GET, "Bytes=-5").as_deref(), Some("bytes=-5"));
        for (method, value) in
            [(Method::HEAD, "bytes=0-1"), (Method::GET, "lines=0-1"), (Method::GET, "bytes")]
        {
            assert_eq!(range(method, value), None);
        }
    }
}
