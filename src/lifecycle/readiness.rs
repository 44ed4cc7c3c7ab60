//! Whether this process wants traffic: its phase, and the checks that the application named.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Lifecycle, Phase};
use crate::deadline::within;

/// What a check answers: nothing, or why it failed.
pub type CheckResult = Result<(), String>;

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = CheckResult> + Send>> + Send + Sync>;

/// A named question to a dependency, asked on an interval, never on the way of a request.
#[derive(Clone)]
pub struct Check {
    name: Arc<str>,
    interval: Duration,
    timeout: Duration,
    fall: u32,
    rise: u32,
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
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
        Self { name: name.into(), interval, timeout, fall: 1, rise: 1, probe }
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

    /// Counts a check that was well as failing after `results` failures in a row; otherwise after one.
    #[must_use]
    pub fn fall(mut self, results: u32) -> Self {
        self.fall = results;
        self
    }

    /// Counts a check that was failing as well after `results` good answers in a row; otherwise after one.
    #[must_use]
    pub fn rise(mut self, results: u32) -> Self {
        self.rise = results;
        self
    }
}

/// What is known of one check.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// The name it was given.
    pub name: Arc<str>,
    /// What counts: `None` until it has answered for the first time. The error is the last one.
    pub result: Option<CheckResult>,
    /// Answers in a row that say otherwise, and are still too few to be believed.
    pub doubts: u32,
    /// The error of the last of them, where they are failures.
    pub doubt: Option<String>,
    /// The last answer's age.
    pub age: Option<Duration>,
    /// How long the last answer took.
    pub took: Option<Duration>,
}

impl CheckReport {
    /// Whether it counts as well.
    pub fn ok(&self) -> bool {
        matches!(self.result, Some(Ok(())))
    }
}

/// The answers of a check so far.
#[derive(Debug, Default)]
struct Record {
    believed: Option<CheckResult>,
    doubts: u32,
    doubt: Option<String>,
    last: Option<(Instant, Duration)>,
}

impl Record {
    /// Takes an answer in. Whether it changed what counts.
    fn take(&mut self, answer: CheckResult, check: &Check) -> bool {
        let needed = match &self.believed {
            // Nothing is known yet: the first answer decides at once.
            None => 0,
            Some(believed) if believed.is_ok() == answer.is_ok() => {
                (self.doubts, self.doubt) = (0, None);
                self.believed = Some(answer);
                return false;
            }
            Some(Ok(())) => check.fall,
            Some(Err(_)) => check.rise,
        };
        self.doubts += 1;
        if self.doubts < needed {
            self.doubt = answer.err();
            return false;
        }
        *self = Self { believed: Some(answer), last: self.last, ..Self::default() };
        true
    }
}

/// The readiness of the process: RUNNING, and every check well.
#[derive(Debug, Clone)]
pub struct Readiness {
    lifecycle: Lifecycle,
    checks: Arc<[(Check, Mutex<Record>)]>,
}

impl Readiness {
    /// Readiness of a process with these checks. None has been asked yet: see [`Readiness::watch`].
    pub fn new(lifecycle: Lifecycle, checks: Vec<Check>) -> Self {
        let checks = checks.into_iter().map(|check| (check, Mutex::default())).collect();
        Self { lifecycle, checks }
    }

    /// Whether `/ready` says 200.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.phase() == Phase::Running && self.report().iter().all(CheckReport::ok)
    }

    /// What is known of every check, in the order they were named.
    pub fn report(&self) -> Vec<CheckReport> {
        let report = |(check, record): &(Check, Mutex<Record>)| {
            let record = record.lock().unwrap_or_else(PoisonError::into_inner);
            CheckReport {
                name: check.name.clone(),
                result: record.believed.clone(),
                doubts: record.doubts,
                doubt: record.doubt.clone(),
                age: record.last.map(|(at, _)| at.elapsed()),
                took: record.last.map(|(_, took)| took),
            }
        };
        self.checks.iter().map(report).collect()
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
        let Some((check, record)) = self.checks.get(index) else { return };
        let mut ticks = tokio::time::interval(check.interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            let late = || Err(format!("no answer within {} ms", check.timeout.as_millis()));
            let answer = within(check.timeout, (check.probe)()).await.unwrap_or_else(late);
            let changed = {
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.last = Some((Instant::now(), asked.elapsed()));
                record.take(answer.clone(), check)
            };
            match answer {
                Ok(()) if changed => tracing::info!(check = %check.name, "readiness check passes"),
                Err(error) if changed => tracing::warn!(check = %check.name, %error, "readiness check fails"),
                Err(error) => {
                    tracing::debug!(check = %check.name, %error, "readiness check has no good answer")
                }
                Ok(()) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
