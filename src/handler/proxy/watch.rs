//! What goes on beside the requests: names are resolved, health is asked for, idle connections go.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Inner;
use super::balance::{AddressSource, Endpoint};
use super::pool::Pool;
use crate::probe;
use crate::resolve::{Resolver, Watched};

/// How often idle connections are looked at. Most upstreams close theirs within seconds.
const SWEEP: Duration = Duration::from_secs(1);

/// Begins what goes on for as long as the proxy is in use.
pub(super) fn begin(inner: &Arc<Inner>, resolver: &Resolver) {
    for (upstream, host) in inner.group.names() {
        let series = inner.upstreams.get(upstream).map(|upstream| upstream.series.clone());
        let failed = move || {
            if let Some(series) = &series {
                series.0.lookup_failed();
            }
        };
        let watched = Watched::spawn(resolver.clone(), host, inner.options.upstream.resolve_interval, failed);
        tokio::spawn(inner.group.discover(upstream, Name { watched, told: false }));
    }
    if let Some(path) = inner.options.upstream.health_path.clone() {
        let urls = inner.options.upstream.url.clone();
        let secured: Vec<_> = inner.upstreams.iter().map(|upstream| upstream.secured.clone()).collect();
        let resolver = resolver.clone();
        tokio::spawn(inner.group.check_health(move |address, upstream| {
            let (resolver, path) = (resolver.clone(), path.clone());
            let url = urls.get(upstream).cloned();
            let secured = secured.get(upstream).cloned().flatten();
            async move {
                let host = address.ip().to_string();
                let http2 = url.as_ref().is_some_and(|url| url.protocol.is_http2());
                let within = secured.map(|secured| secured.within(http2));
                // A server that speaks HTTP/2 alone answers no question in HTTP/1.1.
                match within {
                    Some(within) if http2 => {
                        return probe::tls(&resolver, &host, address.port(), &within).await;
                    }
                    None if http2 => return probe::tcp(&resolver, &host, address.port()).await,
                    _ => {}
                }
                // By its own name: one that serves several hosts has no page for an address.
                let authority = url.map_or_else(|| address.to_string(), |url| url.authority());
                probe::http_at(&resolver, &host, address.port(), &path, &authority, within.as_ref()).await
            }
        }));
    }
    tokio::spawn(sweep(Arc::downgrade(inner)));
}

/// Looks after the connections of all addresses, those that are gone included: somebody may still be
/// served by one, and leave its connection there.
async fn sweep(proxy: Weak<Inner>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known: Vec<Weak<Endpoint<Pool>>> = Vec::new();
    loop {
        ticks.tick().await;
        let Some(proxy) = proxy.upgrade() else { break };
        known.retain(|one| one.strong_count() > 0);
        for endpoint in proxy.group.endpoints() {
            if !known.iter().any(|one| std::ptr::eq(one.as_ptr(), Arc::as_ptr(&endpoint))) {
                known.push(Arc::downgrade(&endpoint));
            }
        }
        for endpoint in known.iter().filter_map(Weak::upgrade) {
            let secured =
                proxy.upstreams.get(endpoint.upstream).and_then(|upstream| upstream.secured.as_ref());
            let generation = secured.map_or(0, |secured| secured.generation());
            endpoint.pool.sweep(proxy.options.upstream.keepalive_timeout, generation);
        }
    }
    // A tunnel may hold its address for days, but nobody will ask it anything.
    for endpoint in known.iter().filter_map(Weak::upgrade) {
        endpoint.pool.close();
    }
}

/// A name whose addresses are followed.
struct Name {
    watched: Watched,
    told: bool,
}

impl AddressSource for Name {
    async fn next(&mut self) -> Result<Vec<IpAddr>, String> {
        loop {
            if let Some(current) = self.watched.current().filter(|_| !self.told) {
                self.told = true;
                return current.map(|addresses| addresses.to_vec()).map_err(|error| error.to_string());
            }
            self.watched.changed().await;
            self.told = false;
        }
    }

    fn refresh(&mut self) {
        self.watched.refresh();
    }
}
