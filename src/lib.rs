#![forbid(unsafe_code)]
//! Nessen.

pub mod body;
pub mod client_address;
pub mod config;
pub mod exchange;
pub mod lifecycle;
pub mod limits;
pub mod pace;
pub mod protocol;
pub mod refusal;
pub mod units;
