#![forbid(unsafe_code)]
//! Nessen.

pub mod cli;
pub mod client_address;
pub mod config;
pub mod lifecycle;
pub mod protocol;
pub mod refusal;
pub mod units;
