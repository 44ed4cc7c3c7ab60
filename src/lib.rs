#![forbid(unsafe_code)]
//! Nessen.

pub mod admin;
pub mod body;
pub mod check;
pub mod cli;
pub mod client_address;
pub mod config;
pub mod exchange;
pub mod handler;
pub mod lifecycle;
pub mod limits;
pub mod middleware;
pub mod net;
pub mod pace;
pub mod protocol;
pub mod random;
pub mod redact;
pub mod refusal;
pub mod server;
pub mod telemetry;
pub mod units;

#[cfg(test)]
mod house_tests;
