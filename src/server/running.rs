//! A bound server, and its run.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::Outcome;
use super::accept::Acceptor;
use super::drain::Drain;
use super::reload::Reloader;
use super::stack::{self, Shared};
use crate::admin::page::Page;
use crate::config::Config;
use crate::dial::Dialer;
use crate::evidence::cold::Cold;
use crate::handler::router::AppHandler;
use crate::handler::welcome;
use crate::lifecycle::readiness::Readiness;
use crate::lifecycle::signals::{Signal, SignalStream};
use crate::lifecycle::{Event, LifecycleWriter, service_manager};
use crate::net::admission::Admission;
use crate::net::context::Context;
use crate::net::listener::Listener;
use crate::net::pressure::Relief;
use crate::net::registry::Registry;
use crate::otlp::Exporter;
use crate::telemetry::LogPipe;

/// One listener and what its connections are held to.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) listener: Listener,
    pub(super) admission: Admission,
    pub(super) context: Arc<Context>,
}

/// A server whose sockets are bound. Nothing is accepted until it runs.
#[derive(Debug)]
pub struct BoundServer {
    pub(super) config: Config,
    pub(super) writer: LifecycleWriter,
    pub(super) shared: Shared,
    pub(super) readiness: Readiness,
    pub(super) registry: Registry,
    pub(super) main: Port,
    pub(super) admin: Option<Port>,
    pub(super) redirect: Option<Port>,
    pub(super) reloader: Reloader,
    pub(super) cold: Option<Cold>,
    pub(super) housekeeping: JoinHandle<()>,
    pub(super) dialer: Dialer,
    pub(super) pipe: LogPipe,
    pub(super) exporter: Option<Exporter>,
}

/// How long the last of the evidence may take to be written: what is left of the drain, within these.
const LEAST_TO_FINISH: Duration = Duration::from_millis(500);
const MOST_TO_FINISH: Duration = Duration::from_secs(3);

/// Longest time that the last spans may take to leave.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// Longest time that status pages which are looked at may take to be told of the end, and how often it is
/// looked whether they were.
const LAST_EVENTS: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);
/// Longest time that the last lines of the log may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest time that a start waits for Redis, where limits are shared: the first requests would be judged by
/// each process alone, or refused.
const FIRST_WORDS: Duration = Duration::from_millis(500);

