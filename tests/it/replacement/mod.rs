//! Zero failed requests across a replacement, with clients that send what must not be sent twice.
//!
//! A balancer that honours `/ready` stands before the server, or nginx as it is shipped beside it; or
//! the server is itself what stands before others that are replaced. Again and again a replacement is
//! started and the old one told to go, at a moment nobody can plan for. `NESSEN_LONG=1` makes it
//! two hundred rounds of each. Each test prints a line that begins with `hardening:`.

mod http1;
mod http2;
mod in_flight;
mod nginx;
mod places;
mod secure;
mod upstream;

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::support::balancer::Balancer;
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::{Dice, PATIENCE};

/// Several times as long as any client thinks: whoever is not asleep is told in time.
const DRAIN_DELAY: Duration = Duration::from_millis(800);

/// What the clients have seen.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
    signalled: Mutex<Option<Instant>>,
    /// Longest time, in milliseconds, for which this machine did not run who was due.
    stall: AtomicU64,
    stop: AtomicBool,
    /// What the servers are called that were told to go.
    told: Mutex<HashSet<String>>,
    /// Rounds that were run again since the machine stood still, and failures that were dropped with them.
    pardoned: AtomicU64,
    dropped: AtomicU64,
    /// Connections that were ended because their server was told to go.
    ended: AtomicU64,
}

