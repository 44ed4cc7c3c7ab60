//! A request's hold on an address.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Endpoint, Failure};

/// Why a request was sent to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is available.
    Plain,
    /// To see whether it is back.
    Trial,
    /// There was nothing better.
    LastResort,
}

/// One request counted in flight at an address, until dropped.
///
/// The first verdict counts. A lease dropped without one, because the client went away, says nothing of
/// the address.
pub struct Lease<P> {
    endpoint: Arc<Endpoint<P>>,
    kind: Kind,
    age: u32,
    judged: AtomicBool,
}

impl<P> Lease<P> {
    pub(super) fn new(endpoint: Arc<Endpoint<P>>, kind: Kind, age: u32) -> Self {
        Self { endpoint, kind, age, judged: AtomicBool::new(false) }
    }

    /// The address.
    pub fn endpoint(&self) -> &Arc<Endpoint<P>> {
        &self.endpoint
    }

    /// The address answered: say so as soon as the head of the answer is there.
    pub fn succeeded(&self) {
        if self.judged.swap(true, Relaxed) {
            return;
        }
        if self.kind == Kind::Plain {
            self.endpoint.succeeded();
        } else if let Some(group) = self.endpoint.group() {
            group.returned(&self.endpoint);
        }
    }

    /// The address failed the request.
    pub fn failed(&self, failure: Failure) {
        if !self.judged.swap(true, Relaxed)
            && let Some(group) = self.endpoint.group()
        {
            group.failed(&self.endpoint, self.kind, self.age, failure);
        }
    }
}

impl<P> Drop for Lease<P> {
    fn drop(&mut self) {
        self.endpoint.give_back();
        if self.kind == Kind::Trial && !*self.judged.get_mut() {
            self.endpoint.change(|record| record.ejection.abandon_trial(self.age));
        }
    }
}

impl<P> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", &self.endpoint)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
