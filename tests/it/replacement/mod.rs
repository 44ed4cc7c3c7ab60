//! Zero failed requests across a replacement, with clients that send what must not be sent twice.
//!
//! A balancer that honours `/ready` stands before the server. Again and again a replacement is
//! started and the old one told to go, at a moment nobody can plan for. `NESSEN_LONG=1` makes it
//! two hundred rounds.

mod http1;
mod http2;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::balancer::Balancer;
use crate::support::server::Server;
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
        failures.clear();
        true
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn rounds() -> usize {
    if std::env::var_os("NESSEN_LONG").is_some() { 200 } else { 20 }
}

fn start() -> Server {
    Server::start(&[
        ("DRAIN_DELAY", &DRAIN_DELAY.as_millis().to_string()),
        ("SHUTDOWN_TIMEOUT", "10s"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("ACCESS_LOG", "errors"),
    ])
}

/// Drives `clients` through `rounds` replacements, each by `signal`, and returns what they saw
/// and the exit codes.
async fn replace<C, F>(
    rounds: usize,
    signal: Signal,
    clients: usize,
    client: C,
) -> (Arc<Tally>, Vec<Option<i32>>)
where
    C: Fn(usize, std::net::SocketAddr, Arc<Tally>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut dice = Dice::new();
    let tally = Arc::new(Tally::default());
    let watched = tally.clone();
    tokio::spawn(async move { watched.watch_stalls().await });
    let balancer = Balancer::start().await;
    let mut current = blocking(start).await;
    balancer.add(current.address).await;
    let tasks: Vec<_> =
        (0..clients).map(|number| tokio::spawn(client(number, balancer.address, tally.clone()))).collect();
    let mut codes = Vec::new();
    let mut left = rounds;
    let mut unfair = 0;
    while left > 0 {
        let next = blocking(start).await;
        balancer.add(next.address).await;
        tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
        let mut old = std::mem::replace(&mut current, next);
        old.signal(signal);
        *tally.signalled.lock().unwrap() = Some(Instant::now());
        let address = old.address;
        let code = blocking(move || old.wait_exit(PATIENCE)).await;
        codes.push(code.and_then(Result::ok));
        balancer.remove(address);
        left -= 1;
        if unfair < rounds && tally.pardon_stall() {
            (left, unfair) = (left + 1, unfair + 1);
        }
    }
    tally.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.expect("a client hangs").expect("a client panicked");
    }
    (tally, codes)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Fails unless every request was answered and every process drained.
#[track_caller]
fn assert_nothing_lost(tally: &Tally, codes: &[Option<i32>], at_least: u64) {
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
