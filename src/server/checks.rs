//! From `[[check]]` to a readiness check.

use crate::config::{CheckConfig, Probe};
use crate::lifecycle::readiness::Check;
use crate::probe;
use crate::probe::Within;
use crate::resolve::Resolver;
use crate::tls::client::ClientOptions;
use crate::tls::live::Live;

/// The check that `config` describes.
pub(super) fn check(config: &CheckConfig, resolver: &Resolver) -> Check {
    let (resolver, asked) = (resolver.clone(), config.probe.clone());
    let live = match &asked {
        Probe::Https { ca, .. } => {
            let live = Live::new(ClientOptions { ca: ca.clone(), identity: None });
            live.inspect(Live::watch).map_err(|error| error.to_string())
        }
        _ => Err(String::new()),
    };
    let ask = move || {
        let (resolver, asked, live) = (resolver.clone(), asked.clone(), live.clone());
        async move {
            match &asked {
                Probe::Tcp { host, port } => probe::tcp(&resolver, host, *port).await,
                Probe::Http { host, port, path } => probe::http(&resolver, host, *port, path).await,
                Probe::Https { host, port, path, .. } => {
                    let within = Within::new(live?.current().http1.clone(), host)?;
                    probe::https(&resolver, host, *port, path, &within).await
                }
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
