//! What the watch over a request body found, and how it overrules the handler.

use std::sync::{Arc, OnceLock};

use crate::memory::{Charge, Purpose};
use crate::refusal::Refusal;

/// Filled at most once, by the body; read by the answer. It lives as long as either, and with it
/// what the body has charged.
#[derive(Debug, Clone)]
pub struct Verdict(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refusal: OnceLock<Refusal>,
    charge: Option<Charge>,
}

impl Verdict {
    pub(super) fn new(charge: Option<Charge>) -> Self {
        Self(Arc::new(Inner { refusal: OnceLock::new(), charge }))
    }

    /// Charges bytes of the body.
    pub(super) fn charge(&self, bytes: u64) -> Result<(), Refusal> {
        self.0.charge.as_ref().map_or(Ok(()), |charge| charge.add(bytes, Purpose::Body))
    }

    /// Keeps the first refusal; what comes later is its consequence.
    pub(super) fn set(&self, refusal: Refusal) {
        let _ = self.0.refusal.set(refusal);
    }

    /// The refusal, if there is one.
    pub fn get(&self) -> Option<&Refusal> {
        self.0.refusal.get()
    }
}
