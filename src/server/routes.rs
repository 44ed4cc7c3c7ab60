//! From the configuration to the table of routes, at the start and with each reload.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use http::HeaderValue;
use tokio::sync::Semaphore;

use super::reload::policy as rate_policy;
use super::stack::fields;
use crate::config::{
    CompressionConfig, Config, LimitsConfig, RouteConfig, SecurityHeadersConfig, Target as Answers,
};
use crate::handler::fixed::Fixed;
use crate::handler::proxy::{Proxy, ProxyOptions};
use crate::handler::router::AppHandler;
use crate::handler::routes::{Route, RouteTable, Target};
use crate::handler::static_files::{FilesOptions, StaticFiles};
use crate::limits::method::allow;
use crate::limits::rate::RouteLimiters;
use crate::memory;
use crate::middleware::compression::{CompressionOptions, Compressor, RouteCompressors};
use crate::policy::Policy;
use crate::resolve::Resolver;
use crate::telemetry::{Metrics, RouteId};

/// The label of a route for everything.
pub(super) const EVERYTHING: &str = "/";

/// Why there is no table: what a route needs is not there.
#[derive(Debug)]
pub struct RouteError {
    path: String,
    problem: String,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {:?}: {}", self.path, self.problem)
    }
}

impl std::error::Error for RouteError {}

/// Makes tables of routes.
pub(super) struct Planner {
    /// The application, for whatever no configured route is for.
    pub(super) app: Option<Router>,
    /// Of the upstreams' names.
    pub(super) resolver: Resolver,
    /// Where routes and upstreams are counted.
    pub(super) metrics: Arc<Metrics>,
    /// The rate limits that routes have of their own.
    pub(super) limiters: RouteLimiters,
    /// The compressors of the routes that have one.
    pub(super) compressors: RouteCompressors,
    /// One for each answer that may be compressed at a time.
    pub(super) compression_permits: CompressionPermits,
    /// Values of fields, each given up to the end of the process only once.
    pub(super) immortals: Immortals,
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").finish_non_exhaustive()
    }
}

impl Planner {
    /// The table for `config`. What it has in common with `before`, the table in force, it goes on
    /// with: connections, and what is known of the upstreams' health.
    ///
    /// # Errors
    /// A folder of files that cannot be read.
    pub(super) fn table(
        &self,
        config: &Config,
        before: Option<&RouteTable>,
    ) -> Result<RouteTable, RouteError> {
        let known: Vec<&Proxy> =
            before.into_iter().flat_map(RouteTable::routes).filter_map(Route::proxy).collect();
        let routes = config.routes.iter().map(|route| self.route(config, route, &known));
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let own = config.routes.iter().filter_map(|route| {
            Some((self.metrics.add_route(&label(route)).index(), rate_policy(route.rate_limit.as_ref()?)?))
        });
        self.limiters.replace(own);
        let routes_of = |route: &RouteConfig| (label(route), route.compression.clone());
        // What is for all others comes first: a route at / has the same label, and its own word counts.
        let rest = std::iter::once((EVERYTHING.to_owned(), config.compression.clone()));
        let compressed = rest.chain(config.routes.iter().map(routes_of)).filter(|(_, set)| set.enabled);
        let permits = self.compression_permits.of(config.compression.max_concurrent);
        self.compressors.replace(
            compressed.map(|(label, set)| {
                (self.metrics.add_route(&label).index(), compressor(&set, permits.clone()))
            }),
        );
        Ok(RouteTable::new(routes, self.rest(config)))
    }

    /// What answers where no configured route does.
    fn rest(&self, config: &Config) -> Route {
        let (index, target) = match &self.app {
            Some(app) => {
                let index = self.metrics.add_route(EVERYTHING).index();
                (index, Target::App(AppHandler::new(app.clone())))
            }
            None => (RouteId::NONE.index(), Target::Nothing),
        };
        let max_response_size = config.limits.max_response_size;
        let mut policy = self.policy(index, &config.limits, &config.security_headers, max_response_size);
        policy.holds_bodies = true;
        policy.compressed = config.compression.enabled;
        Route { host: None, prefix: String::new(), policy: Arc::new(policy), target }
    }

