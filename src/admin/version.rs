//! `/version`: what was built from what.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::{AdminState, JSON};

pub(super) fn answer(state: &AdminState) -> (StatusCode, HeaderValue, Bytes) {
    let build = &state.build;
    let body = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": build.version,
        "revision": build.revision,
        "build_time": build.build_time,
        "rustc": build.rustc,
    });
    (StatusCode::OK, JSON, body.to_string().into())
}
