//! Which answers are worth compressing, and may be.

use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};

/// What says something about the very bytes of the body, which would no longer be true.
const ABOUT_BYTES: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Text under another name than `text/*`, `*+json` and `*+xml`, and formats that are not packed.
const TEXT: [&str; 20] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json-seq",
    "application/jsonl",
    "application/ndjson",
    "application/rtf",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/ttf",
    "image/bmp",
];

/// Whether an answer of `size` (unknown: `None`) would be compressed for a client that takes it.
pub(super) fn eligible(parts: &Parts, size: Option<u64>, min_size: u64) -> bool {
    let complete = parts.status.is_success()
        && !matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        );
    let headers = &parts.headers;
    complete
        && size.is_none_or(|size| size >= min_size)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !ABOUT_BYTES.iter().any(|name| headers.contains_key(name))
        && !lists(headers, header::CACHE_CONTROL, "no-transform")
        && headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_compressible)
}

/// Whether a field of the kind `a, b, c` names `item`.
pub(super) fn lists(headers: &HeaderMap, field: HeaderName, item: &str) -> bool {
    let lines = headers.get_all(field).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(item))
}

fn is_compressible(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // gRPC compresses each message by itself, and a client of event streams waits for each event.
    if kind.starts_with("application/grpc") || kind == "text/event-stream" {
        return false;
    }
    kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("+xml") || TEXT.contains(&&*kind)
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn eligible_with(status: u16, fields: &[(&str, &str)], size: Option<u64>) -> bool {
        let response = fields.iter().fold(Response::builder().status(status), |response, (name, value)| {
            response.header(*name, *value)
        });
        eligible(&response.body(()).unwrap().into_parts().0, size, 1024)
    }

    #[test]
    fn text_is_compressed_and_what_is_packed_is_not() {
        for (kind, expected) in [
            ("text/html; charset=utf-8", true),
            ("text/plain", true),
            ("TEXT/CSS", true),
            ("text/event-stream", false),
            ("text/event-stream; charset=utf-8", false),
            ("application/json", true),
            ("application/problem+json", true),
            ("application/javascript;charset=utf-8", true),
            ("application/atom+xml", true),
            ("application/wasm", true),
            ("application/x-ndjson", true),
            ("image/svg+xml", true),
            ("font/ttf", true),
            ("font/woff2", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/zip", false),
            ("application/gzip", false),
            ("application/pdf", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/grpc-web-text", false),
            ("multipart/byteranges", false),
            ("", false),
        ] {
            assert_eq!(eligible_with(200, &[("content-type", kind)], None), expected, "{kind}");
        }
        assert!(!eligible_with(200, &[], None));
    }

    #[test]
    fn only_whole_answers_that_may_be_changed_are() {
        const TEXT: (&str, &str) = ("content-type", "text/plain");
        for (status, expected) in [
            (200, true),
            (201, true),
            (203, true),
            (204, false),
            (205, false),
            (206, false),
            (304, false),
            (301, false),
            (404, false),
            (500, false),
            (101, false),
        ] {
            assert_eq!(eligible_with(status, &[TEXT], None), expected, "{status}");
        }
        for (field, value, expected) in [
            ("content-encoding", "gzip", false),
            ("content-encoding", "identity", false),
            ("content-range", "bytes 0-1/2", false),
            ("cache-control", "max-age=1, No-Transform", false),
            ("cache-control", "no-cache", true),
            ("repr-digest", "sha-256=:AA==:", false),
            ("etag", "\"x\"", true),
        ] {
            assert_eq!(eligible_with(200, &[TEXT, (field, value)], None), expected, "{field}: {value}");
        }
        for (size, expected) in [(None, true), (Some(0), false), (Some(1023), false), (Some(1024), true)] {
            assert_eq!(eligible_with(200, &[TEXT], size), expected, "{size:?}");
        }
    }
}
