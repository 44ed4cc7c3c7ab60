//! `server.mode = "prod"`: what is fine on a desk and no way to serve the public.

use super::error::ConfigError;
use super::settings::{Chosen, Settings};
use super::{Config, RateLimitBackend, ServerMode};

/// Something that production must not be set to.
struct Forbidden {
    /// The settings that it is made of, besides `server.mode`.
    settings: &'static [&'static str],
    /// Whether it is set so.
    is_so: fn(&Config) -> bool,
    /// Why not, and what to do.
    problem: &'static str,
}

/// All of them. A row is all that it takes to forbid another.
const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        settings: &["server.replicas", "rate_limit.backend"],
        is_so: |config| {
            config.server.replicas > 1
                && config.shared_limit.backend == RateLimitBackend::Local
                && has_limits(config)
        },
        problem: "each replica would allow the whole limit by itself; set rate_limit.backend to redis",
    },
    Forbidden {
        settings: &["tracing.enabled", "tracing.endpoint"],
        is_so: |config| {
            let tracing = &config.tracing;
            tracing.is_on() && tracing.endpoint.is_none() && tracing.traces_endpoint.is_none()
        },
        problem: "there is a collector on this host on a desk alone; set tracing.endpoint",
    },
];

/// Whether anybody is limited.
pub(super) fn has_limits(config: &Config) -> bool {
    let own = config.routes.iter().filter_map(|route| route.rate_limit.as_ref());
    own.chain([&config.rate_limit]).any(|limit| limit.max_requests.is_some())
}

/// Names everything that production must not be set to.
pub(super) fn check(settings: &Settings, config: &Config, errors: &mut Vec<ConfigError>) {
    if config.server.mode != ServerMode::Prod {
        return;
    }
    for forbidden in FORBIDDEN.iter().filter(|forbidden| (forbidden.is_so)(config)) {
        let named = std::iter::once(&"server.mode").chain(forbidden.settings);
        errors.push(ConfigError::Contradiction {
            settings: named.filter_map(|path| settings.sound(path)).map(Chosen::setting).collect(),
            problem: forbidden.problem.to_owned(),
        });
    }
}
