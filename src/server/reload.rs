//! SIGHUP: what can change while running.

use std::fmt;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use super::limiting::{rule, shared_limits};
use super::routes::Planner;
use super::stack::Shared;
use super::tls::Certificates;
use crate::admin::page::Settings;
use crate::body::BoxError;
use crate::config::{Config, LogLevel};
use crate::telemetry::{AccessLog, AccessMode, LogControl};

/// Reads the configuration again, for SIGHUP.
///
/// It answers the new configuration and the keys that changed and need a restart, or why there is
/// none: then the old one is kept.
pub type Reload = Arc<dyn Fn() -> Result<(Config, Vec<&'static str>), String> + Send + Sync>;

/// Applies reloads.
pub(super) struct Reloader {
    pub(super) source: Option<Reload>,
    pub(super) shared: Shared,
    pub(super) log: Option<LogControl>,
    pub(super) planner: Planner,
    pub(super) settings: Settings,
    pub(super) certificates: Option<Arc<Certificates>>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// Reads and applies, or keeps what is.
    pub(super) fn reload(&self) {
        let Some(source) = &self.source else {
            tracing::warn!("SIGHUP: this server has no configuration to read again");
            return;
        };
        match source() {
            Ok((config, needs_restart)) => {
                if let Err(error) = self.apply(&config) {
                    tracing::error!(%error, "configuration not reloaded; the old one is kept");
                    return;
                }
                self.settings.accept();
                if needs_restart.is_empty() {
                    tracing::info!("configuration reloaded");
                } else {
                    let settings = needs_restart.join(", ");
                    tracing::warn!(%settings, "configuration reloaded; these settings need a restart");
                }
            }
            Err(error) => {
                if let Some(certificates) = &self.certificates {
                    certificates.not_reloaded();
                }
                tracing::error!(%error, "configuration not reloaded; the old one is kept");
            }
        }
    }

    fn apply(&self, config: &Config) -> Result<(), BoxError> {
        let routes = &self.shared.routes;
        // First what can fail: then nothing has changed yet.
        let shared_limits = shared_limits(config)?;
        routes.replace(self.planner.table(config, Some(&routes.current()))?);
        self.shared.limit_backend.configure(shared_limits);
        self.shared.rate_limiter.replace(rule(&config.rate_limit, ""));
        self.shared.allowed_hosts.replace(config.limits.allowed_hosts.clone());
        let level = level(config.log.level);
        apply_access_log(&self.shared.access_log, config);
        if let Some(certificates) = &self.certificates {
            certificates.reload(config);
        }
        if let Some(log) = &self.log {
            log.set_level(level);
        }
        Ok(())
    }
}

/// The level and mode of the access log.
pub(super) fn apply_access_log(log: &AccessLog, config: &Config) {
    use crate::config::AccessLog::{All, Errors, Off};
    log.set_level(level(config.log.level));
    log.set_mode(match config.log.access {
        All => AccessMode::All,
        Errors => AccessMode::Errors,
        Off => AccessMode::Off,
    });
}

/// `log.level` as tracing knows it.
pub(super) fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
