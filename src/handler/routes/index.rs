//! Which routes can be meant: those of the very host, of the wildcards that it is below, of any host.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::Route;
use super::prefixes::Prefixes;

/// Bytes of a name (RFC 1035 section 2.3.4); the configuration takes no longer one, with its star. A client
/// may send more, and be below a wildcard.
const LONGEST_NAME: usize = 255;

/// Finds the route for a host and a path in the order of [`order`](super::order), in a time that does not
/// depend on how many there are.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Routes without a host.
    any: Prefixes,
    /// By the host that they name, in lower case.
    named: HashMap<Box<[u8]>, Prefixes>,
    /// By what stands behind the star of theirs, in lower case: a dot, and the name.
    below: HashMap<Box<[u8]>, Prefixes>,
    /// How long those are, each length once, the longest first.
    lengths: Vec<usize>,
}

impl Index {
    /// Of routes that stand in their order; what is found is a place among them.
    pub(super) fn of(routes: &[Arc<Route>]) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            let host = route.host.as_deref().map(|host| host.to_ascii_lowercase().into_bytes());
            let prefixes = match host.as_deref() {
                None => &mut index.any,
                Some([b'*', suffix @ ..]) if suffix.starts_with(b".") => {
                    index.below.entry(suffix.into()).or_default()
                }
                Some(name) => index.named.entry(name.into()).or_default(),
            };
            prefixes.add(&route.prefix, place);
        }
        index.lengths = index.below.keys().map(|suffix| suffix.len()).collect();
        index.lengths.sort_unstable_by_key(|length| Reverse(*length));
        index.lengths.dedup();
        index
    }

    /// Whether any of them is for a host of its own.
    pub(super) fn asks_for_hosts(&self) -> bool {
        !(self.named.is_empty() && self.below.is_empty())
    }

    /// The place of the route for a path, in its one spelling, of this host.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<usize> {
        let of_host = host.and_then(|host| self.find_by_host(host.as_bytes(), path));
        of_host.or_else(|| self.any.longest(path))
    }

    fn find_by_host(&self, host: &[u8], path: &str) -> Option<usize> {
        let mut room = [0; LONGEST_NAME];
        let end = host.get(host.len().saturating_sub(LONGEST_NAME)..)?;
        let lower = room.get_mut(..end.len())?;
        lower.copy_from_slice(end);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        if host.len() <= LONGEST_NAME
            && let Some(place) = self.named.get(lower).and_then(|prefixes| prefixes.longest(path))
        {
            return Some(place);
        }
        // A name has few dots, and those before it few lengths: neither grows with the routes.
        self.lengths.iter().find_map(|length| {
            let (name, suffix) = lower.split_at_checked(lower.len().checked_sub(*length)?)?;
            let is_below = !name.is_empty() && suffix.starts_with(b".");
            self.below.get(suffix).filter(|_| is_below)?.longest(path)
        })
    }
}
