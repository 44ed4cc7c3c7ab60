//! From the socket to the layers: who may connect, what they speak, and how long each step may take.

pub mod admission;
mod clock;
pub mod connection;
pub mod context;
mod detect;
mod http1;
mod http2;
pub mod linger;
pub mod listener;
mod outgoing;
mod park;
pub mod registry;
pub mod send_watch;
mod service;
pub mod state;
pub mod transport;

pub use service::Stack;
