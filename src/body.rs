//! Bodies on their way through the house.

pub(crate) mod file;

/// The error type of every body here.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
