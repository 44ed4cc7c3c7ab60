//! What is kept of a request for as long as it may still be refused. Only where evidence is collected:
//! otherwise nothing is kept.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};

/// The head of a request, and the first bytes of its body.
#[derive(Debug)]
pub struct Seen {
    head: Head,
    body: Mutex<Vec<u8>>,
    most_body: usize,
}

#[derive(Debug)]
enum Head {
    /// As it was sent.
    Sent(Bytes),
    /// As it was understood, where it was not sent as text.
    Fields(Box<(Method, Uri, HeaderMap)>),
}

impl Seen {
    /// A head of HTTP/1; of its body up to `most_body` bytes will be kept.
    pub fn sent(head: Bytes, most_body: usize) -> Self {
        Self { head: Head::Sent(head), body: Mutex::default(), most_body }
    }

    /// A head that was not sent as text.
    pub fn fields<B>(request: &Request<B>, most_body: usize) -> Self {
        let fields = (request.method().clone(), request.uri().clone(), request.headers().clone());
        Self { head: Head::Fields(Box::new(fields)), body: Mutex::default(), most_body }
    }

    /// A piece of the body went by.
    pub fn body_came(&self, piece: &[u8]) {
        if self.most_body == 0 {
            return;
        }
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.most_body.saturating_sub(body.len());
        body.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// What is kept of the body.
    pub fn with_body<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.body.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The method and the path, without its query.
    pub fn asked(&self) -> (&[u8], &[u8]) {
        match &self.head {
            Head::Sent(head) => asked(head),
            Head::Fields(fields) => (fields.0.as_str().as_bytes(), fields.1.path().as_bytes()),
        }
    }

    /// How long the head is. Of one that was not sent as text, about.
    pub fn head_length(&self) -> usize {
        match &self.head {
            Head::Sent(head) => head.len(),
            Head::Fields(fields) => {
                let each = fields.2.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
                each.sum::<usize>() + fields.1.path().len() + 16
            }
        }
    }

    /// The head as text, up to about `most` bytes.
    pub fn write_head(&self, most: usize, into: &mut Vec<u8>) {
        match &self.head {
            Head::Sent(head) => into.extend_from_slice(head.get(..most).unwrap_or(head)),
            Head::Fields(fields) => {
                let (method, uri, map) = &**fields;
                into.extend_from_slice(method.as_str().as_bytes());
                into.push(b' ');
                let target = uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes();
                into.extend_from_slice(target.get(..most).unwrap_or(target));
                into.extend_from_slice(b" HTTP/2\r\n");
                // There the host is a field of its own (RFC 9113 section 8.3.1).
                if let Some(authority) = uri.authority() {
                    into.extend_from_slice(b":authority: ");
                    into.extend_from_slice(authority.as_str().as_bytes());
                    into.extend_from_slice(b"\r\n");
                }
                for (name, value) in map {
                    if into.len() + name.as_str().len() + value.len() > most {
                        break;
                    }
                    into.extend_from_slice(name.as_str().as_bytes());
                    into.extend_from_slice(b": ");
                    into.extend_from_slice(value.as_bytes());
                    into.extend_from_slice(b"\r\n");
                }
            }
        }
    }
}

/// The method and the path, without its query, of a head that begins with a request line.
pub fn asked(head: &[u8]) -> (&[u8], &[u8]) {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n');
    let end = head.iter().position(is_end).unwrap_or(head.len());
    let (method, rest) = head.split_at_checked(end).unwrap_or((head, &[]));
    let rest = rest.strip_prefix(b" ").unwrap_or_default();
    let end = rest.iter().position(|byte| is_end(byte) || *byte == b'?').unwrap_or(rest.len());
    (method, rest.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_without_its_query() {
        for (head, method, path) in [
            ("GET /a?b HTTP/1.1\r\n", "GET", "/a"),
            ("GET /a HTTP/1.1\r\n", "GET", "/a"),
            ("GET\r\n", "GET", ""),
            ("", "", ""),
            ("\r\n", "", ""),
        ] {
            assert_eq!(asked(head.as_bytes()), (method.as_bytes(), path.as_bytes()), "{head:?}");
        }
    }

    #[test]
    fn of_a_body_the_first_bytes_are_kept() {
        let seen = Seen::sent(Bytes::from_static(b"POST / HTTP/1.1\r\n\r\n"), 5);
        for piece in ["abc", "def", "ghi"] {
            seen.body_came(piece.as_bytes());
        }
        assert_eq!(seen.with_body(<[u8]>::to_vec), b"abcde");
    }

    #[test]
    fn a_head_in_fields_is_written_as_text() {
        let request = Request::builder().uri("http://a/b?c").header("x", "y").body(()).unwrap();
        let seen = Seen::fields(&request, 0);
        let mut text = Vec::new();
        seen.write_head(1000, &mut text);
        assert_eq!(text, b"GET /b?c HTTP/2\r\n:authority: a\r\nx: y\r\n");
        assert_eq!(seen.asked(), (&b"GET"[..], &b"/b"[..]));
    }
}
