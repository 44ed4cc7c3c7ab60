//! What is kept of refusals.

use std::time::Duration;

pub use crate::evidence::Eviction;

/// Evidence of what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceConfig {
    /// Master switch.
    pub enabled: bool,
    /// Entries kept.
    pub max_count: usize,
    /// Bytes that they may take.
    pub max_bytes: u64,
    /// Which makes room for another.
    pub eviction: Eviction,
    /// First bytes of a body that are hashed, and shown where they can be.
    pub body_bytes: usize,
    /// Internal faults within `panic_window` that switch it off.
    pub panic_threshold: usize,
    /// See there.
    pub panic_window: Duration,
}
