//! Whether this process wants traffic: its phase, and the checks that the application named.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Lifecycle, Phase};

/// What a check answers: nothing, or why it failed.
pub type CheckResult = Result<(), String>;

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = CheckResult> + Send>> + Send + Sync>;

/// A named question to a dependency, asked on an interval, never on the way of a request.
#[derive(Clone)]
pub struct Check {
    name: Arc<str>,
    interval: Duration,
    timeout: Duration,
    probe: Probe,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Check {
    /// A check called `name`, asked every 5 s, failed where it has no answer within 2 s.
    pub fn new<F, Fut, E>(name: impl Into<Arc<str>>, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let probe: Probe = Arc::new(move || {
            let answer = probe();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        });
        Self { name: name.into(), interval: Duration::from_secs(5), timeout: Duration::from_secs(2), probe }
    }

    /// Asks every `interval`.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Fails an answer that takes longer than `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// The last answer of one check.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// The name it was given.
    pub name: Arc<str>,
    /// `None` until it has answered for the first time.
    pub result: Option<CheckResult>,
}

impl CheckReport {
    /// Whether it answered, and well.
    pub fn ok(&self) -> bool {
        matches!(self.result, Some(Ok(())))
    }
}

/// The readiness of the process: RUNNING, and every check well.
#[derive(Debug, Clone)]
pub struct Readiness {
    lifecycle: Lifecycle,
    checks: Arc<[(Check, Mutex<Option<CheckResult>>)]>,
}

impl Readiness {
    /// Readiness of a process with these checks. None has been asked yet: see [`Readiness::watch`].
    pub fn new(lifecycle: Lifecycle, checks: Vec<Check>) -> Self {
        let checks = checks.into_iter().map(|check| (check, Mutex::new(None))).collect();
        Self { lifecycle, checks }
    }

    /// Whether `/ready` says 200.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.phase() == Phase::Running && self.report().iter().all(CheckReport::ok)
    }

    /// The last answer of every check, in the order they were named.
    pub fn report(&self) -> Vec<CheckReport> {
        self.checks
            .iter()
            .map(|(check, result)| CheckReport {
                name: check.name.clone(),
                result: result.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            })
            .collect()
    }

    /// Asks every check on its own interval, for as long as the returned future is polled.
    pub async fn watch(&self) {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..self.checks.len() {
            let readiness = self.clone();
            tasks.spawn(async move { readiness.watch_one(index).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn watch_one(&self, index: usize) {
        let Some((check, slot)) = self.checks.get(index) else { return };
        let mut ticks = tokio::time::interval(check.interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = match tokio::time::timeout(check.timeout, (check.probe)()).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} ms", check.timeout.as_millis())),
            };
            let before = slot.lock().unwrap_or_else(PoisonError::into_inner).replace(answer.clone());
            if before.as_ref().map(Result::is_ok) != Some(answer.is_ok()) {
                match answer {
                    Ok(()) => tracing::info!(check = %check.name, "readiness check passes"),
                    Err(error) => tracing::warn!(check = %check.name, %error, "readiness check fails"),
                }
            }
        }
    }
}
