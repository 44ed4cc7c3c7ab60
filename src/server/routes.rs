//! From the configuration to the table of routes, at the start and with each reload.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use http::{HeaderValue, Method};
use tokio::sync::Semaphore;

use super::limiting::rule;
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
use crate::policy::{Fields, Policy};
use crate::resolve::Resolver;
use crate::telemetry::{Metrics, RouteId};
use crate::tls::TlsError;
use crate::tls::client::ClientOptions;
use crate::tls::live::{Current, Live};

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
        let known = before.into_iter().flat_map(RouteTable::routes).filter_map(Route::proxy);
        let mut alike = Alike::default();
        for proxy in known {
            alike.proxies.insert(proxy.options().clone(), proxy.clone());
            if let Some(live) = proxy.tls() {
                alike.before.insert(live.options().clone(), live.clone());
            }
        }
        let routes = config.routes.iter().map(|route| self.route(config, route, &mut alike));
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let own = config.routes.iter().filter_map(|route| {
            let label = label(route);
            Some((self.metrics.add_route(&label).index(), rule(route.rate_limit.as_ref()?, &label)?))
        });
        self.limiters.replace(own);
        for (live, fresh) in std::mem::take(&mut alike.fresh) {
            live.put(fresh);
        }
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
        Ok(RouteTable::new(routes, self.rest(config, &mut alike)))
    }

    /// What answers where no configured route does.
    fn rest(&self, config: &Config, alike: &mut Alike) -> Route {
        let (index, target) = match &self.app {
            Some(app) => {
                let index = self.metrics.add_route(EVERYTHING).index();
                (index, Target::App(AppHandler::new(app.clone())))
            }
            None => (RouteId::NONE.index(), Target::Nothing),
        };
        let max_response_size = config.limits.max_response_size;
        let headers = &config.security_headers;
        let mut policy = self.policy(index, &config.limits, headers, max_response_size, alike);
        policy.holds_bodies = true;
        policy.compressed = config.compression.enabled;
        Route { host: None, prefix: String::new(), policy: Arc::new(policy), target }
    }

    fn route(&self, config: &Config, route: &RouteConfig, alike: &mut Alike) -> Result<Route, RouteError> {
        let problem = |problem: String| RouteError { path: label(route), problem };
        let index = self.metrics.add_route(&label(route)).index();
        let headers = &route.security_headers;
        let mut policy = self.policy(index, &route.limits, headers, route.max_response_size, alike);
        if let Some(methods) = &route.methods {
            (policy.methods, policy.allow) = alike.methods(methods);
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
                let tls = options.upstream.tls().map(|tls| alike.certificates(tls)).transpose();
                let tls = tls.map_err(|error| problem(error.to_string()))?;
                if tls.is_some() {
                    policy.request_memory += memory::UPSTREAM_TLS;
                }
                let made =
                    |options: &ProxyOptions| Proxy::new(options.clone(), tls, &self.resolver, &self.metrics);
                Target::Proxy(alike.proxies.entry(options).or_insert_with_key(made).clone())
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
        alike: &mut Alike,
    ) -> Policy {
        let (methods, allow) = alike.methods(&limits.allowed_methods);
        let made = || fields(headers).map(|(name, value)| (name, self.immortals.of(&value))).collect();
        let fields = match alike.fields.get(headers) {
            Some(same) => same.clone(),
            None => alike.fields.entry(headers.clone()).or_insert_with(|| Arc::new(made())).clone(),
        };
        Policy {
            route,
            methods,
            allow,
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
            fields,
            compressed: false,
        }
    }
}

/// What routes that are set alike share, so that ten thousand of them hold little more than what they
/// differ in: the connections to the same upstreams, the fields of answers, the methods.
#[derive(Debug, Default)]
struct Alike {
    proxies: HashMap<ProxyOptions, Proxy>,
    fields: HashMap<SecurityHeadersConfig, Arc<Fields>>,
    methods: HashMap<Vec<Method>, (Arc<[Method]>, HeaderValue)>,
    certificates: HashMap<ClientOptions, Arc<Live>>,
    /// Certificates of the table before.
    before: HashMap<ClientOptions, Arc<Live>>,
    /// What was read anew of them, for when nothing can fail any more.
    fresh: Vec<(Arc<Live>, Arc<Current>)>,
}

impl Alike {
    /// The certificates as they are now: with a reload, every file is read again.
    fn certificates(&mut self, options: ClientOptions) -> Result<Arc<Live>, TlsError> {
        if let Some(same) = self.certificates.get(&options) {
            return Ok(same.clone());
        }
        let live = match self.before.get(&options) {
            Some(live) => {
                self.fresh.extend(live.read()?.map(|fresh| (live.clone(), fresh)));
                live.clone()
            }
            None => {
                let live = Live::new(options.clone())?;
                live.watch();
                live
            }
        };
        self.certificates.insert(options, live.clone());
        Ok(live)
    }

