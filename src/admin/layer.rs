//! The endpoints as a layer in front of the app.

use std::sync::Arc;

use http::Request;
use http_body::Body;

use super::{AdminState, Endpoint, evidence};
use crate::evidence::Evidence;
use crate::stage::{Inbound, Shared, Stage, Stop, alone};
use crate::telemetry::metrics::ADMIN_ROUTES;

/// Answers the endpoints, and passes everything else on.
#[derive(Debug, Clone)]
pub struct EndpointsLayer {
    /// What they tell about.
    pub state: Arc<AdminState>,
    /// The probes alone: the rest is on a port of its own.
    pub probes_only: bool,
    /// Listed at `/evidence`; `None` leaves that path to others.
    pub evidence: Option<Evidence>,
}

alone!(EndpointsLayer);

impl Stage for EndpointsLayer {
    type Held = ();

    fn enter<B: Body>(
        &self,
        (): &mut (),
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        let Self { state, probes_only, evidence } = self;
        if let Some(answer) = evidence.as_ref().and_then(|it| evidence::answer(it, request)) {
            if let Some(exchange) = exchange {
                exchange.set_route(route_of(evidence::PATH));
            }
            return Err(Stop::Answered(Box::new(answer?)));
        }
        let endpoint = Endpoint::of(request.uri().path()).filter(|it| it.is_probe() || !probes_only);
        let Some(endpoint) = endpoint else { return Ok(()) };
        if let Some(exchange) = exchange {
            exchange.set_route(route_of(endpoint.path()));
        }
        Err(Stop::Answered(Box::new(state.answer(endpoint, request.method())?)))
    }
}

/// The admin routes are the first, after the route that is none.
fn route_of(path: &str) -> u32 {
    let place = ADMIN_ROUTES.iter().position(|route| *route == path).unwrap_or(0);
    u32::try_from(place + 1).unwrap_or(0)
}