impl BoundServer {
    /// Where it listens; with the port that the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.main.listener.address()
    }

    /// Where the admin endpoints listen, if on a port of their own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|port| port.listener.address())
    }

    /// Where plain HTTP is redirected from, if it is.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect.as_ref().map(|port| port.listener.address())
    }

    /// Serves until SIGTERM or SIGINT, and drains. SIGHUP reads the configuration again.
    ///
    /// # Errors
    /// The system refused to hand over its signals.
    pub async fn run(self) -> io::Result<Outcome> {
        Ok(self.run_with(SignalStream::install()?).await)
    }

    /// Likewise, with signals that were taken over earlier: none that comes while a server starts
    /// ends the process by itself then.
    pub async fn run_with(self, mut signals: SignalStream) -> Outcome {
        let (sender, receiver) = mpsc::channel(4);
        let (hangup, hangups) = mpsc::channel(1);
        let relay = tokio::spawn(async move {
            loop {
                let signal = signals.next().await;
                tracing::info!("{} received", signal.name());
                let event = match signal {
                    Signal::Terminate => Event::Terminate,
                    Signal::Interrupt => Event::Interrupt,
                    Signal::Hangup => {
                        // One that waits already will read what is there by then.
                        let _ = hangup.try_send(());
                        continue;
                    }
                };
                // Two are all that is ever acted on.
                let _ = sender.try_send(event);
            }
        });
        let outcome = self.serve(receiver, hangups).await;
        relay.abort();
        outcome
    }

    /// Serves until `shutdown` resolves, and drains as on SIGTERM. Signals are left to the caller.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Outcome {
        let (sender, receiver) = mpsc::channel(1);
        let (_hangup, hangups) = mpsc::channel(1);
        let trigger = async move {
            shutdown.await;
            let _ = sender.try_send(Event::Terminate);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = self.serve(receiver, hangups) => outcome,
            () = trigger => Outcome::Drained,
        }
    }

    async fn serve(self, events: mpsc::Receiver<Event>, mut hangups: mpsc::Receiver<()>) -> Outcome {
        let address = self.local_addr();
        let admin_address = self.admin_addr();
        let redirect_address = self.redirect_addr();
        let Self {
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
            exporter,
        } = self;
        let (stop, stopped) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        let app = stack::main(&config, &shared);
        // Ended with this, however it ends.
        let mut background = JoinSet::new();
        background.spawn(
            Relief {
                memory: shared.memory.clone(),
                places: shared.places.clone(),
                registry: registry.clone(),
                context: main.context.clone(),
                judges_uploads: config.limits.min_body_rate.is_some(),
            }
            .run(),
        );
        if let Some(evidence) = shared.evidence.clone() {
            background.spawn(evidence.clone().keep());
            if let Some(cold) = cold {
                background.spawn(evidence.write_on(cold, config.evidence.flush_interval));
            }
        }
        background.spawn(main.context.turns.clone().run());
        background.spawn(shared.limit_backend.clone().keep(dialer));
        // What waits in the listener's queue meanwhile is answered by what was found.
        shared.limit_backend.settle(FIRST_WORDS).await;
        acceptors.spawn(acceptor(main, app, &registry).run(stopped.clone()));
        if let Some(port) = redirect {
            // Its connections are among all others, and go with them.
            background.spawn(port.context.turns.clone().run());
            let to_https = stack::redirect(&config, &shared);
            acceptors.spawn(acceptor(port, to_https, &registry).run(stopped.clone()));
        }
        if let Some(certificates) = reloader.certificates.clone() {
            background.spawn(certificates.watch());
        }
        // Operators may look on while the rest drains.
        let (admin_stop, admin_stopped) = watch::channel(false);
        let admin_registry = Registry::default();
        let mut admin_acceptors = JoinSet::new();
        if let Some(port) = admin {
            let page = shared.page.as_ref().map_or_else(Router::new, Page::router);
            let page = AppHandler::new(page.fallback(welcome::not_found));
            let endpoints = stack::admin(&config, &shared, page);
            admin_acceptors.spawn(acceptor(port, endpoints, &admin_registry).run(admin_stopped));
        }
        let checks = tokio::spawn(async move { readiness.watch().await });
        writer.apply(Event::Listening);
        tracing::info!(
            %address,
            admin_address = admin_address.map(tracing::field::display),
            redirect_address = redirect_address.map(tracing::field::display),
            "listening"
        );
        let status = format!("serving on {address}");
        service_manager::ready(&status);
        let keep_alive = tokio::spawn(service_manager::keep_alive());

        let events = Mutex::new(events);
        let next = || async {
            match events.lock().await.recv().await {
                Some(event) => event,
                None => std::future::pending().await,
            }
        };
        let mut first = std::pin::pin!(next());
        let mut failed = false;
        let first = loop {
            tokio::select! {
                event = &mut first => break event,
                Some(ended) = acceptors.join_next() => {
                    // Only a fault ends it before it is told to. A process that lives on and
                    // accepts nothing would fool everybody who watches it.
                    tracing::error!(?ended, "the server can no longer accept connections");
                    failed = true;
                    break Event::Interrupt;
                }
                Some(()) = hangups.recv() => {
                    service_manager::reloading();
                    reloader.reload();
                    service_manager::ready(&status);
                }
            }
        };
        writer.apply(first);
        if let Some(evidence) = &shared.evidence {
            evidence.hurry();
        }
        let began = Instant::now();
        service_manager::stopping("draining");
        let drain = Drain {
            writer: &writer,
            registry: &registry,
            metrics: &shared.metrics,
            config: &config.shutdown,
        };
        let close_listeners = async {
            stop.send_replace(true);
            while acceptors.join_next().await.is_some() {}
        };
        let outcome = drain.run(first, close_listeners, next).await;
        let evidence = async {
            if let Some(evidence) = &shared.evidence {
                let given = config.shutdown.drain_delay + config.shutdown.drain_timeout;
                let left = given.saturating_sub(began.elapsed());
                evidence.finish(left.clamp(LEAST_TO_FINISH, MOST_TO_FINISH)).await;
            }
        };
        let spans = async {
            if let Some(exporter) = exporter {
                exporter.finish(LAST_SPANS).await;
            }
        };
        // A status page that is looked at says that this was meant to end.
        let told = async {
            while admin_registry.connections().iter().any(|connection| connection.in_flight() > 0) {
                tokio::time::sleep(LOOK).await;
            }
        };
        // At once: the grace that is left after a drain is short.
        let _ = tokio::join!(evidence, spans, tokio::time::timeout(LAST_EVENTS, told));
        admin_stop.send_replace(true);
        checks.abort();
        housekeeping.abort();
        keep_alive.abort();
        background.abort_all();
        let _ = tokio::task::spawn_blocking(move || pipe.flush(LAST_WORDS)).await;
        if failed { Outcome::Failed } else { outcome }
    }
}

fn acceptor<S>(port: Port, stack: S, registry: &Registry) -> Acceptor<S> {
    let Port { listener, admission, context } = port;
    Acceptor { listener, admission, registry: registry.clone(), context, stack: Arc::new(stack), reserved: 0 }
}