    /// The methods, and `Allow`.
    fn methods(&mut self, methods: &[Method]) -> (Arc<[Method]>, HeaderValue) {
        match self.methods.get(methods) {
            Some(same) => same.clone(),
            None => {
                let made = || (methods.into(), allow(methods));
                self.methods.entry(methods.to_owned()).or_insert_with(made).clone()
            }
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
pub(super) struct Immortals(Mutex<HashMap<Vec<u8>, HeaderValue>>);

impl Immortals {
    fn of(&self, value: &HeaderValue) -> HeaderValue {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(value.as_bytes()) {
            return same.clone();
        }
        let immortal = super::stack::immortal(value);
        known.insert(value.as_bytes().to_owned(), immortal.clone());
        immortal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use crate::telemetry::BuildInfo;

    fn config(text: &str) -> Config {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("nessen-planner-{}-{number}.toml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        let loaded = load(&sources, &crate::config::Machine::detect());
        std::fs::remove_file(&file).unwrap();
        loaded.unwrap().config
    }

    fn planner() -> Planner {
        Planner {
            app: None,
            resolver: Resolver::system(),
            metrics: Metrics::new(&[], BuildInfo::current()),
            limiters: RouteLimiters::default(),
            compressors: RouteCompressors::default(),
            compression_permits: CompressionPermits::default(),
            immortals: Immortals::default(),
        }
    }

    #[tokio::test]
    async fn certificates_are_shared_and_a_reload_takes_all_new_ones_or_none() {
        let pem = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let file =
            |name: &str| std::env::temp_dir().join(format!("nessen-{name}-{}.pem", std::process::id()));
        let (one, two) = (file("one"), file("two"));
        std::fs::write(&one, pem("one.test")).unwrap();
        std::fs::write(&two, pem("two.test")).unwrap();
        let route = |path: &str, url: &str, ca: &std::path::Path| {
            format!("[[route]]\npath = '{path}'\nupstream = '{url}'\nca = '{}'\n", ca.display())
        };
        let text = route("/a", "https://127.0.0.1:9", &one)
            + &route("/b", "h2://127.0.0.1:9", &one)
            + &route("/c", "https://127.0.0.1:9", &two);
        let config = config(&text);
        let planner = planner();
        let first = planner.table(&config, None).unwrap();
        let certificates = |table: &RouteTable| -> Vec<Arc<Live>> {
            table.routes().filter_map(|route| route.proxy()?.tls().cloned()).collect()
        };
        let generations =
            || -> Vec<u64> { certificates(&first).iter().map(|live| live.current().generation).collect() };
        let [a, b, c] = certificates(&first).try_into().unwrap();
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
        let costs: Vec<u64> = first.routes().take(3).map(|route| route.policy.request_memory).collect();
        assert_eq!(costs, [memory::UPSTREAM + memory::UPSTREAM_TLS; 3]);
        // One is bad: none is taken.
        let before = generations();
        std::fs::write(&one, pem("new.test")).unwrap();
        std::fs::write(&two, "nothing").unwrap();
        let error = planner.table(&config, Some(&first)).unwrap_err().to_string();
        assert!(error.contains("/c") && error.contains("holds no certificate"), "{error}");
        assert_eq!(generations(), before);
        // Both are good, and the proxies stay what they are.
        std::fs::write(&two, pem("two.test")).unwrap();
        let second = planner.table(&config, Some(&first)).unwrap();
        assert!(certificates(&second).iter().zip([&a, &b, &c]).all(|(now, then)| Arc::ptr_eq(now, then)));
        let after = generations();
        assert!(
            after[0] == after[1] && after.iter().zip(&before).all(|(now, then)| now != then),
            "{after:?}"
        );
        for path in [one, two] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[tokio::test]
    async fn routes_that_are_set_alike_share_what_they_hold() {
        let config = config(
            "
[[route]]
path = '/a'
upstream = 'http://127.0.0.1:9'
[[route]]
path = '/b'
upstream = 'http://127.0.0.1:9'
max_body_size = '2MiB'
[[route]]
path = '/c'
upstream = 'http://127.0.0.1:9'
connect_timeout = '7s'
security_headers = { frame_options = 'SAMEORIGIN' }
methods = ['GET']
",
        );
        let planner = planner();
        let first = planner.table(&config, None).unwrap();
        let again = planner.table(&config, Some(&first)).unwrap();
        let [a, b, c] = first.routes().collect::<Vec<_>>().try_into().unwrap();
        // Proxies that are one have one set of options.
        let proxy = |route: &Route| std::ptr::from_ref(route.proxy().unwrap().options());
        assert_eq!(proxy(a), proxy(b));
        assert_ne!(proxy(a), proxy(c));
        for (route, kept) in first.routes().zip(again.routes()) {
            assert_eq!(proxy(route), proxy(kept), "{}", route.prefix);
        }
        assert!(
            Arc::ptr_eq(&a.policy.fields, &b.policy.fields)
                && Arc::ptr_eq(&a.policy.methods, &b.policy.methods)
        );
        assert!(!Arc::ptr_eq(&a.policy.fields, &c.policy.fields));
        assert_eq!((&b.policy.allow, &c.policy.allow), (&a.policy.allow, &HeaderValue::from_static("GET")));
        assert_eq!((a.policy.max_body_size, b.policy.max_body_size), (1 << 20, 2 << 20));
    }
}