impl Tally {
    fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, why: &str) {
        // When it happened tells what was the matter: the delay, the gate, or the last breath.
        let since = self.signalled.lock().unwrap().map(|signalled| signalled.elapsed().as_millis());
        let failure = format!("{since:?} ms after the last signal: {why}");
        self.failures.lock().unwrap().push(failure);
    }

    /// Watches the machine: a client that is not run does not notice anything in time.
    async fn watch_stalls(&self) {
        const TICK: Duration = Duration::from_millis(10);
        while !self.stopped() {
            let asleep = Instant::now();
            tokio::time::sleep(TICK).await;
            let late = asleep.elapsed().saturating_sub(TICK).as_millis();
            self.stall.fetch_max(late as u64, Ordering::Relaxed);
        }
    }

    /// A machine that stood still for half the delay is no fair judge of who was told in time:
    /// what failed in such a round is dropped, visibly, and the round is run again.
    fn pardon_stall(&self) -> bool {
        let stall = self.stall.swap(0, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap();
        if u128::from(stall) < DRAIN_DELAY.as_millis() / 2 || failures.is_empty() {
            return false;
        }
        eprintln!("the machine stood still for {stall} ms; once more, without {failures:#?}");
        self.pardoned.fetch_add(1, Ordering::Relaxed);
        self.dropped.fetch_add(failures.len() as u64, Ordering::Relaxed);
        failures.clear();
        true
    }

    /// Notes that the server of this name is told to go now.
    fn tell(&self, name: &str) {
        self.told.lock().unwrap().insert(name.to_owned());
        *self.signalled.lock().unwrap() = Some(Instant::now());
    }

    fn was_told(&self, name: &str) -> bool {
        self.told.lock().unwrap().contains(name)
    }

    /// One line of figures on standard output, whether the test passes or not.
    fn print(&self, name: &str, rounds: usize) {
        let (answered, failed) =
            (self.answered.load(Ordering::Relaxed), self.failures.lock().unwrap().len() as u64);
        let requests = answered + failed;
        // Said beside the failures, since a machine that stands still may also hide one that is ours.
        let (pardoned, dropped) =
            (self.pardoned.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed));
        let rounds = rounds as u64 - pardoned;
        let _ = writeln!(
            std::io::stdout(),
            "hardening: zero-loss {name} rounds={rounds} requests={requests} failed={failed} \
             pardoned-rounds={pardoned} pardoned-failures={dropped}"
        );
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Two hundred in the long form, and else so many.
fn rounds(short: usize) -> usize {
    if std::env::var_os("NESSEN_LONG").is_some() { 200 } else { short }
}

/// A server behind the balancer, what only it asks, and what both are called.
struct Backend {
    name: String,
    server: Server,
    _upstream: Option<Upstream>,
}

impl Backend {
    /// Where it says by plain HTTP whether it is ready.
    fn asked(&self) -> std::net::SocketAddr {
        let line = self.server.wait_log("listening", |line| line["message"] == "listening");
        line["redirect_address"].as_str().map_or(self.server.address, |asked| asked.parse().unwrap())
    }

    /// A server by itself.
    fn alone(number: usize) -> Self {
        Self { name: number.to_string(), server: start(&[]), _upstream: None }
    }

    /// A server before an upstream of its own, which tells the name in its answers.
    fn before_upstream(number: usize) -> Self {
        let name = number.to_string();
        let upstream = Upstream::named(&name);
        Self { server: start(&[("UPSTREAM", &upstream.url())]), name, _upstream: Some(upstream) }
    }
}

fn start(env: &[(&str, &str)]) -> Server {
    let delay = DRAIN_DELAY.as_millis().to_string();
    let ours = [
        ("DRAIN_DELAY", delay.as_str()),
        ("SHUTDOWN_TIMEOUT", "10s"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("ACCESS_LOG", "errors"),
    ];
    Server::start(&[&ours, env].concat())
}

/// Drives `clients` through `rounds` replacements, each by `signal`, and returns what they saw
/// and the exit codes.
async fn replace<C, F>(
    rounds: usize,
    signal: Signal,
    make: fn(usize) -> Backend,
    clients: usize,
    client: C,
) -> (Arc<Tally>, Vec<Option<i32>>)
where
    C: Fn(usize, std::net::SocketAddr, Arc<Tally>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut dice = Dice::new();
    let tally = watched_tally();
    let balancer = Balancer::start().await;
    let mut current = blocking(move || make(0)).await;
    balancer.add(current.server.address, current.asked()).await;
    let tasks = start_clients(clients, balancer.address, &tally, client);
    let mut codes = Vec::new();
    let (mut left, mut unfair, mut number) = (rounds, 0, 0);
    while left > 0 {
        number += 1;
        let next = blocking(move || make(number)).await;
        balancer.add(next.server.address, next.asked()).await;
        tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
        let mut old = std::mem::replace(&mut current, next);
        tally.tell(&old.name);
        old.server.signal(signal);
        let address = old.server.address;
        codes.push(blocking(move || old.server.wait_exit(PATIENCE)).await.and_then(Result::ok));
        balancer.remove(address);
        left -= 1;
        if unfair < rounds && tally.pardon_stall() {
            (left, unfair) = (left + 1, unfair + 1);
        }
    }
    end_clients(tasks, &tally).await;
    (tally, codes)
}

fn watched_tally() -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let watched = tally.clone();
    tokio::spawn(async move { watched.watch_stalls().await });
    tally
}

fn start_clients<C, F>(
    clients: usize,
    address: std::net::SocketAddr,
    tally: &Arc<Tally>,
    client: C,
) -> Vec<JoinHandle<()>>
where
    C: Fn(usize, std::net::SocketAddr, Arc<Tally>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    (0..clients).map(|number| tokio::spawn(client(number, address, tally.clone()))).collect()
}

async fn end_clients(tasks: Vec<JoinHandle<()>>, tally: &Tally) {
    tally.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.expect("a client hangs").expect("a client panicked");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Fails unless every request was answered and every process drained; prints the figures first.
#[track_caller]
fn assert_nothing_lost(name: &str, tally: &Tally, codes: &[Option<i32>], at_least: u64) {
    tally.print(name, codes.len());
    let failures = tally.failures.lock().unwrap();
    let answered = tally.answered.load(Ordering::Relaxed);
    assert!(
        failures.is_empty(),
        "{} of {} requests failed: {:#?}",
        failures.len(),
        answered + failures.len() as u64,
        &failures[..failures.len().min(10)]
    );
    assert!(codes.iter().all(|code| *code == Some(0)), "exit codes {codes:?}");
    assert!(answered >= at_least, "only {answered} requests were asked");
}
