//! The reverse proxy.

pub mod balance;
