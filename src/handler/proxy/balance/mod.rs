//! Which address of a route's upstreams a request is sent to.
//!
//! A [`Group`] is the upstreams of one route. Discovery tells it their addresses
//! ([`Group::set_addresses`], [`Group::discover`]); [`Group::pick`] gives a request one of them, as a
//! [`Lease`] that counts it in flight and takes the verdict on how the address did.
//!
//! Of two addresses drawn at random the one with fewer requests in flight is taken: nearly as even as
//! asking all of them, without the herd that runs to the least loaded one (Mitzenmacher, *The Power of
//! Two Choices in Randomized Load Balancing*, 2001).
//!
//! An address that keeps failing is put aside (`ejection`), one that fails its health check is not
//! asked (`health`), and retries are paid for by requests (`budget`).

use std::fmt;
use std::time::Duration;

mod budget;
mod discover;
mod ejection;
mod endpoint;
mod group;
mod health;
mod lease;
mod pick;
#[cfg(test)]
mod tests;

pub use discover::AddressSource;
pub use endpoint::Endpoint;
pub use group::Group;
pub use lease::Lease;

/// How a group picks, judges and retries.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// What requests can be sent to, in the order of the configuration.
    pub upstreams: Vec<UpstreamSpec>,
    /// Failures that put an address aside, within [`Self::eject_window`] or in a row; `None` never does.
    pub eject_after: Option<u32>,
    /// How long a failure is remembered.
    pub eject_window: Duration,
    /// How long an address is put aside the first time; it doubles with each time in a row.
    pub eject_time: Duration,
    /// The longest that an address is put aside.
    pub max_eject_time: Duration,
    /// Active health checks, if there are any.
    pub health: Option<HealthOptions>,
    /// Retries per hundred requests; 0 never retries.
    pub retry_budget: u32,
    /// The longest that an answer of the name service is believed.
    pub longest_resolve: Duration,
}

/// One upstream of the configuration.
#[derive(Debug, Clone)]
pub struct UpstreamSpec {
    /// As logs and metrics call it: `http://app:8080`.
    pub label: String,
    /// A name, or an address (IPv6 with or without brackets).
    pub host: String,
    /// The port of every address of the name.
    pub port: u16,
}

/// How addresses are asked for their health.
#[derive(Debug, Clone)]
pub struct HealthOptions {
    /// From the end of one check to the beginning of the next.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failed checks in a row that take an address out.
    pub fall: u32,
    /// Passed checks in a row that bring it back.
    pub rise: u32,
}

/// How an address failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Refused at once, reset, or closed without an answer: asking again costs nothing.
    Fast,
    /// A time-out, connecting or waiting for the first byte.
    Slow,
    /// What came was not HTTP.
    Invalid,
}

/// Why no address can be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No upstream has an address, and why.
    NoAddress(String),
    /// Every address is put aside or fails its health check.
    AllDown,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(why) => f.write_str(why),
            Self::AllDown => f.write_str("every address is put aside or fails its health check"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// What metrics are told. Called under a lock: it must not block, and not call the group.
pub trait Events: Send + Sync {
    /// Whether any address of the upstream is available: told when that is first known and when it
    /// changes.
    fn healthy(&self, upstream: usize, healthy: bool);
    /// An address of the upstream was put aside.
    fn ejected(&self, upstream: usize);
}
