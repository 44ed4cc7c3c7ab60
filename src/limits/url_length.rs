//! `limits.max_url_length`: 414.

use http::{Request, Version};

use crate::check::Check;
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// The key that sets it.
pub const KEY: &str = "limits.max_url_length";

/// Bounds the bytes of the request target.
#[derive(Debug, Clone, Copy)]
pub struct MaxUrlLength(pub usize);

impl MaxUrlLength {
    /// The refusal, also for a target so long that the parser never saw its end.
    pub fn refusal(self) -> Refusal {
        Refusal::new(Reason::UrlTooLong, format!("the request target is over {} bytes", self.0)).limit(KEY)
    }
}

impl Check for MaxUrlLength {
    fn check<B>(&self, request: &Request<B>, _: Shared<'_>) -> Result<(), Refusal> {
        let uri = request.uri();
        // In HTTP/1's absolute-form the authority is part of the target; in HTTP/2 it is a field
        // of its own.
        let absolute = request.version() <= Version::HTTP_11;
        let length = uri.path_and_query().map_or(0, |target| target.as_str().len())
            + uri.authority().filter(|_| absolute).map_or(0, |authority| authority.as_str().len());
        if length <= self.0 { Ok(()) } else { Err(self.refusal()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_allowed_passes_and_the_next_does_not() {
        let check = |uri: &str| MaxUrlLength(8).check(&Request::builder().uri(uri).body(()).unwrap(), None);
        assert!(check("/1234?67").is_ok());
        assert_eq!(check("/1234?678").unwrap_err().reason, Reason::UrlTooLong);
        assert_eq!(check("http://abc/12345").unwrap_err().reason, Reason::UrlTooLong);
    }
}
