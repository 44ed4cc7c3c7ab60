//! What `evidence.*` asks for.

use std::sync::Arc;

use super::BindError;
use crate::config::Config;
use crate::dial::Dialer;
use crate::evidence::cold::Cold;
use crate::evidence::{Evidence, Options};
use crate::resolve::Resolver;
use crate::telemetry::Metrics;

/// Where refusals are kept, if they are to be, and where they are written on to.
pub(super) fn of(
    config: &Config,
    metrics: &Arc<Metrics>,
    resolver: &Resolver,
) -> Result<(Option<Evidence>, Option<Cold>), BindError> {
    let set = &config.evidence;
    let options = Options {
        max_count: set.max_count,
        max_bytes: set.max_bytes,
        eviction: set.eviction,
        body_bytes: set.body_bytes,
        panic_threshold: set.panic_threshold,
        panic_window: set.panic_window,
    };
    if set.enabled && config.admin.port.is_none() {
        tracing::warn!("evidence is collected, and nobody can look at it: admin.port is off");
    }
    let place = set
        .place()
        .map_err(|(problem, keys)| BindError::Evidence(format!("{}: {problem}", keys.join(", "))))?;
    let cold = place.map(|place| Cold::new(&place, Dialer::new(resolver.clone()))).transpose();
    let cold = cold.map_err(|error| BindError::Evidence(error.to_string()))?;
    let evidence = set.enabled.then(|| Evidence::new(options, metrics.clone(), cold.is_some()));
    Ok((evidence, cold))
}
