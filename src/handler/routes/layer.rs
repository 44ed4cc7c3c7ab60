//! Chooses the route.

use http::Request;
use http_body::Body;

use super::Routes;
use crate::stage::{Inbound, Shared, Stage, Stop, alone};

/// Chooses each request's route, and tells the layers further in what it asks of them: both are told
/// to the request's [`Exchange`](crate::exchange::Exchange), without which there is no route.
#[derive(Debug, Clone)]
pub struct RouteLayer(pub Routes);

alone!(RouteLayer);

impl Stage for RouteLayer {
    type Held = ();

    fn enter<B: Body>(
        &self,
        (): &mut (),
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        if let Some(exchange) = exchange {
            let route = self.0.choose(request);
            exchange.choose(route.policy.clone(), route);
        }
        Ok(())
    }
}
