//! The quarantine itself: so many entries and bytes, and who goes when there is no more room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::entry::Entry;
use super::severity::Severity;
use crate::client_address::ClientKey;

/// Who is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The least telling, and of those the oldest.
    Priority,
    /// The oldest.
    Oldest,
}

/// One entry in its place.
#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    stored: bool,
}

/// Entries of a client, and their bytes.
#[derive(Debug, Default)]
struct Share {
    count: usize,
    bytes: u64,
}

/// Entries by their number, which only rises.
#[derive(Debug)]
pub(super) struct Store {
    max_count: usize,
    max_bytes: u64,
    eviction: Eviction,
    entries: BTreeMap<u64, Held>,
    bytes: u64,
    /// Numbers by severity.
    ranks: [BTreeSet<u64>; Severity::ALL.len()],
    /// What each client has.
    clients: HashMap<ClientKey, Share>,
    /// Numbers of those that are still to be written to cold storage.
    unstored: BTreeSet<u64>,
    evicted: u64,
    /// Of those, what cold storage never saw.
    lost: u64,
}

impl Store {
    pub(super) fn new(max_count: usize, max_bytes: u64, eviction: Eviction) -> Self {
        Self {
            max_count,
            max_bytes,
            eviction,
            entries: BTreeMap::new(),
            bytes: 0,
            ranks: Default::default(),
            clients: HashMap::new(),
            unstored: BTreeSet::new(),
            evicted: 0,
            lost: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether `client` has its share: one alone must not push out what is held of all others.
    pub(super) fn has_enough_of(&self, client: ClientKey) -> bool {
        let (count, bytes) = ((self.max_count / 2).max(1), self.max_bytes / 2);
        self.clients.get(&client).is_some_and(|held| held.count >= count || held.bytes >= bytes)
    }

    /// Puts an entry in, to be written to cold storage as well where `store` says so. Answers whom that
    /// pushed out, the entry itself perhaps.
    pub(super) fn put(&mut self, entry: Arc<Entry>, store: bool) -> Vec<Arc<Entry>> {
        let id = entry.id;
        self.bytes += entry.cost();
        self.rank(entry.severity).insert(id);
        let share = self.clients.entry(entry.client_key()).or_default();
        share.count += 1;
        share.bytes += entry.cost();
        if store {
            self.unstored.insert(id);
        }
        self.entries.insert(id, Held { entry, stored: false });
        let mut out = Vec::new();
        while self.entries.len() > self.max_count || self.bytes > self.max_bytes {
            let Some(entry) = self.next_out().and_then(|id| self.take(id)) else { break };
            self.evicted += 1;
            out.push(entry);
        }
        out
    }

    fn rank(&mut self, severity: Severity) -> &mut BTreeSet<u64> {
        let [low, medium, high] = &mut self.ranks;
        match severity {
            Severity::Low => low,
            Severity::Medium => medium,
            Severity::High => high,
        }
    }

    fn next_out(&self) -> Option<u64> {
        match self.eviction {
            Eviction::Oldest => self.entries.keys().next().copied(),
            Eviction::Priority => self.ranks.iter().find_map(|rank| rank.first().copied()),
        }
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, id: u64) -> Option<Arc<Entry>> {
        let Held { entry, stored } = self.entries.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(entry.cost());
        self.rank(entry.severity).remove(&id);
        if self.unstored.remove(&id) && !stored {
            self.lost += 1;
        }
        let key = entry.client_key();
        if let Some(held) = self.clients.get_mut(&key) {
            held.count = held.count.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(entry.cost());
            if held.count == 0 {
                self.clients.remove(&key);
            }
        }
        Some(entry)
    }

    /// Takes all entries out.
    pub(super) fn clear(&mut self) -> Vec<Arc<Entry>> {
        let ids: Vec<u64> = self.entries.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// One entry, and whether cold storage has it.
    pub(super) fn get(&self, id: u64) -> Option<(&Arc<Entry>, bool)> {
        self.entries.get(&id).map(|held| (&held.entry, held.stored))
    }

    /// Entries with numbers below `before`, the newest first, and whether cold storage has them.
    pub(super) fn newest(&self, before: u64) -> impl Iterator<Item = (&Arc<Entry>, bool)> {
        self.entries.range(..before).rev().map(|(_, held)| (&held.entry, held.stored))
    }

    /// The oldest entries that cold storage does not have, up to about so many bytes.
    pub(super) fn unstored(&self, most: u64) -> Vec<Arc<Entry>> {
        let mut left = most;
        let entries = self.unstored.iter().filter_map(|id| self.entries.get(id));
        entries
            .map(|held| held.entry.clone())
            .take_while(|entry| {
                let goes = left > 0;
                left = left.saturating_sub(entry.cost());
                goes
            })
            .collect()
    }

    /// How many it does not have.
    pub(super) fn waiting_for_storage(&self) -> usize {
        self.unstored.len()
    }

    /// Cold storage has these now.
    pub(super) fn are_stored(&mut self, ids: &[u64]) {
        for id in ids {
            self.unstored.remove(id);
            if let Some(held) = self.entries.get_mut(id) {
                held.stored = true;
            }
        }
    }
}
