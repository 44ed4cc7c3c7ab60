//! The connections that an address is asked through.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::http1::Http1;
use super::http2::Http2;
use super::series::Series;

/// Connections to one address: idle ones that speak HTTP/1.1, shared ones that speak HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Box<Http1>>>,
    /// How many there are, for those who only want to know whether there is any.
    kept: AtomicUsize,
    /// Where they are counted: a pool may go, with its address or its route, before they do.
    series: OnceLock<Arc<Series>>,
    pub(super) http2: Http2,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The connection that was used last and is still fit: the others may then grow old and go.
    /// `certain`: see [`Http1::is_fit`].
    pub(super) fn take(&self, timeout: Duration, certain: bool) -> Option<Box<Http1>> {
        while self.kept.load(Ordering::Relaxed) > 0 {
            let mut connection = lock(&self.idle).pop_back()?;
            self.went(1);
            // Asked without the lock: it can be a system call.
            if connection.idle_since.elapsed() < timeout && connection.is_fit(certain) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless there are `most` already.
    pub(super) fn put(&self, mut connection: Box<Http1>, most: usize, series: &Arc<Series>) {
        let gauge = self.series.get_or_init(|| series.clone()).0.connections_idle();
        connection.idle_since = Instant::now();
        let mut idle = lock(&self.idle);
        if idle.len() < most {
            idle.push_back(connection);
            self.kept.fetch_add(1, Ordering::Relaxed);
            gauge.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets go of connections that have been idle for too long, that the upstream has closed, or that came about
    /// by certificates other than those of `generation`.
    pub(super) fn sweep(&self, timeout: Duration, generation: u64) {
        self.http2.sweep(generation);
        if self.kept.load(Ordering::Relaxed) == 0 {
            return;
        }
        let all = std::mem::take(&mut *lock(&self.idle));
        let before = all.len();
        let mut fit: VecDeque<Box<Http1>> = all
            .into_iter()
            .filter_map(|mut one| (one.idle_since.elapsed() < timeout && one.is_fit(false)).then_some(one))
            .collect();
        self.went(before - fit.len());
        let mut idle = lock(&self.idle);
        // What was put here meanwhile is younger.
        fit.append(&mut idle);
        *idle = fit;
    }

    /// Lets go of the idle ones, and says how many those were.
    pub(super) fn let_go(&self) -> usize {
        let all = std::mem::take(&mut *lock(&self.idle));
        self.went(all.len());
        all.len()
    }

    /// Lets go of all of them.
    pub(super) fn close(&self) {
        self.let_go();
        self.http2.close();
    }

    fn went(&self, number: usize) {
        self.kept.fetch_sub(number, Ordering::Relaxed);
        if let Some(series) = self.series.get() {
            let gauge = series.0.connections_idle();
            gauge.fetch_sub(i64::try_from(number).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Adds one to a gauge for as long as it is held.
#[derive(Debug)]
pub(super) struct Counted<G: Gauge>(Arc<G>);

/// Something with a gauge.
pub(super) trait Gauge {
    /// The gauge.
    fn gauge(&self) -> &AtomicI64;
}

impl<G: Gauge> Counted<G> {
    pub(super) fn new(of: Arc<G>) -> Self {
        of.gauge().fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}

impl<G: Gauge> Drop for Counted<G> {
    fn drop(&mut self) {
        self.0.gauge().fetch_sub(1, Ordering::Relaxed);
    }
}
