//! From settings to a bound socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use super::bind_error::BindError;
use super::limiting::{rule, shared_limits};
use super::ports::{admin_port, main_port, redirect_port};
use super::reload::{Reload, Reloader, apply_access_log, level};
use super::routes::{CompressionPermits, Immortals, Planner};
use super::running::BoundServer;
use super::stack::Shared;
use super::tls::Certificates;
use super::tracing::Traces;
use super::{Outcome, checks, evidence, housekeeping};
use crate::admin::page::{About, Page, Settings};
use crate::admin::{AdminState, Texts};
use crate::config::{Config, LogFormat as ConfigFormat, Machine, WorstCase, spare_files};
use crate::dial::Dialer;
use crate::handler::routes::Routes;
use crate::handler::welcome::{self, AdminPlace, LimitRow, WelcomeState};
use crate::lifecycle::readiness::{Check, Readiness};
use crate::lifecycle::{self};
use crate::limits::host::AllowedHosts;
use crate::limits::rate::{Backend, RateLimiter, RouteLimiters};
use crate::memory::MemoryAccount;
use crate::middleware::compression::RouteCompressors;
use crate::net::inherited::Inherited;
use crate::net::listener;
use crate::net::registry::Registry;
use crate::places::Places;
use crate::resolve::Resolver;
use crate::sandbox;
use crate::telemetry::{AccessLog, AccessMode, BuildInfo, LogControl, LogFormat, LogPipe, Metrics, log};

/// Builds a server. Everything has a default.
#[derive(Default)]
pub struct Builder {
    config: Option<Config>,
    router: Option<Router>,
    checks: Vec<Check>,
    limits: Vec<LimitRow>,
    worst_case: Option<WorstCase>,
    settings: Settings,
    reload: Option<Reload>,
    listener: Option<Given>,
    admin_listener: Option<Given>,
    redirect_listener: Option<Given>,
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Given {
    /// Opened for this server.
    Own(TcpListener),
    /// Whoever opened it may still hold it.
    Shared(TcpListener),
}

impl Given {
    fn socket(&self) -> &TcpListener {
        match self {
            Self::Own(socket) | Self::Shared(socket) => socket,
        }
    }
}

/// The sockets of a server, bound before there is a runtime.
#[derive(Debug)]
pub struct Bound {
    server: Given,
    admin: Option<Given>,
    redirect: Option<Given>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    /// Uses this configuration instead of the defaults; see [`Config::from_env`].
    ///
    /// The server runs on the Tokio runtime that it is called from: `server.workers` is for whoever
    /// builds that, as the binary does.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Serves these routes instead of the welcome app. The probe and admin endpoints stand before
    /// them.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = Some(router);
        self
    }

    /// Names a readiness check: `/ready` says 503 while it fails. It is asked every 5 s, and has
    /// 2 s to answer; for other times see [`Builder::readiness_check`].
    #[must_use]
    pub fn check<F, Fut, E>(self, name: &str, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.readiness_check(Check::new(name, probe))
    }

