//! The buckets of all clients, in bounded memory.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use lru::LruCache;
use tokio::time::Instant;

use super::bucket::{Allowance, Bucket, Policy};
use super::key::Key;
use super::rule::Rule;

type Table = LruCache<Hashed, Bucket, BuildHasherDefault<Already>>;
type Shard = Mutex<Table>;

/// Below this many clients one shard keeps them all, so that the least recently seen goes first
/// exactly; above it, each of [`SHARDS`] does so for its share, and locks are not fought over.
const EXACT_BELOW: usize = 4096;
const SHARDS: usize = 16;

/// A key, hashed once: for its shard and for its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hashed {
    hash: u64,
    key: Key,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes what was hashed before.
#[derive(Debug, Default)]
struct Already(u64);

impl Hasher for Already {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Buckets by client, as its rule tells clients apart. Clones share them. The rule can change at run time.
#[derive(Debug, Clone)]
pub struct RateLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tables: ArcSwapOption<Tables>,
    /// Whether there is no rule; told apart so that a server without a limit loads nothing.
    off: AtomicBool,
}

/// The buckets of one rule.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) rule: Rule,
    // SECURITY: a random hasher, since clients choose their addresses (RFC 4941, botnets).
    hasher: RandomState,
    /// Made for the first client: a route that nobody asks for holds none.
    shards: OnceLock<Box<[Shard]>>,
    count: usize,
    max_keys: usize,
    epoch: Instant,
}

impl Tables {
    fn new(rule: Rule) -> Self {
        let max_keys = rule.policy().max_keys;
        let count = if max_keys < EXACT_BELOW { 1 } else { SHARDS };
        let capacity = NonZeroUsize::new(max_keys / count).unwrap_or(NonZeroUsize::MIN);
        Self {
            rule,
            hasher: RandomState::new(),
            shards: OnceLock::new(),
            count,
            max_keys: capacity.get(),
            epoch: Instant::now(),
        }
    }

    /// The shard of this key, and what it is called there.
    fn shard(&self, key: &Key) -> Option<(MutexGuard<'_, Table>, Hashed)> {
        // Unbounded at birth and bounded by hand: the bounded constructor would reserve it all.
        let table = || Mutex::new(LruCache::unbounded_with_hasher(BuildHasherDefault::default()));
        let shards = self.shards.get_or_init(|| (0..self.count).map(|_| table()).collect());
        let key = Hashed { hash: self.hasher.hash_one(key), key: *key };
        // Bits between those that a table goes by: the lowest for the place, the highest for the tag.
        let shard = shards.get((key.hash >> 40) as usize % self.count)?;
        Some((shard.lock().unwrap_or_else(PoisonError::into_inner), key))
    }

    /// What `look` makes of the bucket of `key`, which is there from then on.
    fn with<T>(&self, key: &Key, look: impl FnOnce(&mut Bucket, &Policy) -> T) -> Option<T> {
        let (mut shard, key) = self.shard(key)?;
        if let Some(bucket) = shard.get_mut(&key) {
            return Some(look(bucket, self.rule.policy()));
        }
        if shard.len() >= self.max_keys {
            shard.pop_lru();
        }
        let mut bucket = Bucket::default();
        let made = look(&mut bucket, self.rule.policy());
        shard.put(key, bucket);
        Some(made)
    }

    /// Takes one token of `key`'s.
    pub(super) fn take(&self, key: &Key) -> Option<Allowance> {
        let now = self.now();
        self.with(key, |bucket, policy| bucket.take(policy, now))
    }

    /// The refusal that is certain for `key`, from what was learnt of the bucket that it shares.
    pub(super) fn foresee(&self, key: &Key, now: Duration) -> Option<Allowance> {
        let (mut shard, key) = self.shard(key)?;
        shard.get(&key)?.foresee(self.rule.policy(), now)
    }

    /// Notes what was said elsewhere to a question of this moment.
    pub(super) fn learn(&self, key: &Key, asked: Duration, said: Allowance) {
        self.with(key, |bucket, policy| bucket.learn(policy, asked, said));
    }

    /// One second past its birth at birth, so that a bucket which is empty of time is full.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed() + Duration::from_secs(1)
    }

    fn census(&self) -> (usize, usize) {
        let now = self.now();
        self.shards.get().into_iter().flatten().fold((0, 0), |(keys, blocked), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let now_blocked = shard.iter().filter(|(_, bucket)| bucket.is_blocked(now)).count();
            (keys + shard.len(), blocked + now_blocked)
        })
    }
}

impl RateLimiter {
    /// A limiter by client address under `policy`; `None` lets everybody pass and keeps nothing.
    pub fn new(policy: Option<Policy>) -> Self {
        Self::by(policy.map(Rule::from))
    }

    /// A limiter under `rule`.
    pub fn by(rule: Option<Rule>) -> Self {
        Self(Arc::new(Inner {
            off: AtomicBool::new(rule.is_none()),
            tables: ArcSwapOption::from_pointee(rule.map(Tables::new)),
        }))
    }

    /// Changes the rule. What clients have spent was measured in the old one, so a rule that
    /// differs begins afresh; the same rule again, as on every other reload, changes nothing.
    pub fn replace(&self, rule: Option<Rule>) {
        if self.0.tables.load().as_ref().map(|tables| &tables.rule) == rule.as_ref() {
            return;
        }
        self.0.off.store(rule.is_none(), Ordering::Release);
        self.0.tables.store(rule.map(|rule| Arc::new(Tables::new(rule))));
    }

    /// Whether there is no limit at all.
    pub fn is_off(&self) -> bool {
        self.0.off.load(Ordering::Acquire)
    }

    /// The buckets, and the rule that they are of; `None` while there is no limit.
    pub(super) fn tables(&self) -> Guard<Option<Arc<Tables>>> {
        self.0.tables.load()
    }

    /// Whether the client of this address may make a request now; `None` while there is no limit.
    pub fn ask(&self, client: IpAddr) -> Option<(Policy, Allowance)> {
        let tables = self.tables();
        let tables = tables.as_ref()?;
        Some((*tables.rule.policy(), tables.take(&Key::Client(client.into()))?))
    }

    /// Clients that are tracked, and those of them that are blocked.
    pub fn census(&self) -> (usize, usize) {
        self.tables().as_ref().map_or((0, 0), |tables| tables.census())
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
        assert!(limiter.tables().as_ref().unwrap().shards.get().is_none());
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
        limiter.replace(Some(policy(10).into()));
        assert!(passes(&limiter, "1.1.1.1") && !passes(&limiter, "1.1.1.1"));
        limiter.replace(Some(policy(10).into()));
        assert!(!passes(&limiter, "1.1.1.1"), "the same rule again changes nothing");
        limiter.replace(Some(Policy { max_requests: 100, burst: 100, ..policy(10) }.into()));
        assert!(passes(&limiter, "1.1.1.1"));
        limiter.replace(None);
        assert!(limiter.is_off() && limiter.ask("1.1.1.1".parse().unwrap()).is_none());
    }
}
