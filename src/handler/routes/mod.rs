//! Which handler a request is for: routes by host and path, and what they lead to.
//!
//! The route is chosen before anything that a route may decide is asked for (its methods, its rate
//! limit, its bodies), by [`RouteLayer`]; [`Dispatch`], at the end of the layers, goes where it leads.
//! Both see one [`RouteTable`], and a request keeps the route that it was given: a table that takes
//! its place is for those that come after it.

mod dispatch;
mod index;
mod layer;
mod prefixes;
mod table;

use std::sync::Arc;

use super::fixed::Fixed;
use super::proxy::Proxy;
use super::router::AppHandler;
use super::static_files::StaticFiles;
use crate::policy::Policy;

pub(crate) use crate::path::is_ambiguous;
pub use crate::path::normal;

pub use dispatch::{Dispatch, DispatchFuture};
pub use layer::RouteLayer;
pub(crate) use prefixes::Prefixes;
pub use table::{RouteTable, Routes, order};

/// What a route leads to.
#[derive(Debug)]
pub enum Target {
    /// The application's own router.
    App(AppHandler),
    /// An application elsewhere.
    Proxy(Proxy),
    /// Files.
    Files(StaticFiles),
    /// One answer.
    Fixed(Fixed),
    /// Nothing: 404.
    Nothing,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The host that it is for: `example.com`, `*.example.com` for all below it; `None`: any.
    pub host: Option<String>,
    /// The path that it begins at, in its [`normal`] spelling, without a slash at its end; empty for
    /// all.
    pub prefix: String,
    /// What it asks of the layers.
    pub policy: Arc<Policy>,
    /// Where it leads.
    pub target: Target,
}

impl Route {
    /// Whether a path, in its [`normal`] spelling, is this route's own or below it: what the index of the
    /// table is measured by.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn takes(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The part of `path` below the route, as the client spelled it, with a slash at its beginning.
    /// `None` where only dots, slashes too many or an encoded one lead there.
    pub(crate) fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        // Most are spelled as the route is.
        if let Some(rest) = path.strip_prefix(self.prefix.as_str()) {
            match rest.as_bytes().first() {
                None => return Some("/"),
                Some(b'/') => return Some(rest),
                Some(_) => {}
            }
        }
        let segments = self.prefix.matches('/').count();
        let end = path.match_indices('/').nth(segments).map_or(path.len(), |(at, _)| at);
        let (begin, rest) = path.split_at_checked(end)?;
        let ours = normal(begin) == self.prefix && begin.matches('/').count() == segments;
        ours.then_some(if rest.is_empty() { "/" } else { rest })
    }
}
