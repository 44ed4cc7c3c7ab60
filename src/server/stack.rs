//! THE list of stages, in the order in which a request travels through them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::admin::AdminState;
use crate::admin::hosts::AdminHosts;
use crate::admin::layer::EndpointsLayer;
use crate::admin::page::Page;
use crate::check::CheckLayer;
use crate::config::{Config, SecurityHeadersConfig};
use crate::evidence::Evidence;
use crate::handler::https::ToHttps;
use crate::handler::router::AppHandler;
use crate::handler::routes::{Dispatch, RouteLayer, Routes};
use crate::lifecycle::Lifecycle;
use crate::limits::body::BodyLimitsLayer;
use crate::limits::framing::Framing;
use crate::limits::headers::HeaderLimits;
use crate::limits::host::AllowedHosts;
use crate::limits::in_flight::InFlightLayer;
use crate::limits::method::AllowedMethods;
use crate::limits::rate::{Backend, RateLimitLayer, RateLimiter, RouteLimiters};
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
use crate::stage::Stages;
use crate::telemetry::{AccessLog, Metrics};
use crate::trace::Tracer;

/// What the stages share with the rest of the server.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Lines.
    pub access_log: AccessLog,
    /// What is kept of refusals, if anything is.
    pub evidence: Option<Evidence>,
    /// The phase.
    pub lifecycle: Lifecycle,
    /// The endpoints.
    pub admin: Arc<AdminState>,
    /// What is at `/` of the admin port, where there is one.
    pub page: Option<Page>,
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
    /// Where limits are shared, if they are; changes while running.
    pub limit_backend: Backend,
    /// Likewise.
    pub compressors: RouteCompressors,
    /// Changes while running.
    pub allowed_hosts: AllowedHosts,
    /// Where requests are traced.
    pub tracer: Option<Tracer>,
}

/// Everything between a connection of the main listener and the application.
pub(crate) fn main(config: &Config, shared: &Shared) -> impl Stack {
    let limits = &config.limits;
    let outer = (
        // Every answer names its request, refused or not, and so does every line about it.
        RequestIdLayer::new(immortal_name(&config.server.request_id_header)),
        // Everything below is logged and counted, whatever becomes of it.
        ObserveLayer::new(shared.metrics.clone(), shared.access_log.clone())
            .with_evidence(shared.evidence.clone())
            .by_conventions(config.metrics.semantic_conventions)
            .tracing(shared.tracer.clone()),
    );
    // Everything below refuses by its error; here it becomes an answer, in one place.
    let answer = AnswerLayer::new(shared.metrics.clone(), shared.evidence.clone());
    let inner = (
        // First what must hold for the connection to be trusted with another request: a probe's
        // connection can be smuggled through as well.
        CheckLayer(Framing),
        // Probes are answered when everything else is refused.
        EndpointsLayer {
            state: shared.admin.clone(),
            probes_only: config.admin.port.is_some(),
            // SECURITY: never on a port that clients reach.
            evidence: None,
        },
        // What everything below asks for is the route's to say.
        RouteLayer(shared.routes.clone()),
        // Refusals that need nothing but the head, cheapest first.
        CheckLayer((
            // A server that is about to exit takes on nothing new.
            DrainGate(shared.lifecycle.clone()),
            // Nor does a connection that was let in for probes alone.
            ReserveGate { max_connections: limits.max_connections },
            AllowedMethods::new(&limits.allowed_methods),
            shared.allowed_hosts.clone(),
            MaxUrlLength(limits.max_url_length),
            HeaderLimits { count: limits.max_header_count, size: limits.max_header_size },
        )),
        // A client's own allowance comes before what all clients share.
        RateLimitLayer {
            common: shared.rate_limiter.clone(),
            routes: shared.route_limiters.clone(),
            backend: shared.limit_backend.clone(),
        },
        // Held to the end of the response body.
        InFlightLayer::new(shared.places.clone()).charging(shared.memory.clone(), config.stream_memory()),
        // The clock covers all that the handler waits for, its request body included.
        RequestTimeoutLayer(limits.request_timeout),
        BodyLimitsLayer {
            max_size: limits.max_body_size,
            timeout: limits.body_timeout,
            min_rate: limits.min_body_rate,
            memory: Some(shared.memory.clone()),
        },
        // Closest to the handler, so that they see what it set.
        SecurityHeadersLayer::new(fields(&config.security_headers, config.tls.is_on())),
        // Outside of the next, which counts what the application said.
        CompressionLayer(shared.compressors.clone()),
        ResponseSizeLayer(limits.max_response_size),
    );
    Stages { outer, answer, inner }.before(Dispatch)
}

