//! The buckets of all clients, in bounded memory.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lru::LruCache;
use tokio::time::Instant;

use super::bucket::{Allowance, Bucket, Policy};
use crate::client_address::ClientKey;

type Shard = Mutex<LruCache<ClientKey, Bucket, RandomState>>;

/// Below this many clients one shard keeps them all, so that the least recently seen goes first
/// exactly; above it, each of [`SHARDS`] does so for its share, and locks are not fought over.
const EXACT_BELOW: usize = 4096;
const SHARDS: usize = 16;

/// Buckets by client address (IPv6 by /64). Clones share them. The policy can change at run time.
#[derive(Debug, Clone)]
pub struct RateLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: ArcSwapOption<Policy>,
    /// Whether there is none; told apart so that a server without a limit loads nothing.
    off: AtomicBool,
    tables: arc_swap::ArcSwap<Tables>,
    epoch: Instant,
}

#[derive(Debug)]
struct Tables {
    // SECURITY: a random hasher, since clients choose their addresses (RFC 4941, botnets).
    hasher: RandomState,
    /// Made for the first client: a route that nobody asks for holds none.
    shards: OnceLock<Box<[Shard]>>,
    count: usize,
    max_keys: usize,
}

impl Tables {
    fn new(max_keys: usize) -> Self {
        let count = if max_keys < EXACT_BELOW { 1 } else { SHARDS };
        let capacity = NonZeroUsize::new(max_keys / count).unwrap_or(NonZeroUsize::MIN);
        Self { hasher: RandomState::new(), shards: OnceLock::new(), count, max_keys: capacity.get() }
    }

    fn shard(&self, key: ClientKey) -> Option<MutexGuard<'_, LruCache<ClientKey, Bucket, RandomState>>> {
        // Unbounded at birth and bounded by hand: the bounded constructor would reserve it all.
        let table = || Mutex::new(LruCache::unbounded_with_hasher(RandomState::new()));
        let shards = self.shards.get_or_init(|| (0..self.count).map(|_| table()).collect());
        let index = match self.count {
            1 => 0,
            // The low bits decide, so that a narrower usize loses nothing.
            #[expect(clippy::cast_possible_truncation, reason = "a hash is as good cut short")]
            _ => self.hasher.hash_one(key) as usize % SHARDS,
        };
        shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RateLimiter {
    /// A limiter under `policy`; `None` lets everybody pass and keeps nothing.
    pub fn new(policy: Option<Policy>) -> Self {
        let max_keys = policy.map_or(1, |policy| policy.max_keys);
        Self(Arc::new(Inner {
            policy: ArcSwapOption::from_pointee(policy),
            off: AtomicBool::new(policy.is_none()),
            tables: arc_swap::ArcSwap::from_pointee(Tables::new(max_keys)),
            epoch: Instant::now(),
        }))
    }

    /// Changes the policy. What clients have spent was measured in the old one, so a policy that
    /// differs begins afresh; the same policy again, as on every other reload, changes nothing.
    pub fn replace(&self, policy: Option<Policy>) {
        if self.0.policy.load().as_deref() == policy.as_ref() {
            return;
        }
        self.0.tables.store(Arc::new(Tables::new(policy.map_or(1, |policy| policy.max_keys))));
        self.0.policy.store(policy.map(Arc::new));
        self.0.off.store(policy.is_none(), Ordering::Release);
    }

    /// Whether there is no limit at all.
    pub fn is_off(&self) -> bool {
        self.0.off.load(Ordering::Acquire)
    }

    /// Whether `client` may make a request now; `None` while there is no limit.
    pub fn ask(&self, client: IpAddr) -> Option<(Policy, Allowance)> {
        let policy = **self.0.policy.load().as_ref()?;
        let key = ClientKey::from(client);
        let now = self.now();
        let tables = self.0.tables.load();
        let mut shard = tables.shard(key)?;
        if let Some(bucket) = shard.get_mut(&key) {
            return Some((policy, bucket.take(&policy, now)));
        }
        if shard.len() >= tables.max_keys {
            shard.pop_lru();
        }
        let mut bucket = Bucket::default();
        let allowance = bucket.take(&policy, now);
        shard.put(key, bucket);
        Some((policy, allowance))
    }

    /// Clients that are tracked, and those of them that are blocked.
    pub fn census(&self) -> (usize, usize) {
        let now = self.now();
        let tables = self.0.tables.load();
        tables.shards.get().into_iter().flatten().fold((0, 0), |(keys, blocked), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let now_blocked = shard.iter().filter(|(_, bucket)| bucket.is_blocked(now)).count();
            (keys + shard.len(), blocked + now_blocked)
        })
    }

    /// One second past its birth at birth, so that a bucket which is empty of time is full.
    fn now(&self) -> Duration {
        self.0.epoch.elapsed() + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(max_keys: usize) -> Policy {
        Policy { max_requests: 1, window: Duration::from_secs(60), burst: 1, block: Duration::ZERO, max_keys }
    }

    fn passes(limiter: &RateLimiter, client: &str) -> bool {
        !matches!(limiter.ask(client.parse().unwrap()), Some((_, Allowance::Refused { .. })))
    }

    #[tokio::test(start_paused = true)]
    async fn clients_have_buckets_of_their_own_and_ipv6_shares_by_64() {
        let limiter = RateLimiter::new(Some(policy(10)));
        assert!(passes(&limiter, "1.1.1.1") && passes(&limiter, "1.1.1.2"));
        assert!(!passes(&limiter, "1.1.1.1"));
        assert!(passes(&limiter, "2001:db8::1") && !passes(&limiter, "2001:db8::2"));
        assert!(passes(&limiter, "2001:db8:0:1::1"));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(passes(&limiter, "1.1.1.1"));
    }

    #[tokio::test]
    async fn the_least_recently_seen_client_goes_first() {
        let limiter = RateLimiter::new(Some(policy(2)));
        assert!(passes(&limiter, "1.1.1.1") && passes(&limiter, "1.1.1.2"));
        assert!(!passes(&limiter, "1.1.1.1"), "seen again");
        assert!(passes(&limiter, "1.1.1.3"), "takes the place of .2");
        assert!(!passes(&limiter, "1.1.1.1"));
        assert!(passes(&limiter, "1.1.1.2"), "was forgotten");
        assert_eq!(limiter.census().0, 2);
    }

    #[tokio::test]
    async fn a_limiter_that_nobody_asked_holds_no_table() {
        let limiter = RateLimiter::new(Some(policy(10_000)));
        assert_eq!(limiter.census(), (0, 0));
        assert!(limiter.0.tables.load().shards.get().is_none());
        assert!(passes(&limiter, "1.1.1.1"));
        assert_eq!(limiter.census().0, 1);
    }

    #[tokio::test]
    async fn ten_thousand_keys_is_a_hard_bound() {
        let limiter = RateLimiter::new(Some(policy(10_000)));
        for client in 0..50_000u32 {
            limiter.ask(std::net::Ipv4Addr::from(client).into());
        }
        assert!(limiter.census().0 <= 10_000);
    }

    #[tokio::test]
    async fn a_new_policy_holds_at_once() {
        let limiter = RateLimiter::new(None);
        assert!(limiter.ask("1.1.1.1".parse().unwrap()).is_none());
        limiter.replace(Some(policy(10)));
        assert!(passes(&limiter, "1.1.1.1") && !passes(&limiter, "1.1.1.1"));
        limiter.replace(Some(Policy { max_requests: 100, burst: 100, ..policy(10) }));
        assert!(passes(&limiter, "1.1.1.1"));
    }
}
