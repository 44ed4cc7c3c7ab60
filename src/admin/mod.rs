//! The endpoints for orchestrators and operators: `/health`, `/ready`, `/metrics`, `/version`, `/api/health`.
//!
//! Bodies only: they are built at once, from what is in memory, so that they answer when everything
//! else is refused. Where they are served, and to whom, is the server's affair.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::lifecycle::Lifecycle;
use crate::lifecycle::readiness::Readiness;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::{BuildInfo, Metrics};

mod api_health;
mod evidence;
mod health;
pub mod hosts;
pub mod layer;
pub mod page;
mod ready;
mod texts;
mod version;

pub use texts::Texts;

/// One of the endpoints, by whichever of its names it was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The process lives: 503 only once it is stopping.
    Health,
    /// The process wants traffic.
    Ready,
    /// Prometheus text format.
    Metrics,
    /// What was built from what.
    Version,
    /// Figures for people and dashboards.
    ApiHealth,
}

impl Endpoint {
    /// The endpoint at exactly this path, which is without a query.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/health" | "/healthz" | "/livez" | "/health/live" => Self::Health,
            "/ready" | "/readyz" | "/health/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/version" => Self::Version,
            "/api/health" => Self::ApiHealth,
            _ => return None,
        })
    }

    /// Its canonical path: the route in the metrics and the log.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
            Self::Version => "/version",
            Self::ApiHealth => "/api/health",
        }
    }

    /// Whether orchestrators ask it again and again: answered on every listener and never shed,
    /// and left out of the log and the percentiles.
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }
}

/// What the endpoints tell about.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The checks, for `/ready`.
    pub readiness: Readiness,
    /// The phase and the uptime.
    pub lifecycle: Lifecycle,
    /// For `/metrics` and `/api/health`.
    pub metrics: Arc<Metrics>,
    /// For `/version`.
    pub build: BuildInfo,
    /// Those of `/metrics`.
    pub texts: Texts,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl AdminState {
    /// The answer of `endpoint`. HEAD is answered with the fields of GET and no body.
    ///
    /// # Errors
    /// Any method but GET and HEAD is refused: 405 with `Allow`.
    pub fn answer(&self, endpoint: Endpoint, method: &Method) -> Result<Response<Bytes>, Refusal> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::new(Reason::MethodNotAllowed, "this endpoint answers GET and HEAD")
                .field(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let (status, content_type, body) = match endpoint {
            Endpoint::Health => health::answer(self),
            Endpoint::Ready => ready::answer(self),
            Endpoint::Metrics => (StatusCode::OK, PROMETHEUS, self.metrics_text()),
            Endpoint::Version => version::answer(self),
            Endpoint::ApiHealth => api_health::answer(self),
        };
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(if method == Method::HEAD { Bytes::new() } else { body });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn metrics_text(&self) -> Bytes {
        // Told here as well, so that what is scraped is what /ready would have said.
        self.metrics.set_phase(self.lifecycle.phase());
        self.metrics.set_ready(self.readiness.is_ready());
        for check in self.readiness.report() {
            self.metrics.check(&check.name, check.ok());
        }
        self.texts.take(|| self.metrics.render())
    }

    /// Whole seconds since the process began.
    fn uptime_seconds(&self) -> u64 {
        self.lifecycle.started().elapsed().as_secs()
    }
}

#[cfg(test)]
mod tests;
