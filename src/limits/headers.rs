//! `limits.max_header_size` and `limits.max_header_count`: 431
//! ([RFC 6585 section 5](https://www.rfc-editor.org/rfc/rfc6585#section-5)).

use http::Request;

use crate::check::Check;
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// Bounds the fields of a head, in number and in bytes.
#[derive(Debug, Clone, Copy)]
pub struct HeaderLimits {
    /// Fields.
    pub count: usize,
    /// Bytes of all fields together: name, value, and the four that separate them on the wire.
    pub size: usize,
}

impl HeaderLimits {
    /// The refusal for too many bytes, also where the parser gave up before the end of the head.
    pub fn too_large(self) -> Refusal {
        Refusal::new(Reason::HeaderTooLarge, format!("the header fields are over {} bytes", self.size))
            .limit("limits.max_header_size")
    }

    /// The refusal for too many fields.
    pub fn too_many(self) -> Refusal {
        Refusal::new(Reason::TooManyHeaders, format!("the request has over {} header fields", self.count))
            .limit("limits.max_header_count")
    }
}

impl Check for HeaderLimits {
    fn check<B>(&self, request: &Request<B>, _: Shared<'_>) -> Result<(), Refusal> {
        let headers = request.headers();
        if headers.len() > self.count {
            return Err(self.too_many());
        }
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size > self.size { Err(self.too_large()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bounded_in_number_and_bytes() {
        let limits = HeaderLimits { count: 2, size: 16 };
        let check = |fields: &[(&str, &str)]| {
            let mut request = Request::builder();
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            limits.check(&request.body(()).unwrap(), None).err().map(|refusal| refusal.reason)
        };
        assert_eq!(check(&[("a", "123"), ("b", "123")]), None);
        assert_eq!(check(&[("a", "123"), ("b", "1234")]), Some(Reason::HeaderTooLarge));
        assert_eq!(check(&[("a", ""), ("a", ""), ("a", "")]), Some(Reason::TooManyHeaders));
    }
}
