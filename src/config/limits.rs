//! What follows from several settings of `rate_limit.*` together.

use std::time::Duration;

use super::error::ConfigError;
use super::settings::{Chosen, Settings};
use super::value::Value;
use super::{Config, RateLimitBackend};
use crate::tls::client::ClientOptions;

const PER_SECOND: &str = "rate_limit.per_second";
const MAX_REQUESTS: &str = "rate_limit.max_requests";
const WINDOW: &str = "rate_limit.window";
const BACKEND: &str = "rate_limit.backend";
const URL: &str = "rate_limit.redis_url";
const CA: &str = "rate_limit.redis_ca";
const TIMEOUT: &str = "rate_limit.redis_timeout";
const PREFIX: &str = "rate_limit.redis_prefix";
/// Bytes: it stands in each question.
const LONGEST_PREFIX: usize = 64;

/// Decides what is left to other settings.
pub(super) fn resolve(settings: &mut Settings) {
    if let Some(requests) = settings.number(PER_SECOND) {
        let same = [(MAX_REQUESTS, Value::Count(requests)), (WINDOW, Value::Time(Duration::from_secs(1)))];
        // What was set as well is an error, and is shown as it was set.
        for (path, value) in same {
            if !settings.explicit(path) {
                settings.resolve(path, value);
            }
        }
    }
    if settings.effective("rate_limit.enabled") == Some(&Value::Bool(false)) {
        settings.resolve(MAX_REQUESTS, Value::Off);
    }
}

/// Leaves no route a limit of its own where there are to be none.
pub(super) fn switch_off(config: &mut Config) {
    if !config.rate_limit.enabled {
        config.routes.iter_mut().for_each(|route| route.rate_limit = None);
    }
}

/// Settings that are each fine and cannot hold together.
pub(super) fn contradictions(settings: &Settings, errors: &mut Vec<ConfigError>) {
    let mut contradiction = |paths: &[&str], problem: &str| {
        let settings = paths.iter().filter_map(|path| Some(settings.sound(path)?.setting())).collect();
        errors.push(ConfigError::Contradiction { settings, problem: problem.to_owned() });
    };
    let is_set = |path: &str| settings.sound(path).is_some_and(Chosen::explicit);
    if settings.number(PER_SECOND).is_some() {
        for other in [MAX_REQUESTS, WINDOW].into_iter().filter(|path| is_set(path)) {
            contradiction(&[PER_SECOND, other], "one limit in two ways; keep one");
        }
    }
    let value = |path: &str| settings.sound(path).map(Chosen::effective);
    if value(BACKEND) == Some(&Value::Choice("redis")) && value(URL) == Some(&Value::Off) {
        contradiction(&[BACKEND, URL], "without a URL nobody knows where Redis is");
    }
    if let Some(Value::Text(prefix)) = value(PREFIX)
        && (prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        contradiction(&[PREFIX], "not up to 64 letters, digits and signs of ASCII, without spaces");
    }
    if let (Some(Value::Time(wait)), Some(Value::Time(all))) =
        (value(TIMEOUT), value("limits.request_timeout"))
        && wait >= all
        && value(BACKEND) == Some(&Value::Choice("redis"))
    {
        contradiction(
            &[TIMEOUT, "limits.request_timeout"],
            "a request would wait for Redis longer than for its answer",
        );
    }
}

/// What can only be known by a look at a file.
pub(super) fn check(settings: &Settings, config: &Config, errors: &mut Vec<ConfigError>) {
    let shared = &config.shared_limit;
    let tls = shared.redis_url.as_ref().is_some_and(|url| url.tls);
    if shared.backend != RateLimitBackend::Redis || !tls {
        return;
    }
    let options = ClientOptions { ca: shared.redis_ca.clone(), identity: None };
    if let Err(error) = options.config(&[]) {
        let settings = settings.sound(CA).map(Chosen::setting).into_iter().collect();
        errors.push(ConfigError::Contradiction { settings, problem: error.to_string() });
    }
}

/// Settings of Redis where it is not asked.
pub(super) fn without_effect(settings: &Settings, notes: &mut Vec<String>) {
    let note = |chosen: &Chosen, why: &str| format!("{} has no effect {why}", chosen.setting());
    if settings.effective(BACKEND) != Some(&Value::Choice("redis")) {
        let idle = settings.iter().filter(|chosen| chosen.key.path.contains("redis") && chosen.explicit());
        notes.extend(idle.map(|chosen| note(chosen, "while rate_limit.backend is local")));
    } else if let (Some(Value::RedisUrl(url)), Some(ca)) = (settings.effective(URL), settings.sound(CA))
        && !url.tls
        && ca.explicit()
    {
        notes.push(note(ca, "without rediss://"));
    }
}
