//! Builds everything and runs it: builder → bind → run → outcome.

mod accept;
mod bind_error;
mod builder;
mod checks;
mod drain;
mod evidence;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod housekeeping;
mod limit_rows;
mod limiting;
mod ports;
mod pulse;
mod reload;
mod routes;
mod running;
mod setting_rows;
mod stack;
mod tls;
mod tracing;

pub use bind_error::BindError;
pub use builder::{Bound, Builder, listen};
pub use limit_rows::limit_rows;
pub use reload::Reload;
pub use routes::RouteError;
pub use running::BoundServer;
pub use setting_rows::{reloaded_rows, setting_rows};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Everything in flight was answered.
    Drained,
    /// So many requests and upgraded connections were cut off: the drain deadline passed, or a
    /// second signal came.
    CutOff(u64),
    /// The server could no longer accept connections; what was in flight has been drained.
    Failed,
}

impl Outcome {
    /// Requests that were cut off.
    pub fn cut_off(self) -> u64 {
        match self {
            Self::Drained | Self::Failed => 0,
            Self::CutOff(requests) => requests,
        }
    }
}

/// Where a server begins: [`Server::builder`], then [`Builder::run`] or, for its address before it
/// serves, [`Builder::bind`].
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Begins to build a server: the default configuration, the welcome app, no checks.
    pub fn builder() -> Builder {
        Builder::default()
    }
}
