//! THE list of layers, in the order in which a request travels through them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tower::ServiceBuilder;

use crate::admin::AdminState;
use crate::admin::layer::EndpointsLayer;
use crate::check::CheckLayer;
use crate::config::{Config, SecurityHeadersConfig};
use crate::handler::router::AppHandler;
use crate::handler::routes::{Dispatch, RouteLayer, Routes};
use crate::lifecycle::Lifecycle;
use crate::limits::body::BodyLimitsLayer;
use crate::limits::framing::Framing;
use crate::limits::headers::HeaderLimits;
use crate::limits::host::AllowedHosts;
use crate::limits::in_flight::InFlightLayer;
use crate::limits::method::AllowedMethods;
use crate::limits::rate::{RateLimitLayer, RateLimiter, RouteLimiters};
use crate::limits::request_timeout::RequestTimeoutLayer;
use crate::limits::response_size::ResponseSizeLayer;
use crate::limits::url_length::MaxUrlLength;
use crate::memory::MemoryAccount;
use crate::middleware::answer::AnswerLayer;
use crate::middleware::compression::{CompressionLayer, RouteCompressors};
use crate::middleware::gate::{DrainGate, ReserveGate};
use crate::middleware::observe::ObserveLayer;
use crate::middleware::request_id::RequestIdLayer;
use crate::middleware::security_headers::SecurityHeadersLayer;
use crate::net::Stack;
use crate::places::Places;
use crate::telemetry::{AccessLog, Metrics};

/// What the layers share with the rest of the server.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Lines.
    pub access_log: AccessLog,
    /// The phase.
    pub lifecycle: Lifecycle,
    /// The endpoints.
    pub admin: Arc<AdminState>,
    /// What connections, requests and their bodies may take.
    pub memory: MemoryAccount,
    /// How many requests at a time.
    pub places: Places,
    /// Where requests lead; changes while running.
    pub routes: Routes,
    /// Changes while running.
    pub rate_limiter: RateLimiter,
    /// Changes with the routes.
    pub route_limiters: RouteLimiters,
    /// Likewise.
    pub compressors: RouteCompressors,
    /// Changes while running.
    pub allowed_hosts: AllowedHosts,
}

/// Everything between a connection of the main listener and the application.
pub(crate) fn main(config: &Config, shared: &Shared) -> impl Stack {
    let limits = &config.limits;
    ServiceBuilder::new()
        // Every answer names its request, refused or not, and so does every line about it.
        .layer(RequestIdLayer(immortal_name(&config.server.request_id_header)))
        // Everything below is logged and counted, whatever becomes of it.
        .layer(ObserveLayer::new(shared.metrics.clone(), shared.access_log.clone()))
        // Everything below refuses by its error; here it becomes an answer, in one place.
        .layer(AnswerLayer(shared.metrics.clone()))
        // First what must hold for the connection to be trusted with another request: a probe's
        // connection can be smuggled through as well.
        .layer(CheckLayer(Framing))
        // Probes are answered when everything else is refused.
        .layer(EndpointsLayer { state: shared.admin.clone(), probes_only: config.admin.port.is_some() })
        // What everything below asks for is the route's to say.
        .layer(RouteLayer(shared.routes.clone()))
        // Refusals that need nothing but the head, cheapest first, in one layer.
        .layer(CheckLayer((
            // A server that is about to exit takes on nothing new.
            DrainGate(shared.lifecycle.clone()),
            // Nor does a connection that was let in for probes alone.
            ReserveGate { max_connections: limits.max_connections },
            AllowedMethods::new(&limits.allowed_methods),
            shared.allowed_hosts.clone(),
            MaxUrlLength(limits.max_url_length),
            HeaderLimits { count: limits.max_header_count, size: limits.max_header_size },
        )))
        // A client's own allowance comes before what all clients share.
        .layer(RateLimitLayer { common: shared.rate_limiter.clone(), routes: shared.route_limiters.clone() })
        // Held to the end of the response body.
        .layer(
            InFlightLayer::new(shared.places.clone()).charging(shared.memory.clone(), config.stream_memory()),
        )
        // The clock covers all that the handler waits for, its request body included.
        .layer(RequestTimeoutLayer(limits.request_timeout))
        .layer(BodyLimitsLayer {
            max_size: limits.max_body_size,
            timeout: limits.body_timeout,
            min_rate: limits.min_body_rate,
            memory: Some(shared.memory.clone()),
        })
        // Closest to the handler, so that they see what it set.
        .layer(SecurityHeadersLayer::new(fields(&config.security_headers)))
        // Outside of the next, which counts what the application said.
        .layer(CompressionLayer(shared.compressors.clone()))
        .layer(ResponseSizeLayer(limits.max_response_size))
        .service(Dispatch)
}

/// Everything between a connection of the admin listener and the endpoints: its clients are
/// operators, but its port may be found by others.
pub(crate) fn admin(config: &Config, shared: &Shared, not_found: AppHandler) -> impl Stack {
    ServiceBuilder::new()
        .layer(RequestIdLayer(immortal_name(&config.server.request_id_header)))
        .layer(ObserveLayer::new(shared.metrics.clone(), shared.access_log.clone()))
        .layer(AnswerLayer(shared.metrics.clone()))
        .layer(CheckLayer(Framing))
        .layer(EndpointsLayer { state: shared.admin.clone(), probes_only: false })
        .layer(CheckLayer(MaxUrlLength(config.limits.max_url_length)))
        .layer(RequestTimeoutLayer(config.limits.request_timeout))
        .layer(BodyLimitsLayer {
            max_size: 0,
            timeout: config.limits.body_timeout,
            min_rate: config.limits.min_body_rate,
            memory: None,
        })
        .service(not_found)
}

/// The fields that `security_headers.*` adds.
pub(super) fn fields(set: &SecurityHeadersConfig) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
    let permissions = HeaderName::from_static("permissions-policy");
    let nosniff = set.nosniff.then_some(HeaderValue::from_static("nosniff"));
    let fields = [
        (X_CONTENT_TYPE_OPTIONS, nosniff),
        (X_FRAME_OPTIONS, set.frame_options.clone()),
        (REFERRER_POLICY, set.referrer_policy.clone()),
        (CONTENT_SECURITY_POLICY, set.content_security_policy.clone()),
        (permissions, set.permissions_policy.clone()),
    ];
    let enabled = set.enabled;
    fields.into_iter().filter(move |_| enabled).filter_map(|(name, value)| Some((name, value?)))
}

/// The same value, cloned into every answer without counting references. It is given up to the
/// end of the process, once for each server that is built.
pub(super) fn immortal(value: &HeaderValue) -> HeaderValue {
    value.to_str().map_or_else(|_| value.clone(), |text| HeaderValue::from_static(Box::leak(text.into())))
}

/// Likewise for a field's name.
fn immortal_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_static(Box::leak(name.as_str().into()))
}
