//! What answers the requests that nothing refused.

use axum::body::Body;
use http::Response;

use crate::refusal::Refusal;

pub mod body;
mod catch_panic;
pub mod fixed;
pub mod https;
pub mod proxy;
pub mod router;
pub mod routes;
pub mod static_files;
pub mod welcome;

/// The answer of a handler that refuses. The refusal travels along in the extensions: an outer
/// layer adds the request id, counts it and logs it.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    let mut response = refusal.clone().into_response("").map(Body::from);
    response.extensions_mut().insert(refusal);
    response
}
