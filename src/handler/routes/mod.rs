//! Which handler a request is for: routes by host and path, and what they lead to.
//!
//! The route is chosen before anything that a route may decide is asked for (its methods, its rate
//! limit, its bodies), by [`RouteLayer`]; [`Dispatch`], at the end of the layers, goes where it leads.
//! Both see one [`RouteTable`], and a request keeps the route that it was given: a table that takes
//! its place is for those that come after it.

mod dispatch;
mod layer;
mod normal;
mod table;

use std::sync::Arc;

use super::fixed::Fixed;
use super::proxy::Proxy;
use super::router::AppHandler;
use super::static_files::StaticFiles;
use crate::policy::Policy;

pub use dispatch::{Dispatch, DispatchFuture};
pub use layer::{RouteLayer, Routed};
pub use table::{RouteTable, Routes};

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
    /// The path that it begins at, without a slash at its end; empty for all.
    pub prefix: String,
    /// What it asks of the layers.
    pub policy: Arc<Policy>,
    /// Where it leads.
    pub target: Target,
}

impl Route {
    /// The part of `path` below the route, with a slash at its beginning.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(self.prefix.as_str())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }
}
