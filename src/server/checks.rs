//! From `[[check]]` to a readiness check.

use crate::config::{CheckConfig, Probe};
use crate::lifecycle::readiness::Check;
use crate::probe;
use crate::resolve::Resolver;

/// The check that `config` describes.
pub(super) fn check(config: &CheckConfig, resolver: &Resolver) -> Check {
    let (resolver, asked) = (resolver.clone(), config.probe.clone());
    let ask = move || {
        let (resolver, asked) = (resolver.clone(), asked.clone());
        async move {
            match &asked {
                Probe::Tcp { host, port } => probe::tcp(&resolver, host, *port).await,
                Probe::Http { host, port, path } => probe::http(&resolver, host, *port, path).await,
                Probe::Redis { host, port } => probe::redis(&resolver, host, *port).await,
                Probe::Postgres { host, port } => probe::postgres(&resolver, host, *port).await,
            }
        }
    };
    Check::new(config.name.as_str(), ask)
        .interval(config.interval)
        .timeout(config.timeout)
        .fall(config.fall)
        .rise(config.rise)
}
