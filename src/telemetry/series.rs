//! The series of each route, method and status, found without a lock or an allocation.
//!
//! Tables within tables, each made when it is first needed: an unused route costs 32 bytes and
//! its label, so that ten thousand of them cost less than a megabyte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{Method, StatusCode};
use metrics::Counter;

use super::conventions::BySpoken;
use super::histogram::Buckets;

/// A route as the metrics know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteId(u32);

impl RouteId {
    /// No route was chosen before the request was refused.
    pub const NONE: Self = Self(0);

    /// The route at this place; see [`RouteId::index`].
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Its place in the order in which routes were added.
    pub const fn index(self) -> u32 {
        self.0
    }
}

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "_OTHER"];

/// Its place in [`METHODS`].
fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

/// 100 to 599 by tens, and one more ten for what is no such status.
const DECADES: usize = 51;

fn status_index(status: Option<StatusCode>) -> (usize, usize) {
    match status.map(|status| usize::from(status.as_u16())) {
        None => (DECADES - 1, 0),
        Some(code @ 100..=599) => (code / 10 - 10, code % 10),
        Some(_) => (DECADES - 1, 1),
    }
}

fn status_label(status: Option<StatusCode>) -> String {
    match status {
        None => "aborted".to_owned(),
        Some(status) if status.as_u16() < 600 => status.as_str().to_owned(),
        Some(_) => "_OTHER".to_owned(),
    }
}

/// One series: a count, which the histogram holds, and the counter it is shown as.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) method: &'static str,
    pub(super) status: String,
    pub(super) route: Arc<str>,
    pub(super) counter: Counter,
    pub(super) buckets: Buckets,
    pub(super) conventions: BySpoken,
}

type Lazy<T> = OnceLock<Box<T>>;
type ByUnit = [OnceLock<Arc<Series>>; 10];
type ByStatus = [Lazy<ByUnit>; DECADES];
type ByMethod = [Lazy<ByStatus>; METHODS.len()];

fn table<T, const N: usize>() -> Box<[OnceLock<T>; N]> {
    Box::new(std::array::from_fn(|_| OnceLock::new()))
}

#[derive(Debug)]
struct Route {
    label: Arc<str>,
    methods: Lazy<ByMethod>,
}

/// Slots of the first chunk; each further one has twice those of the one before. Chunks never
/// move, so routes can be added while others are read.
const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 12;
/// Routes that can be told apart; further ones count as [`RouteId::NONE`].
const MOST_ROUTES: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

fn place(route: RouteId) -> (usize, usize) {
    let chunk = (route.0 / FIRST_CHUNK + 1).ilog2();
    let first = FIRST_CHUNK * ((1 << chunk) - 1);
    (chunk as usize, (route.0 - first) as usize)
}

/// All routes and their series.
#[derive(Debug, Default)]
pub(super) struct Routes {
    chunks: [OnceLock<Box<[OnceLock<Route>]>>; CHUNKS],
    ids: Mutex<HashMap<Arc<str>, RouteId>>,
    /// Every series made so far, for whoever renders them.
    series: Mutex<Vec<Arc<Series>>>,
}

impl Routes {
    /// The id of `label`, which is added if it is new.
    pub(super) fn add(&self, label: &str) -> RouteId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ids.get(label) {
            return *known;
        }
        let id = match u32::try_from(ids.len()) {
            Ok(next) if next < MOST_ROUTES => RouteId(next),
            _ => return RouteId::NONE,
        };
        let (chunk, slot) = place(id);
        let label: Arc<str> = label.into();
        if let Some(chunk_cell) = self.chunks.get(chunk) {
            let slots =
                chunk_cell.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| OnceLock::new()).collect());
            if let Some(cell) = slots.get(slot) {
                let _ = cell.set(Route { label: label.clone(), methods: OnceLock::new() });
            }
        }
        ids.insert(label, id);
        id
    }

    /// The id of `label`, if it was added.
    pub(super) fn find(&self, label: &str) -> Option<RouteId> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(label).copied()
    }

    fn route(&self, route: RouteId) -> Option<&Route> {
        let (chunk, slot) = place(route);
        self.chunks.get(chunk)?.get()?.get(slot)?.get()
    }

    pub(super) fn label(&self, route: RouteId) -> &str {
        self.route(route).map_or("none", |route| &*route.label)
    }

    /// The series of a finished request; `counter` makes its counter the first time.
    pub(super) fn series(
        &self,
        route: RouteId,
        method: &Method,
        status: Option<StatusCode>,
        counter: impl FnOnce(&'static str, &str, &Arc<str>) -> Counter,
    ) -> Option<&Arc<Series>> {
        let route = self.route(route)?;
        let method = method_index(method);
        let (decade, unit) = status_index(status);
        let by_status = route.methods.get_or_init(table).get(method)?.get_or_init(table);
        let cell = by_status.get(decade)?.get_or_init(table).get(unit)?;
        Some(cell.get_or_init(|| {
            let method = METHODS.get(method).copied().unwrap_or("_OTHER");
            let status = status_label(status);
            let counter = counter(method, &status, &route.label);
            let series = Arc::new(Series {
                method,
                status,
                route: route.label.clone(),
                counter,
                buckets: Buckets::default(),
                conventions: BySpoken::default(),
            });
            self.series.lock().unwrap_or_else(PoisonError::into_inner).push(series.clone());
            series
        }))
    }

    /// Every series there is.
    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for id in 0..MOST_ROUTES {
            assert_eq!(place(RouteId(id)), expected);
            expected.1 += 1;
            if expected.1 == (FIRST_CHUNK as usize) << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(expected, (CHUNKS, 0));
    }

    #[test]
    fn routes_keep_their_id_and_label() {
        let routes = Routes::default();
        let ids: Vec<_> = (0..10_000).map(|n| routes.add(&format!("/route/{n}"))).collect();
        for (n, id) in ids.into_iter().enumerate() {
            let label = format!("/route/{n}");
            assert_eq!(routes.add(&label), id);
            assert_eq!((routes.find(&label), routes.label(id)), (Some(id), &*label));
        }
        assert!(routes.all().is_empty(), "an unused route has no series");
        assert!(size_of::<OnceLock<Route>>() <= 48);
    }

    #[test]
    fn unknown_methods_and_statuses_share_one_label() {
        let routes = Routes::default();
        let route = routes.add("/");
        let labels = |method: &str, status: Option<u16>| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let series = routes.series(route, &method, status, |_, _, _| Counter::noop()).unwrap();
            (series.method, series.status.clone())
        };
        assert_eq!(labels("GET", Some(200)), ("GET", "200".into()));
        assert_eq!(labels("BREW", Some(599)), ("_OTHER", "599".into()));
        assert_eq!(labels("get", Some(777)), ("_OTHER", "_OTHER".into()));
        assert_eq!(labels("CONNECT", None), ("CONNECT", "aborted".into()));
        assert_eq!(labels("FIZZ", Some(999)), ("_OTHER", "_OTHER".into()));
        assert_eq!(routes.all().len(), 4);
    }
}
