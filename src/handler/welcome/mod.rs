//! The welcome app: what a server without routes shows.
//!
//! `/` is a page with the state of the runtime, `/echo` answers with what it was sent, and
//! `/badge/{label}/{value}.svg` draws a badge. All of it comes from memory, and all of it works under
//! `Content-Security-Policy: default-src 'self'`: no script, no inline style.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{any, get};
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};

use super::refused;
use crate::host::host_of;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::readiness::Readiness;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::{BuildInfo, Metrics};

mod badge;
mod echo;
mod page;

/// One limit in force, as the page shows it.
#[derive(Debug, Clone)]
pub struct LimitRow {
    /// Its configuration key.
    pub key: String,
    /// Its value, as an operator would write it.
    pub value: String,
    /// The reason for which it refuses; the page shows how often it did.
    pub reason: Option<Reason>,
    /// One sentence.
    pub help: String,
}

/// What the page tells about.
#[derive(Debug, Clone)]
pub struct WelcomeState {
    /// The phase and the uptime.
    pub lifecycle: Lifecycle,
    /// The checks.
    pub readiness: Readiness,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// The limits in force, in the order they are shown.
    pub limits: Arc<[LimitRow]>,
    /// The version.
    pub build: BuildInfo,
    /// Where the status page is, if anywhere.
    pub admin: Option<AdminPlace>,
}

/// Where the admin endpoints listen.
#[derive(Debug, Clone, Copy)]
pub struct AdminPlace {
    /// The address, which may stand for all of them.
    pub host: IpAddr,
    /// The port.
    pub port: u16,
}

/// The app. Its refusals carry their [`Refusal`] in the response's extensions.
pub fn router(state: WelcomeState) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/nessen.css", get(stylesheet))
        .route("/favicon.svg", get(favicon))
        .route("/echo", any(echo::answer))
        .route("/badge/{label}/{file}", get(badge::answer))
        .fallback(not_found)
        .method_not_allowed_fallback(async || method_not_allowed("GET, HEAD"))
        .with_state(state)
}

async fn index(State(state): State<WelcomeState>, request: Request) -> Response<Body> {
    answer("text/html; charset=utf-8", "no-store", page::render(&state, host_of(&request)))
}

async fn stylesheet() -> Response<Body> {
    answer("text/css; charset=utf-8", "public, max-age=3600", include_str!("nessen.css"))
}

async fn favicon() -> Response<Body> {
    answer("image/svg+xml", "public, max-age=86400", include_str!("favicon.svg"))
}

pub(crate) async fn not_found(method: Method, uri: Uri) -> Response<Body> {
    // `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
    if method == Method::OPTIONS && uri.path() == "*" {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    refused(Refusal::new(Reason::NotFound, "nothing is served at this path"))
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let refusal = Refusal::new(Reason::MethodNotAllowed, "the method is not allowed at this path");
    refused(refusal.field(header::ALLOW, HeaderValue::from_static(allowed)))
}

fn answer(content_type: &'static str, cache: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

#[cfg(test)]
mod tests;
