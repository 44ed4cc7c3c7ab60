//! A policy, whom it counts, and by what name others count the same.

use super::bucket::Policy;
use super::key::{KeyBy, digest};

/// What a limiter holds its clients to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    policy: Policy,
    by: KeyBy,
    /// In the names of its buckets in Redis: the same in every process with the same rule for the same
    /// route, and in no other, since what was spent is measured in the rule.
    scope: u64,
}

impl Rule {
    /// `policy` for each client as told apart `by`, under this name; the common rule has none.
    pub fn new(policy: Policy, by: KeyBy, name: &str) -> Self {
        let numbers = [
            policy.max_requests.into(),
            policy.burst.into(),
            policy.window.as_nanos(),
            policy.block.as_nanos(),
        ];
        let numbers = numbers.map(u128::to_be_bytes).concat();
        let whole = digest(&[name.as_bytes(), by.to_string().as_bytes(), &numbers]);
        let scope = whole.iter().take(8).fold(0, |scope, byte| scope << 8 | u64::from(*byte));
        Self { policy, by, scope }
    }

    /// How much.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whom.
    pub(super) fn by(&self) -> &KeyBy {
        &self.by
    }

    /// In the names of its buckets.
    pub(super) fn scope(&self) -> u64 {
        self.scope
    }
}

/// By client address.
impl From<Policy> for Rule {
    fn from(policy: Policy) -> Self {
        Self::new(policy, KeyBy::Address, "")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rules_that_differ_have_names_that_differ() {
        let policy = Policy {
            max_requests: 10,
            window: Duration::from_secs(1),
            burst: 20,
            block: Duration::ZERO,
            max_keys: 100,
        };
        let rule = |policy, by: &str, name| Rule::new(policy, KeyBy::parse(by).unwrap(), name);
        let all = [
            rule(policy, "address", ""),
            rule(policy, "address", "/api"),
            rule(policy, "path:1", "/api"),
            rule(policy, "path:2", "/api"),
            rule(Policy { burst: 21, ..policy }, "address", ""),
            rule(Policy { window: Duration::from_millis(999), ..policy }, "address", ""),
            rule(Policy { block: Duration::from_millis(1), ..policy }, "address", ""),
            rule(Policy { max_requests: 20, burst: 10, ..policy }, "address", ""),
        ];
        let scopes: std::collections::HashSet<_> = all.iter().map(Rule::scope).collect();
        assert_eq!(scopes.len(), all.len());
        // Of each process by itself.
        assert_eq!(all[0].scope(), Rule::from(Policy { max_keys: 1, ..policy }).scope());
    }
}
