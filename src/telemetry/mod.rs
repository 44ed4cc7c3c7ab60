//! What operators see: the log, the access log and the metrics.
//!
//! Nothing here blocks or allocates on the way of a request, and nothing here grows with what
//! clients do: lines are dropped and counted rather than queued without bound, and no metric label
//! takes a value from a client.

pub mod access_log;
mod build_info;
mod conventions;
mod histogram;
pub mod history;
pub mod log;
pub mod log_pipe;
pub mod metrics;
pub mod names;
pub mod process;
mod rate_limit;
mod series;
mod text;
mod tls;
mod upstreams;

pub(crate) use text::timestamp;

pub use access_log::{AccessLog, AccessMode, AccessRecord};
pub use build_info::BuildInfo;
pub use conventions::Spoken;
pub use history::History;
pub use log::{LogControl, LogFormat};
pub use log_pipe::LogPipe;
pub use metrics::{Finished, Metrics, RouteId, Snapshot};
pub use rate_limit::{BackendFailure, BackendSeries};
pub use tls::{Handshake, TlsSeries};
pub use upstreams::{UpstreamFailure, UpstreamSeries};
