//! `limits.max_in_flight`: so many requests at a time, and who may have them.
//!
//! While half of the places are free, nobody counts whose they are. From then on a client may take no
//! more of them than are left (the rule of [`memory`](crate::memory)), so that no client has all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::memory::Share;

/// A bounded count of requests. Clones share it.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    taken: AtomicUsize,
    scarce: Notify,
}

/// One of the places, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    share: Option<Arc<Share>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken.
    Full,
    /// This client has taken as many as are left.
    Share,
}

impl Places {
    /// As many as `max`.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner { max, taken: AtomicUsize::new(0), scarce: Notify::new() }))
    }

    /// How many there are.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// How many more are taken than three quarters.
    pub fn scarce_by(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed).saturating_sub(self.0.max - self.0.max / 4)
    }

    /// Waits until somebody finds that places are scarce.
    pub async fn scarce(&self) {
        self.0.scarce.notified().await;
    }

    /// Takes a place, for the client whose `share` it is.
    ///
    /// # Errors
    /// There is none, or none for this client.
    pub fn take(&self, share: Option<&Arc<Share>>) -> Result<Place, NoPlace> {
        let Inner { max, taken, scarce } = &*self.0;
        let before = taken.fetch_add(1, Ordering::Relaxed);
        // From here on it gives back what was taken, also on the way out of an error.
        let mut place = Place { places: self.clone(), share: None };
        if before < max / 2 {
            return Ok(place);
        }
        if before >= max - max / 4 {
            scarce.notify_one();
        }
        if before >= *max {
            return Err(NoPlace::Full);
        }
        if let Some(share) = share {
            let own = share.requests.fetch_add(1, Ordering::Relaxed);
            place.share = Some(share.clone());
            if own >= max - before {
                return Err(NoPlace::Share);
            }
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_refusal_takes_none() {
        let places = Places::new(1);
        let first = places.take(None).unwrap();
        assert_eq!(places.take(None).unwrap_err(), NoPlace::Full);
        assert_eq!(places.take(None).unwrap_err(), NoPlace::Full);
        drop(first);
        assert!(places.take(None).is_ok());
    }

    #[test]
    fn one_client_leaves_places_for_the_next() {
        let places = Places::new(100);
        let (greedy, other) = (Arc::new(Share::default()), Arc::new(Share::default()));
        let take_all = |share: &Arc<Share>| -> Vec<Place> {
            std::iter::from_fn(|| places.take(Some(share)).ok()).collect()
        };
        let mut held = take_all(&greedy);
        // Half of them uncounted, and half of the rest.
        assert_eq!(held.len(), 75);
        assert_eq!(places.scarce_by(), 0);
        assert_eq!(places.take(Some(&greedy)).unwrap_err(), NoPlace::Share);
        let others = take_all(&other);
        assert_eq!(others.len(), 13);
        assert_eq!(places.scarce_by(), 13);
        // Whoever gives back what it has may take again.
        held.truncate(40);
        assert!(places.take(Some(&greedy)).is_ok());
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_places_are_scarce() {
        let places = Places::new(4);
        let _held: Vec<_> = (0..4).map(|_| places.take(None).unwrap()).collect();
        places.scarce().await;
    }
}
