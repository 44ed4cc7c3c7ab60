//! `limits.allowed_methods`: 405 with `Allow` for a method that is known, 501 for one that is not
//! ([RFC 9110 section 9.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.1)).

use std::sync::Arc;

use http::{HeaderValue, Method, Request, header};

use crate::check::Check;
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// Lets these methods pass.
#[derive(Debug, Clone)]
pub struct AllowedMethods {
    methods: Arc<[Method]>,
    allow: HeaderValue,
}

impl AllowedMethods {
    /// Allows `methods`, and names them in this order.
    pub fn new(methods: &[Method]) -> Self {
        Self { methods: methods.into(), allow: allow(methods) }
    }
}

/// `methods` as the value of `Allow`.
pub fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// The methods of RFC 9110 and RFC 5789. Method names have case: `get` is another, unknown one.
fn is_known(method: &Method) -> bool {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    KNOWN.contains(method)
}

impl Check for AllowedMethods {
    fn check<B>(&self, request: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
        let policy = exchange.and_then(|exchange| exchange.policy());
        let (methods, allow) =
            policy.map_or((&self.methods, &self.allow), |policy| (&policy.methods, &policy.allow));
        if methods.contains(request.method()) {
            return Ok(());
        }
        if is_known(request.method()) {
            return Err(Refusal::new(Reason::MethodNotAllowed, "the method is not allowed here")
                .limit("limits.allowed_methods")
                .field(header::ALLOW, allow.clone()));
        }
        Err(Refusal::new(Reason::UnsupportedMethod, "the method is not known to this server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_method_is_told_what_is_allowed_and_an_unknown_one_is_not_implemented() {
        let check = AllowedMethods::new(&[Method::GET, Method::POST]);
        let refusal =
            |method: &str| check.check(&Request::builder().method(method).body(()).unwrap(), None).err();
        assert!(refusal("GET").is_none());
        let known = refusal("TRACE").unwrap();
        assert_eq!(known.reason, Reason::MethodNotAllowed);
        assert_eq!(known.into_response("").headers()["allow"], "GET, POST");
        for unknown in ["get", "BREW"] {
            assert_eq!(refusal(unknown).unwrap().reason, Reason::UnsupportedMethod, "{unknown}");
        }
    }
}
