//! Answers that are the same for everyone: redirects, and texts from the configuration.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};

/// A redirect or a fixed answer. Any method is answered alike; whoever wants fewer says so in the
/// route's `methods`.
#[derive(Debug, Clone)]
pub struct Fixed {
    status: StatusCode,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum Answer {
    Text { body: Bytes, content_type: HeaderValue, length: HeaderValue },
    Moved(Target),
}

/// Where a redirect leads, taken apart where a path and a query can be put in.
#[derive(Debug, Clone)]
struct Target {
    whole: HeaderValue,
    /// Scheme, host and path, without a slash at its end. `None` without `keep_path`.
    base: Option<String>,
    query: Option<String>,
    fragment: Option<String>,
}

/// A redirect's target that no `Location` can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTarget;

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a redirect leads to a URL or a path of printable ASCII without spaces")
    }
}

impl std::error::Error for InvalidTarget {}

impl Fixed {
    /// Answers every request with `body`. Where the status allows none (204, 304) it is left out.
    pub fn respond(status: StatusCode, body: Bytes, content_type: HeaderValue) -> Self {
        // Of an owner, so that a clone of it counts references and allocates nothing.
        let length = HeaderValue::from_maybe_shared(Bytes::from_owner(body.len().to_string()))
            .unwrap_or_else(|_| HeaderValue::from(body.len()));
        Self { status, answer: Answer::Text { body, content_type, length } }
    }

    /// Sends every request to `to`, a URL or a path. With `keep_path` the rest of the path below
    /// the route and the query go with it.
    pub fn redirect(to: String, status: StatusCode, keep_path: bool) -> Result<Self, InvalidTarget> {
        if to.is_empty() || !to.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidTarget);
        }
        let whole = HeaderValue::try_from(&to).map_err(|_| InvalidTarget)?;
        let (rest, fragment) = split(&to, '#');
        let (base, query) = split(rest, '?');
        let base = keep_path.then(|| base.trim_end_matches('/').to_owned());
        let target =
            Target { whole, base, query: query.map(str::to_owned), fragment: fragment.map(str::to_owned) };
        Ok(Self { status, answer: Answer::Moved(target) })
    }

    /// The answer. `rest` tells the part of the path below the route, still percent-encoded; `fields`,
    /// which is emptied, is used for those of the answer, as a map that is there already.
    pub fn answer<'a>(
        &self,
        method: &Method,
        uri: &'a Uri,
        rest: impl FnOnce() -> &'a str,
        mut fields: HeaderMap,
    ) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status;
        fields.clear();
        *response.headers_mut() = fields;
        let bodiless = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match &self.answer {
            Answer::Moved(target) => {
                response.headers_mut().insert(header::LOCATION, target.location(uri, rest));
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Answer::Text { .. } if bodiless => {}
            Answer::Text { body, content_type, length } => {
                let headers = response.headers_mut();
                if !body.is_empty() {
                    headers.insert(header::CONTENT_TYPE, content_type.clone());
                }
                // A HEAD is told the same as a GET, and sent nothing. What is sent tells its length itself.
                if method == Method::HEAD || body.is_empty() {
                    headers.insert(header::CONTENT_LENGTH, length.clone());
                } else {
                    *response.body_mut() = body.clone();
                }
            }
        }
        response
    }
}

