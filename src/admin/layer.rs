//! The endpoints as a layer in front of the app.

use std::sync::Arc;

use http::Request;
use http_body::Body;

use super::{AdminState, Endpoint};
use crate::stage::{Inbound, Shared, Stage, Stop, alone};
use crate::telemetry::metrics::ADMIN_ROUTES;

/// Answers the endpoints, and passes everything else on.
#[derive(Debug, Clone)]
pub struct EndpointsLayer {
    /// What they tell about.
    pub state: Arc<AdminState>,
    /// The probes alone: the rest is on a port of its own.
    pub probes_only: bool,
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
        let Self { state, probes_only } = self;
        let endpoint = Endpoint::of(request.uri().path()).filter(|it| it.is_probe() || !probes_only);
        let Some(endpoint) = endpoint else { return Ok(()) };
        if let Some(exchange) = exchange {
            // The admin routes are the first, after the route that is none.
            let place = ADMIN_ROUTES.iter().position(|path| *path == endpoint.path()).unwrap_or(0);
            exchange.set_route(u32::try_from(place + 1).unwrap_or(0));
        }
        Err(Stop::Answered(Box::new(state.answer(endpoint, request.method())?)))
    }
}
