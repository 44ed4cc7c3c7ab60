//! All routes, and the choice among them.

use std::cmp::Reverse;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;

use super::index::Index;
use super::{Route, Target};
use crate::host::host_of;
use crate::path::normal;

/// Where a route stands in the table: a host that is named before a wildcard, the longest of these
/// first, and all of them before any host; then the longest path. So the first route that a request
/// fits is the one that is meant, and one that fits no route of its host still finds those of all.
pub fn order(host: Option<&str>, path: &str) -> impl Ord + use<> {
    let kind = match host {
        Some(host) if !host.starts_with('*') => (0, Reverse(0)),
        Some(host) => (1, Reverse(host.len())),
        None => (2, Reverse(0)),
    };
    (kind, Reverse(path.len()))
}

/// The routes of one configuration, most specific first.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    nothing: Arc<Route>,
    index: Index,
}

impl RouteTable {
    /// A table of `routes`. Where none fits, `nothing` is the route, whatever its host and path.
    pub fn new(mut routes: Vec<Route>, nothing: Route) -> Self {
        routes.sort_by_key(|route| order(route.host.as_deref(), &route.prefix));
        let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        Self { index: Index::of(&routes), routes, nothing: Arc::new(nothing) }
    }

    /// The route for a request.
    pub fn choose<B>(&self, request: &Request<B>) -> &Arc<Route> {
        // Most tables hold one route, for everything.
        if let [only] = self.routes.as_slice()
            && only.host.is_none()
            && only.prefix.is_empty()
        {
            return only;
        }
        let host = if self.index.asks_for_hosts() { host_of(request) } else { None };
        let place = self.index.find(host, &normal(request.uri().path()));
        place.and_then(|place| self.routes.get(place)).unwrap_or(&self.nothing)
    }

    /// The routes, most specific first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(Arc::as_ref)
    }
}

/// The table in force. Clones share it.
#[derive(Debug, Clone)]
pub struct Routes(Arc<ArcSwap<RouteTable>>);

impl Routes {
    /// Begins with this table.
    pub fn new(table: RouteTable) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(table)))
    }

    /// Requests from now on are routed by `table`; those in flight stay where they are.
    pub fn replace(&self, table: RouteTable) {
        self.0.store(Arc::new(table));
    }

    /// The table in force at this moment.
    pub fn current(&self) -> Arc<RouteTable> {
        self.0.load_full()
    }

    /// The route for a request.
    pub fn choose<B>(&self, request: &Request<B>) -> Arc<Route> {
        self.0.load().choose(request).clone()
    }
}

impl Route {
    /// The applications elsewhere that this route leads to.
    pub fn proxy(&self) -> Option<&super::super::proxy::Proxy> {
        match &self.target {
            Target::Proxy(proxy) => Some(proxy),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