    fn route(&self, config: &Config, route: &RouteConfig, known: &[&Proxy]) -> Result<Route, RouteError> {
        let problem = |problem: String| RouteError { path: label(route), problem };
        let index = self.metrics.add_route(&label(route)).index();
        let mut policy = self.policy(index, &route.limits, &route.security_headers, route.max_response_size);
        if let Some(methods) = &route.methods {
            policy.allow = allow(methods);
            policy.methods = methods.as_slice().into();
        }
        policy.own_rate_limit = route.rate_limit.is_some();
        policy.compressed = route.compression.enabled;
        let target = match &route.target {
            Answers::Upstream(_) => {
                // A proxy keeps that time itself, so that it can tell who took too long.
                policy.request_timeout = None;
                policy.request_memory = memory::UPSTREAM;
                let options = ProxyOptions {
                    upstream: route.upstream.clone(),
                    request_id_header: config.server.request_id_header.clone(),
                    request_timeout: route.limits.request_timeout,
                };
                let same = known.iter().find(|proxy| *proxy.options() == options);
                let proxy = same.map(|proxy| (*proxy).clone());
                Target::Proxy(proxy.unwrap_or_else(|| Proxy::new(options, &self.resolver, &self.metrics)))
            }
            Answers::Files(root) => {
                policy.request_memory = memory::FILE;
                let options = FilesOptions {
                    root: root.clone(),
                    cache_control: route.files.cache_control.clone(),
                    fallback: route.files.fallback.clone(),
                    precompressed: route.files.precompressed,
                };
                let files = StaticFiles::new(options)
                    .map_err(|error| problem(format!("{}: {error}", root.display())))?;
                Target::Files(files)
            }
            Answers::Redirect { to, status, keep_path } => {
                let fixed = Fixed::redirect(to.clone(), *status, *keep_path);
                Target::Fixed(fixed.map_err(|error| problem(error.to_string()))?)
            }
            Answers::Respond { status, body, content_type } => {
                Target::Fixed(Fixed::respond(*status, body.clone(), content_type.clone()))
            }
        };
        let prefix = route.path.trim_end_matches('/').to_owned();
        Ok(Route { host: route.host.clone(), prefix, policy: Arc::new(policy), target })
    }

    fn policy(
        &self,
        route: u32,
        limits: &LimitsConfig,
        headers: &SecurityHeadersConfig,
        max_response_size: Option<u64>,
    ) -> Policy {
        Policy {
            route,
            methods: limits.allowed_methods.as_slice().into(),
            allow: allow(&limits.allowed_methods),
            own_rate_limit: false,
            request_timeout: Some(limits.request_timeout),
            max_body_size: limits.max_body_size,
            body_timeout: limits.body_timeout,
            min_body_rate: limits.min_body_rate,
            holds_bodies: false,
            request_memory: 0,
            max_response_size,
            write_timeout: limits.write_timeout,
            min_send_rate: limits.min_send_rate,
            fields: fields(headers).map(|(name, value)| (name, self.immortals.of(&value))).collect(),
            compressed: false,
        }
    }
}

fn compressor(set: &CompressionConfig, permits: Arc<Semaphore>) -> Compressor {
    Compressor::new(CompressionOptions {
        algorithms: set.algorithms.clone(),
        min_size: set.min_size,
        permits,
    })
}

/// The permits of `compression.max_concurrent`, which all routes share. The same number again keeps
/// them; another makes them anew, and answers under way keep theirs of before to their end.
#[derive(Debug)]
pub(super) struct CompressionPermits(Mutex<(usize, Arc<Semaphore>)>);

impl Default for CompressionPermits {
    fn default() -> Self {
        Self(Mutex::new((0, Arc::new(Semaphore::new(0)))))
    }
}

impl CompressionPermits {
    fn of(&self, count: usize) -> Arc<Semaphore> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != count {
            *held = (count, Arc::new(Semaphore::new(count)));
        }
        held.1.clone()
    }
}

/// How a route is called in metrics and logs.
fn label(route: &RouteConfig) -> String {
    match &route.host {
        Some(host) => format!("{host}{}", route.path),
        None => route.path.clone(),
    }
}

/// Values that are cloned into every answer without counting references. Each is given up to the
/// end of the process, once however often the configuration is read again.
#[derive(Debug, Default)]
pub(super) struct Immortals(Mutex<Vec<HeaderValue>>);

impl Immortals {
    fn of(&self, value: &HeaderValue) -> HeaderValue {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| *known == value) {
            return same.clone();
        }
        let immortal = super::stack::immortal(value);
        known.push(immortal.clone());
        immortal
    }
}