/// Everything between a connection of the admin listener and the endpoints: its clients are
/// operators, but its port may be found by others, and so may the browser of an operator.
pub(crate) fn admin(config: &Config, shared: &Shared, page: AppHandler) -> impl Stack {
    let outer = (
        RequestIdLayer::new(immortal_name(&config.server.request_id_header)),
        ObserveLayer::new(shared.metrics.clone(), shared.access_log.clone())
            .with_evidence(shared.evidence.clone()),
    );
    let answer = AnswerLayer::new(shared.metrics.clone(), shared.evidence.clone());
    let inner = (
        CheckLayer((Framing, AdminHosts::new(config.admin.allowed_hosts.clone()))),
        EndpointsLayer { state: shared.admin.clone(), probes_only: false, evidence: shared.evidence.clone() },
        CheckLayer(MaxUrlLength(config.limits.max_url_length)),
        RequestTimeoutLayer(config.limits.request_timeout),
        BodyLimitsLayer {
            max_size: 0,
            timeout: config.limits.body_timeout,
            min_rate: config.limits.min_body_rate,
            memory: None,
        },
    );
    Stages { outer, answer, inner }.before(page)
}

/// Everything between a connection of `tls.redirect_port` and the word where to go.
pub(crate) fn redirect(config: &Config, shared: &Shared) -> impl Stack {
    let outer = (
        RequestIdLayer::new(immortal_name(&config.server.request_id_header)),
        ObserveLayer::new(shared.metrics.clone(), shared.access_log.clone())
            .with_evidence(shared.evidence.clone()),
    );
    let answer = AnswerLayer::new(shared.metrics.clone(), shared.evidence.clone());
    let inner = (
        CheckLayer(Framing),
        // Who asks here for what operators see is sent on like anybody else.
        EndpointsLayer { state: shared.admin.clone(), probes_only: true, evidence: None },
        CheckLayer((
            DrainGate(shared.lifecycle.clone()),
            ReserveGate { max_connections: config.limits.max_connections },
            // A redirect to any host would lend our name to others.
            shared.allowed_hosts.clone(),
            MaxUrlLength(config.limits.max_url_length),
        )),
        // Of a body, nothing is read.
        RequestTimeoutLayer(config.limits.request_timeout),
    );
    Stages { outer, answer, inner }.before(ToHttps { port: config.tls.public_port })
}

/// The fields that `security_headers.*` adds.
pub(super) fn fields(
    set: &SecurityHeadersConfig,
    is_secure: bool,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    use http::header::{
        CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    };
    let permissions = HeaderName::from_static("permissions-policy");
    let nosniff = set.nosniff.then_some(HeaderValue::from_static("nosniff"));
    let fields = [
        (X_CONTENT_TYPE_OPTIONS, nosniff),
        (X_FRAME_OPTIONS, set.frame_options.clone()),
        (REFERRER_POLICY, set.referrer_policy.clone()),
        (CONTENT_SECURITY_POLICY, set.content_security_policy.clone()),
        (permissions, set.permissions_policy.clone()),
        // Plain HTTP must not tell it (RFC 6797 section 7.2).
        (STRICT_TRANSPORT_SECURITY, set.hsts.clone().filter(|_| is_secure)),
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
fn immortal_name(name: &HeaderName) -> &'static str {
    Box::leak(name.as_str().into())
}