    /// Adds a readiness check with an interval and time-out of its own.
    #[must_use]
    pub fn readiness_check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Reads the configuration again on SIGHUP.
    #[must_use]
    pub fn reload(mut self, reload: Reload) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Serves on this socket, which listens already, instead of `server.host` and `server.port`.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Given::Shared(listener));
        self
    }

    /// Serves on sockets that [`listen`] has bound.
    #[must_use]
    pub fn bound(mut self, bound: Bound) -> Self {
        (self.listener, self.admin_listener) = (Some(bound.server), bound.admin);
        self.redirect_listener = bound.redirect;
        self
    }

    /// Has the admin endpoints on this socket, which listens already, instead of `admin.host` and
    /// `admin.port`.
    #[must_use]
    pub fn admin_listener(mut self, listener: TcpListener) -> Self {
        self.admin_listener = Some(Given::Shared(listener));
        self
    }

    /// The limits that the welcome page shows, and the bound on memory that they add up to; see
    /// [`limit_rows`](super::limit_rows). Without it the page shows none, and request bodies may
    /// take half of `limits.memory`.
    #[must_use]
    pub fn limits(mut self, rows: Vec<LimitRow>, worst_case: &WorstCase) -> Self {
        self.limits = rows;
        self.worst_case = Some(*worst_case);
        self
    }

    /// The settings that the status page of the admin port shows; see [`setting_rows`](super::setting_rows).
    /// Without it the page shows none.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Binds the sockets; nothing is accepted yet. Must be called within a Tokio runtime.
    ///
    /// Installs the log as the process' `tracing` subscriber, unless there is one already.
    ///
    /// # Errors
    /// A socket could not be bound, or a thread not started.
    pub async fn bind(self) -> Result<BoundServer, BindError> {
        let mut config = finite(self.config.unwrap_or_default());
        if let Some(address) = self.admin_listener.as_ref().and_then(|given| given.socket().local_addr().ok())
        {
            // The endpoints move to it as they do to a port of ours.
            config.admin.port = Some(address.port());
        }
        let (writer, lifecycle) = lifecycle::begin();
        let (pipe, access_log, log) = logs(&config).map_err(BindError::Thread)?;
        let build = BuildInfo::current();
        let metrics = Metrics::new(&[], build.clone());
        let memory = config.limits.memory;
        let (bound, shared) =
            self.worst_case.map_or((memory, memory), |worst| (worst.total(), worst.shared()));
        metrics.memory_bound(bound);
        let machine = Machine::detect();
        metrics.machine(machine.memory(), machine.cpu_limit());
        let sandbox = sandbox::in_force();
        let enforced = |part| sandbox.is_some_and(|held| held.holds(part));
        metrics.sandbox(sandbox::Part::ALL.map(|part| (part.as_str(), enforced(part))));
        let resolver = Resolver::system();
        let mut checks = self.checks;
        checks.extend(config.checks.iter().map(|check| checks::check(check, &resolver)));
        let readiness = Readiness::new(lifecycle.clone(), checks);
        let admin = Arc::new(AdminState {
            readiness: readiness.clone(),
            lifecycle: lifecycle.clone(),
            metrics: metrics.clone(),
            build: build.clone(),
            texts: Texts::default(),
        });
        let (evidence, cold) = evidence::of(&config, &metrics, &resolver)?;
        let page = config.admin.port.map(|_| {
            let about = About {
                settings: self.settings.clone(),
                memory_bound: bound,
                memory_limit: machine.memory(),
                cpus: machine.cpu_limit(),
                evidence: evidence.clone(),
            };
            Page::new(admin.clone(), about)
        });
        let traces =
            Traces::start(&config.tracing, &resolver).map_err(|fault| BindError::Tls(vec![fault]))?;
        let route_limiters = RouteLimiters::default();
        let compressors = RouteCompressors::default();
        let app = self.router.or_else(|| {
            // Where there are routes, whatever none of them is for is nobody's.
            config.routes.is_empty().then(|| {
                let (readiness, metrics) = (readiness.clone(), metrics.clone());
                let lifecycle = lifecycle.clone();
                welcome::router(WelcomeState {
                    lifecycle,
                    readiness,
                    metrics,
                    limits: self.limits.into(),
                    build,
                    admin: config.admin.port.map(|port| AdminPlace { host: config.admin.host, port }),
                })
            })
        });
        let certificates = Certificates::read(&config, &metrics).map_err(|faults| {
            BindError::Tls(faults.into_iter().map(|(part, error)| (part.key(), error)).collect())
        })?;
        let certificates = certificates.map(Arc::new);
        let planner = Planner {
            app,
            resolver,
            metrics: metrics.clone(),
            limiters: route_limiters.clone(),
            compressors: compressors.clone(),
            compression_permits: CompressionPermits::default(),
            immortals: Immortals::default(),
            is_secure: certificates.is_some(),
        };
        let limit_backend = Backend::new(&metrics);
        limit_backend.configure(shared_limits(&config).map_err(BindError::SharedLimit)?);
        let dialer = Dialer::new(planner.resolver.clone());
        let routes = Routes::new(planner.table(&config, None).map_err(BindError::Route)?);
        let shared = Shared {
            metrics: metrics.clone(),
            access_log,
            evidence,
            lifecycle,
            admin,
            page,
            memory: MemoryAccount::new(shared),
            places: Places::new(config.limits.max_in_flight),
            routes,
            rate_limiter: RateLimiter::by(rule(&config.rate_limit, "")),
            route_limiters,
            limit_backend,
            compressors,
            allowed_hosts: AllowedHosts::new(config.limits.allowed_hosts.clone()),
            tracer: traces.as_ref().map(|traces| traces.tracer.clone()),
        };
        let registry = Registry::default();
        let spare_files = spare_files(&config, &machine);
        let main = main_port(&config, &shared, self.listener, spare_files, certificates.as_deref())?;
        let redirect = redirect_port(&config, &shared, self.redirect_listener, &main.admission)?;
        let admin = admin_port(&config, &shared, self.admin_listener)?;
        let housekeeping = tokio::spawn(housekeeping::keep(shared.clone(), readiness.clone(), pipe.clone()));
        let settings = self.settings;
        let reloader =
            Reloader { source: self.reload, shared: shared.clone(), log, planner, certificates, settings };
        // There can be very many, and all that is asked of them from here on is in the table.
        config.routes = Vec::new();
        Ok(BoundServer {
            config,
            writer,
            shared,
            readiness,
            registry,
            main,
            admin,
            redirect,
            reloader,
            cold,
            housekeeping,
            dialer,
            pipe,
            exporter: traces.map(|traces| traces.exporter),
        })
    }

    /// Binds, serves until SIGTERM or SIGINT, and drains.
    ///
    /// # Errors
    /// The server did not start.
    pub async fn run(self) -> Result<Outcome, BindError> {
        self.bind().await?.run().await.map_err(BindError::Thread)
    }

    /// Binds, serves until `shutdown` resolves, and drains as on SIGTERM.
    ///
    /// # Errors
    /// The server did not start.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<Outcome, BindError> {
        Ok(self.bind().await?.run_until(shutdown).await)
    }
}

