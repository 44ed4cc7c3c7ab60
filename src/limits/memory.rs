//! `limits.memory`: bytes of request bodies that all clients together may make the server hold.
//!
//! What connections and windows may cost is fixed by their limits and set aside beforehand; what
//! is left of the budget is this account. A body is charged as it is read, and until its answer is
//! finished, since nothing says that the handler let go of it earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::{Reason, Refusal};

/// A bounded sum that many requests add to. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryAccount(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
}

impl MemoryAccount {
    /// An account of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0) }))
    }

    /// Bytes that are charged at this moment.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A charge of nothing yet.
    pub fn open(&self) -> Charge {
        Charge { account: self.clone(), bytes: AtomicU64::new(0) }
    }
}

/// What one request has charged; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    account: MemoryAccount,
    bytes: AtomicU64,
}

impl Charge {
    /// Charges `bytes` more.
    ///
    /// # Errors
    /// The account is exhausted. What was charged before stays charged.
    pub fn add(&self, bytes: u64) -> Result<(), Refusal> {
        let Inner { limit, used } = &*self.account.0;
        if used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *limit {
            used.fetch_sub(bytes, Ordering::Relaxed);
            let detail = "the memory for request bodies is in use";
            return Err(Refusal::new(Reason::Overloaded, detail)
                .limit("limits.memory")
                .retry_after(std::time::Duration::from_secs(1)));
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.used.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_never_passes_the_limit_and_all_is_given_back() {
        let account = MemoryAccount::new(10);
        let (first, second) = (account.open(), account.open());
        assert!(first.add(6).is_ok() && second.add(4).is_ok());
        assert_eq!(second.add(1).unwrap_err().reason, Reason::Overloaded);
        drop(first);
        assert!(second.add(6).is_ok());
        assert_eq!(account.used(), 10);
        drop(second);
        assert_eq!(account.used(), 0);
    }
}
