//! What Redis is asked: one script, so that no other question comes in between.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use crate::limits::rate::bucket::{Allowance, Policy};

/// What the bucket is judged by.
const BUCKET: &str = include_str!("bucket.lua");
/// The time is Redis' own.
const TIME: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

/// A script, and the name that Redis has for it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    hash: String,
}

/// The one for requests.
pub(super) static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(format!("{TIME}{BUCKET}")));

impl Script {
    fn new(text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// One question: whether a request may take a token from this bucket.
#[derive(Debug)]
pub(super) struct Ask {
    key: String,
    numbers: [u128; 3],
}

impl Ask {
    /// For the bucket of this name.
    pub(super) fn new(key: impl fmt::Display, policy: &Policy) -> Self {
        let times = [policy.interval(), policy.capacity(), policy.block];
        Self { key: key.to_string(), numbers: times.map(|time| time.as_nanos()) }
    }

    /// By the script's name, for a server that knows it.
    pub(super) fn by_hash(&self, script: &Script) -> Cmd {
        self.command("EVALSHA", &script.hash)
    }

    /// With the script itself, which the server then knows.
    pub(super) fn by_text(&self, script: &Script) -> Cmd {
        self.command("EVAL", &script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = Cmd::with_capacity(7, script.len() + self.key.len() + 80);
        command.arg(name).arg(script).arg(1).arg(&self.key);
        self.numbers.iter().for_each(|number| _ = command.arg(number));
        command
    }
}

/// What the script answered; nothing where it was not the script that did.
pub(super) fn read(answer: &Value) -> Option<Allowance> {
    let Value::Array(parts) = answer else { return None };
    let [Value::Int(status), Value::Int(left), Value::Int(nanos)] = parts.as_slice() else { return None };
    let time = Duration::from_nanos(u64::try_from(*nanos).ok()?);
    match status {
        1 => Some(Allowance::Granted { remaining: u64::try_from(*left).ok()?, reset: time }),
        0 | 2 => Some(Allowance::Refused { retry_after: time, blocked: *status == 2 }),
        _ => None,
    }
}

/// Whether the server does not know the script (any more).
pub(super) fn is_unknown(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
