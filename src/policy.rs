//! What a route asks of the layers that its requests go through.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::units::Rate;

/// The values that hold for one route: those of the configuration, or what the route sets instead.
///
/// It is found before the first layer that asks for one of them, and travels in the
/// [`Exchange`](crate::exchange::Exchange). A layer that is used without it has values of its own.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The route's index in the metrics.
    pub route: u32,
    /// The methods that are served.
    pub methods: Arc<[Method]>,
    /// The same, as the value of `Allow`.
    pub allow: HeaderValue,
    /// Whether the route has a rate limit of its own, which then takes the place of the common one.
    pub own_rate_limit: bool,
    /// From the request head to the response head; `None`: the handler keeps that time itself.
    pub request_timeout: Option<Duration>,
    /// Bytes of a request body.
    pub max_body_size: u64,
    /// Longest gap between bytes of a request body.
    pub body_timeout: Duration,
    /// Slowest upload.
    pub min_body_rate: Option<Rate>,
    /// Whether request bodies may be held whole, and so count against `limits.memory`; otherwise
    /// they are only passed on.
    pub holds_bodies: bool,
    /// Bytes that a request to this route holds besides its connection, charged to `limits.memory`.
    pub request_memory: u64,
    /// Bytes of an answer.
    pub max_response_size: Option<u64>,
    /// Longest time in which a client takes no byte of its answer.
    pub write_timeout: Duration,
    /// Slowest download.
    pub min_send_rate: Option<Rate>,
    /// Fields added to answers that do not set them.
    pub fields: Arc<[(HeaderName, HeaderValue)]>,
    /// Whether answers are compressed.
    pub compressed: bool,
}

#[cfg(any(test, fuzzing))]
impl Policy {
    /// What asks nothing of any layer, for where there are none.
    pub fn nothing(route: u32) -> Self {
        Self {
            route,
            methods: Arc::new([Method::GET]),
            allow: HeaderValue::from_static("GET"),
            own_rate_limit: false,
            request_timeout: None,
            max_body_size: 0,
            body_timeout: Duration::ZERO,
            min_body_rate: None,
            holds_bodies: false,
            request_memory: 0,
            max_response_size: None,
            write_timeout: Duration::ZERO,
            min_send_rate: None,
            fields: Arc::new([]),
            compressed: false,
        }
    }
}
