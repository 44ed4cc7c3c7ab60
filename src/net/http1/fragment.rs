//! Finding fragments in request targets, which the parser drops without a word.
//!
//! A target with a fragment is not in the grammar of a request line
//! ([RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)); an intermediary
//! that keeps what another drops routes a request elsewhere than the other checked it for. The
//! bytes are watched on their way to the parser: those without a `#`, nearly all, cost one search.

use http::{Method, Uri};
use memchr::{memchr, memchr_iter, memrchr};

/// Request lines with a fragment that may be on their way to the parser at once. A client that
/// pipelines more is told that its next request has one too, whether or not it does.
const MAX_SUSPECTS: usize = 16;

/// Watches the bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct FragmentWatch {
    /// The beginning of a line whose end has not come yet; empty where the last line was whole.
    tail: Vec<u8>,
    /// The line in `tail` is longer than any request line may be.
    tail_too_long: bool,
    suspects: Vec<Vec<u8>>,
}

impl FragmentWatch {
    /// Looks at bytes that were just read. `max_line` is the longest request line of interest.
    pub(crate) fn feed(&mut self, bytes: &[u8], max_line: usize) {
        if memchr(b'#', bytes).is_some() || (!self.tail.is_empty() && memchr(b'#', &self.tail).is_some()) {
            self.search(bytes, max_line);
        }
        let last_line = match memrchr(b'\n', bytes) {
            Some(end) => {
                self.tail.clear();
                self.tail_too_long = false;
                bytes.get(end + 1..).unwrap_or_default()
            }
            None => bytes,
        };
        if self.tail_too_long || self.tail.len() + last_line.len() > max_line {
            self.tail = Vec::new();
            self.tail_too_long = true;
        } else if !last_line.is_empty() {
            self.tail.extend_from_slice(last_line);
        }
    }

    /// Notes every whole line that looks like a request line with a fragment.
    fn search(&mut self, bytes: &[u8], max_line: usize) {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..end).unwrap_or_default();
            let joined;
            let line = if start == 0 && !self.tail.is_empty() {
                joined = [self.tail.as_slice(), line].concat();
                &joined
            } else {
                line
            };
            let whole = !(start == 0 && self.tail_too_long);
            if whole
                && line.len() <= max_line
                && let Some(suspect) = before_fragment(line)
                && self.suspects.len() < MAX_SUSPECTS
            {
                self.suspects.push(suspect.to_vec());
            }
            start = end + 1;
        }
    }

    /// Whether the line of this request had a fragment. Asked once per request, in order.
    pub(crate) fn had_fragment(&mut self, method: &Method, uri: &Uri) -> bool {
        if self.suspects.is_empty() {
            return false;
        }
        let line = format!("{method} {uri}");
        let bare = line.trim_end_matches('/').as_bytes();
        let found = self.suspects.len() >= MAX_SUSPECTS
            || self.suspects.iter().any(|suspect| {
                let suspect = suspect.strip_suffix(b"/").unwrap_or(suspect);
                suspect.eq_ignore_ascii_case(bare)
            });
        self.suspects.clear();
        found
    }
}

/// `METHOD SP target` of a line like `METHOD SP target#fragment SP HTTP/1.1`. No field line looks
/// like that: a space may not stand before its colon.
fn before_fragment(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = memrchr(b' ', line)?;
    line.get(version + 1..)?.strip_prefix(b"HTTP/")?;
    let method = memchr(b' ', line)?;
    let fragment = memchr(b'#', line.get(method..version)?)? + method;
    line.get(..fragment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8], split: usize, method: &str, uri: &str) -> bool {
        let mut watch = FragmentWatch::default();
        watch.feed(&bytes[..split], 1000);
        watch.feed(&bytes[split..], 1000);
        watch.had_fragment(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn a_fragment_is_found_wherever_the_bytes_are_split() {
        let bytes = b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n";
        for split in 0..bytes.len() {
            assert!(found(bytes, split, "GET", "/a?b"), "split at {split}");
        }
        assert!(found(b"GET http://A/#c HTTP/1.1\r\n", 0, "GET", "http://a/"));
        assert!(found(b"\r\nX#Y /#c HTTP/1.1\r\n", 0, "X#Y", "/"));
    }

    #[test]
    fn other_requests_and_fields_are_not_suspected() {
        let fields = b"GET /a HTTP/1.1\r\nCookie: a#b HTTP/1.1\r\nReferer: http://a/#b\r\n\r\n";
        assert!(!found(fields, 0, "GET", "/a"));
        let body = b"POST /b HTTP/1.1\r\n\r\nGET /a#b HTTP/1.1\r\n";
        assert!(!found(body, 0, "POST", "/b"));
    }

    #[test]
    fn a_line_without_an_end_is_kept_only_so_far() {
        let mut watch = FragmentWatch::default();
        for _ in 0..1000 {
            watch.feed(&[b'#'; 1000], 8192);
        }
        assert!(watch.tail.capacity() <= 16384);
        assert!(watch.suspects.is_empty());
    }

    #[test]
    fn a_flood_of_suspects_is_bounded_and_never_lets_one_pass() {
        let mut watch = FragmentWatch::default();
        for _ in 0..100 {
            watch.feed(b"GET /x#y HTTP/1.1\r\n", 8192);
        }
        assert_eq!(watch.suspects.len(), MAX_SUSPECTS);
        assert!(watch.had_fragment(&Method::GET, &"/other".parse().unwrap()));
    }
}