/// Binds what is not there yet of the sockets that `config` asks for. They listen, and nothing is
/// accepted; no runtime is needed, so that it can be done before there are threads.
///
/// # Errors
/// A socket could not be bound.
pub fn listen(config: &Config, given: Inherited) -> Result<Bound, BindError> {
    let bound = |section, given: Option<TcpListener>, address| match given {
        Some(socket) => Ok(Given::Shared(socket)),
        None => listener::listen(address).map(Given::Own).map_err(|error| BindError::Listen {
            section,
            address,
            error,
        }),
    };
    let server = bound("server", given.server, SocketAddr::new(config.server.host, config.server.port))?;
    let admin = match (given.admin, config.admin.port) {
        (None, None) => None,
        (given, port) => {
            let address = SocketAddr::new(config.admin.host, port.unwrap_or_default());
            Some(bound("admin", given, address)?)
        }
    };
    let redirect = match config.tls.redirect_port.filter(|_| config.tls.is_on()) {
        None => None,
        Some(port) => Some(bound("tls", None, SocketAddr::new(config.server.host, port))?),
    };
    Ok(Bound { server, admin, redirect })
}

fn logs(config: &Config) -> io::Result<(LogPipe, AccessLog, Option<LogControl>)> {
    let pipe = LogPipe::stdout()?;
    let format = match config.log.format {
        ConfigFormat::Json => LogFormat::Json,
        ConfigFormat::Console => LogFormat::Console,
    };
    pipe.tell_losses(log::losses(format));
    let level = level(config.log.level);
    let log = log::install(pipe.clone(), format, level).ok();
    let access_log = AccessLog::new(pipe.clone(), format, AccessMode::All, level);
    apply_access_log(&access_log, config);
    Ok((pipe, access_log, log))
}

/// Time-outs that are never meant to fire, as spans that can be added to any moment: a program may
/// well have set `Duration::MAX`.
fn finite(mut config: Config) -> Config {
    const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let Config { limits, shutdown, tls, .. } = &mut config;
    for duration in [
        &mut limits.request_timeout,
        &mut limits.headers_timeout,
        &mut limits.idle_timeout,
        &mut limits.body_timeout,
        &mut limits.write_timeout,
        &mut limits.max_connection_age,
        &mut tls.handshake_timeout,
        &mut shutdown.drain_delay,
        &mut shutdown.drain_timeout,
    ] {
        *duration = (*duration).min(A_CENTURY);
    }
    config
}
