//! What a client is told of where it stands.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::bucket::Policy;
use crate::refusal::{Reason, Refusal, whole_seconds};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The two fields that tell it.
#[derive(Debug)]
pub struct Fields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Fields {
    pub(super) fn new(policy: &Policy, remaining: u64, reset: Duration) -> Self {
        Self {
            policy: value("q", policy.max_requests, "w", whole_seconds(policy.window)),
            limit: value("r", remaining, "t", whole_seconds(reset)),
        }
    }

    /// Adds them to an answer.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        headers.insert(POLICY, self.policy);
        headers.insert(LIMIT, self.limit);
    }

    /// Has a refusal tell them.
    pub(super) fn join(self, refusal: &mut Refusal) {
        let all = refusal.fields.get_or_insert_default();
        all.push((POLICY, self.policy));
        all.push((LIMIT, self.limit));
    }
}

/// `"default";first=number;second=number`
fn value(first: &str, number: u64, second: &str, other: u64) -> HeaderValue {
    // Written for every answer while the limit is on, and so without the machinery of `format!`.
    let mut text = Vec::with_capacity(56);
    text.extend_from_slice(b"\"default\"");
    for (name, number) in [(first, number), (second, other)] {
        text.push(b';');
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

/// The refusal of who has asked for too much.
pub(super) fn refusal(policy: &Policy, retry_after: Duration, blocked: bool) -> Refusal {
    let (quota, window) = (policy.max_requests, policy.window.as_millis());
    let mut refusal = Refusal::new(Reason::RateLimited, format!("over {quota} requests in {window} ms"))
        .limit(if blocked { "rate_limit.block" } else { "rate_limit.max_requests" })
        .retry_after(retry_after);
    Fields::new(policy, 0, retry_after).join(&mut refusal);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_tell_quota_window_rest_and_reset() {
        let policy = Policy {
            max_requests: u64::MAX,
            window: Duration::from_millis(60_001),
            burst: 1,
            block: Duration::ZERO,
            max_keys: 1,
        };
        let fields = Fields::new(&policy, 0, Duration::from_secs(10));
        assert_eq!(fields.policy, "\"default\";q=18446744073709551615;w=61");
        assert_eq!(fields.limit, "\"default\";r=0;t=10");
    }
}
