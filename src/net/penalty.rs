//! Who was given up for being slow while room was short, and comes after others for a while.
//!
//! A client that is waited for, is let go, and comes again at once would take each place that is freed
//! before anybody else has it. So, for as long as half of the memory is in use, it is told to come later.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::client_address::ClientKey;

/// How long it is remembered.
const FOR: Duration = Duration::from_secs(10);
/// Clients that are remembered at most, 64 bytes each; those that were slow last are kept.
const MOST: usize = 4096;

/// Clients that were slow, and when.
#[derive(Debug)]
pub struct PenaltyBox(Mutex<LruCache<ClientKey, Instant>>);

impl Default for PenaltyBox {
    fn default() -> Self {
        // Grown as it fills: a table of its full size is nothing that a calm server needs.
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl PenaltyBox {
    /// Remembers that `client` was slow.
    pub fn put(&self, client: ClientKey) {
        let mut slow = self.slow();
        slow.put(client, Instant::now());
        if slow.len() > MOST {
            slow.pop_lru();
        }
    }

    /// Whether a connection that `client` made then has to wait for others. What it had before is not
    /// held against it: an address may stand for many.
    pub fn holds(&self, client: ClientKey, accepted: Instant) -> bool {
        let mut slow = self.slow();
        let Some(since) = slow.peek(&client).copied() else { return false };
        if since.elapsed() >= FOR {
            slow.pop(&client);
            return false;
        }
        accepted >= since
    }

    fn slow(&self) -> MutexGuard<'_, LruCache<ClientKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(number: u32) -> ClientKey {
        IpAddr::from(Ipv4Addr::from(number)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_comes_after_others_for_a_while() {
        let slow = PenaltyBox::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        slow.put(client(1));
        assert!(slow.holds(client(1), Instant::now()) && !slow.holds(client(1), before));
        assert!(!slow.holds(client(2), Instant::now()));
        tokio::time::advance(FOR).await;
        assert!(!slow.holds(client(1), Instant::now()) && slow.slow().is_empty());
    }

    #[test]
    fn it_is_bounded_and_keeps_the_last() {
        let slow = PenaltyBox::default();
        let most = u32::try_from(MOST).unwrap();
        (0..=most).for_each(|number| slow.put(client(number)));
        assert!(!slow.holds(client(0), Instant::now()) && slow.holds(client(most), Instant::now()));
        assert_eq!(slow.slow().len(), MOST);
    }
}
