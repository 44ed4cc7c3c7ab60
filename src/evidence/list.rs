//! What people are shown, and what they take out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::entry::{id_of, id_text};
use super::intake::MOST_WAITING;
use super::{Evidence, Inner};
use crate::client_address::ClientKey;
use crate::refusal::Reason;

/// Entries of a list, unless more or less are asked for; and at most.
const SOME: usize = 50;
const MOST: usize = 500;

/// How long a question may hold up the thread that answers it.
const LONGEST: Duration = Duration::from_millis(250);

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    reason: Option<Reason>,
    client: Option<ClientKey>,
    limit: Option<usize>,
    before: Option<u64>,
}

impl Query {
    /// From the query of a target: `reason`, `client`, `limit`, `cursor`.
    ///
    /// # Errors
    /// What is wrong with it, in words; nothing of it is repeated.
    pub fn parse(query: &str) -> Result<Self, &'static str> {
        let mut parsed = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "reason" => {
                    let found = Reason::ALL.iter().find(|reason| reason.label() == value);
                    parsed.reason = Some(*found.ok_or("reason is none of those in docs/METRICS.md")?);
                }
                "client" => {
                    let address = value.replace("%3A", ":").replace("%3a", ":").parse::<IpAddr>();
                    parsed.client = Some(address.map_err(|_| "client is no IP address")?.into());
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    parsed.limit = Some(limit.ok_or("limit is no number from 1 to 500")?);
                }
                "cursor" => parsed.before = Some(id_of(value).ok_or("cursor is none that was given out")?),
                _ => return Err("the parameters are reason, client, limit and cursor"),
            }
        }
        Ok(parsed)
    }
}

impl Inner {
    /// What waits is read first, so that what was refused before the question is in the answer; as far as
    /// [`LONGEST`] goes.
    fn settle(&self) {
        let began = Instant::now();
        for _ in 0..MOST_WAITING {
            if self.fuse.guard(|| self.read(1)) != Some(true) || began.elapsed() > LONGEST {
                return;
            }
        }
    }
}

impl Evidence {
    /// Entries, the newest first.
    pub fn list(&self, query: &Query) -> Value {
        let inner = &*self.0;
        inner.settle();
        let limit = query.limit.unwrap_or(SOME);
        // One more tells whether there are more. Handles are taken, and written out when the lock is free again.
        let (mut found, count, bytes, evicted) = {
            let store = inner.store();
            let fits = |reason, client| {
                query.reason.is_none_or(|wanted| wanted == reason)
                    && query.client.is_none_or(|wanted| wanted == client)
            };
            let found: Vec<_> = store
                .newest(query.before.unwrap_or(u64::MAX))
                .filter(|(entry, _)| fits(entry.reason, entry.client_key()))
                .take(limit + 1)
                .map(|(entry, stored)| (entry.clone(), stored))
                .collect();
            (found, store.len(), store.bytes(), store.evicted())
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(entry, _)| id_text(entry.id));
        let entries: Vec<Value> = found.iter().map(|(entry, stored)| entry.summary(*stored)).collect();
        json!({
            "enabled": !inner.fuse.is_blown(),
            "count": count,
            "bytes": bytes,
            "max_count": inner.options.max_count,
            "max_bytes": inner.options.max_bytes,
            "evicted": evicted,
            "dropped": inner.intake.dropped(),
            "entries": entries,
            "next": next,
        })
    }

    /// One entry with its head and body.
    pub fn one(&self, id: &str) -> Option<Value> {
        let inner = &*self.0;
        inner.settle();
        let id = id_of(id)?;
        let (entry, stored) = inner.store().get(id).map(|(entry, stored)| (entry.clone(), stored))?;
        Some(entry.whole(stored))
    }

    /// Takes one entry out; whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        let inner = &*self.0;
        inner.settle();
        let taken = id_of(id).and_then(|id| inner.store().take(id));
        if let Some(entry) = &taken {
            inner.intake.forget(entry.signature);
            inner.tell();
        }
        taken.is_some()
    }

    /// Takes all entries out; how many there were.
    pub fn purge(&self) -> usize {
        let inner = &*self.0;
        inner.settle();
        let taken = inner.store().clear();
        taken.iter().for_each(|entry| inner.intake.forget(entry.signature));
        inner.tell();
        taken.len()
    }
}
