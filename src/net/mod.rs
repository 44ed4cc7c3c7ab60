//! From the socket to the layers: who may connect, what they speak, and how long each step may take.
//!
//! In the order in which a connection meets them: [`listener`] accepts, [`admission`] decides,
//! [`registry`] enters it for the drain, [`connection`] serves it from its first byte to its last
//! over a [`transport`], behind a trusted proxy after the header that names its client
//! ([`context::ProxyProtocol`]), and [`linger`] closes it so that the last answer arrives. What everybody
//! around one connection shares is its [`state`]; what all connections share is the [`context`].

pub mod admission;
mod clock;
pub mod connection;
pub mod context;
mod date;
mod detect;
pub mod eviction;
pub(crate) mod head;
mod http1;
mod http2;
pub mod inherited;
pub mod linger;
pub mod listener;
mod order;
mod outgoing;
mod park;
pub mod penalty;
pub mod pressure;
pub mod progress;
pub(crate) mod proxy_protocol;
mod rare;
pub mod registry;
pub mod secure;
pub mod send_watch;
mod service;
mod stamp;
pub mod state;
mod sweep;
pub mod transport;
pub mod turns;
mod upload;

pub use service::Stack;
pub use upload::Upload;