impl Target {
    fn location<'a>(&self, uri: &'a Uri, rest: impl FnOnce() -> &'a str) -> HeaderValue {
        let Some(base) = &self.base else { return self.whole.clone() };
        let mut location = base.clone();
        // One slash and no second: `//host` behind an empty base is another host to a browser, and
        // so is `/\host`; a slash at all, or the rest would grow into the name of the host.
        let rest = rest().trim_start_matches(['/', '\\']);
        if !rest.is_empty() || location.is_empty() || uri.path().ends_with('/') {
            location.push('/');
            location.push_str(rest);
        }
        for (mark, query) in ['?', '&'].into_iter().zip(self.query.as_deref().into_iter().chain(uri.query()))
        {
            location.push(mark);
            location.push_str(query);
        }
        if let Some(fragment) = &self.fragment {
            location.push('#');
            location.push_str(fragment);
        }
        // A parsed request holds no byte that a field cannot; should one come, the plain target is
        // the answer rather than a broken head.
        HeaderValue::from_maybe_shared(Bytes::from(location)).unwrap_or_else(|_| self.whole.clone())
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(to: &str, keep_path: bool, uri: &str, rest: &str) -> String {
        let fixed = Fixed::redirect(to.into(), StatusCode::PERMANENT_REDIRECT, keep_path).unwrap();
        let answer = fixed.answer(&Method::GET, &uri.parse().unwrap(), || rest, HeaderMap::new());
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.headers()["content-length"], "0");
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        for (to, keep_path, uri, rest, expected) in [
            ("https://a.example/x?y", false, "/old/z?q=1", "/z", "https://a.example/x?y"),
            ("https://a.example", true, "/old/z?q=1", "/z", "https://a.example/z?q=1"),
            ("https://a.example/", true, "/old/z", "/z", "https://a.example/z"),
            ("https://a.example/new/", true, "/old/a/b", "/a/b", "https://a.example/new/a/b"),
            ("https://a.example/new", true, "/old", "", "https://a.example/new"),
            ("https://a.example/new/", true, "/old", "/", "https://a.example/new"),
            ("https://a.example/new", true, "/old/", "/", "https://a.example/new/"),
            ("https://a.example", true, "/?q", "/", "https://a.example/?q"),
            ("/new", true, "/old/z?q=1", "/z", "/new/z?q=1"),
            ("/new?a=1#end", true, "/old/z?q=1", "/z", "/new/z?a=1&q=1#end"),
            ("/new?a=1", true, "/old/z", "/z", "/new/z?a=1"),
            ("/", true, "/%41%20b", "/%41%20b", "/%41%20b"),
        ] {
            assert_eq!(location(to, keep_path, uri, rest), expected, "{to} {uri}");
        }
    }

    #[test]
    fn no_path_leads_to_another_host() {
        for rest in ["//evil.example/x", "/\\evil.example/x", "///evil.example/x", "\\\\evil.example/x"] {
            assert_eq!(location("/", true, "/", rest), "/evil.example/x", "{rest}");
            let there = location("https://a.example", true, "/", rest);
            assert_eq!(there, "https://a.example/evil.example/x", "{rest}");
        }
        assert_eq!(
            location("https://a.example", true, "/", ".evil.example"),
            "https://a.example/.evil.example"
        );
        assert_eq!(
            location("https://a.example", true, "/", "/@evil.example"),
            "https://a.example/@evil.example"
        );
    }

    #[test]
    fn a_target_cannot_bring_a_field_along() {
        for to in ["/a\r\nset-cookie: b=c", "/a b", "", "/a\u{e9}", "/\t"] {
            let redirect = Fixed::redirect(to.into(), StatusCode::FOUND, true);
            assert_eq!(redirect.unwrap_err(), InvalidTarget, "{to:?}");
        }
        // What a caller hands over unparsed does not get into the head either.
        assert_eq!(location("/new", true, "/x", "/a\r\nset-cookie: b=c"), "/new");
    }

    #[test]
    fn a_fixed_answer_is_the_same_to_every_method_and_a_head_gets_its_fields() {
        let text = HeaderValue::from_static("text/plain");
        let fixed = Fixed::respond(StatusCode::OK, Bytes::from_static(b"hello"), text.clone());
        let used: HeaderMap = [(header::COOKIE, text.clone())].into_iter().collect();
        for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD] {
            let answer = fixed.answer(&method, &Uri::from_static("/"), || "/", used.clone());
            assert_eq!(answer.status(), 200);
            assert!(!answer.headers().contains_key("cookie"), "nothing of the request is left");
            assert_eq!(answer.headers()["content-type"], "text/plain");
            let length = answer.headers().get("content-length");
            assert_eq!(length.map(HeaderValue::as_bytes), (method == Method::HEAD).then_some(&b"5"[..]));
            assert_eq!(answer.into_body(), if method == Method::HEAD { "" } else { "hello" });
        }
        let empty = Fixed::respond(StatusCode::NO_CONTENT, Bytes::from_static(b"hello"), text);
        let answer = empty.answer(&Method::GET, &Uri::from_static("/"), || "/", used);
        assert!(answer.headers().is_empty());
        assert!(answer.into_body().is_empty());
    }
}
