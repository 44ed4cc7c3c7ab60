//! The gates that close as a whole: for a server that is about to exit, and for connections that
//! were let in over the limit.

use http::Request;

use crate::check::Check;
use crate::exchange::Scarce;
use crate::lifecycle::Lifecycle;
use crate::refusal::{Reason, Refusal};
use crate::stage::Shared;

/// After the drain delay nothing new is served, except what was promised: the first request of a
/// connection that the listener took in while it was still open, and HTTP/2 streams between the
/// GOAWAY that announces the end and the one that names the last stream.
#[derive(Debug, Clone)]
pub struct DrainGate(pub Lifecycle);

impl Check for DrainGate {
    fn check<B>(&self, _: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
        if !self.0.refuses_new_requests() || exchange.is_some_and(|exchange| exchange.promised) {
            return Ok(());
        }
        Err(Refusal::new(Reason::ServerShuttingDown, "the server is about to exit")
            .limit("shutdown.drain_delay")
            .retry_after(std::time::Duration::from_secs(1)))
    }
}

/// On a connection over `limits.max_connections`, or one that came when `limits.memory` was used up,
/// only probes are answered, and those have been by now.
#[derive(Debug, Clone, Copy)]
pub struct ReserveGate {
    /// `limits.max_connections`, for the refusal.
    pub max_connections: usize,
}

impl Check for ReserveGate {
    fn check<B>(&self, _: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
        let Some(scarce) = exchange.and_then(|exchange| exchange.probe_only) else {
            return Ok(());
        };
        let refusal = match scarce {
            Scarce::Connections => Refusal::new(
                Reason::TooManyConnections,
                format!("{} connections are open", self.max_connections),
            )
            .limit("limits.max_connections"),
            Scarce::Memory => {
                Refusal::new(Reason::Overloaded, "the memory for requests is in use").limit("limits.memory")
            }
        };
        Err(refusal.retry_after(std::time::Duration::from_secs(1)))
    }
}
