#![forbid(unsafe_code)]
//! Nessen.

pub mod admin;
pub mod client_address;
pub mod config;
pub mod handler;
pub mod lifecycle;
pub mod protocol;
pub mod redact;
pub mod refusal;
pub mod telemetry;
pub mod units;
