//! How requests are passed on.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::balance::{GroupOptions, HealthOptions, UpstreamSpec};
use super::url::UpstreamUrl;
use crate::tls::client::ClientOptions;

/// The applications behind a proxied route, and how patient they are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamOptions {
    /// Where they are; empty: nowhere. In a route, those of the route.
    pub url: Vec<UpstreamUrl>,
    /// The `Host` that they are sent.
    pub host_header: HostHeader,
    /// From nothing to a connection.
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte_timeout: Option<Duration>,
    /// Longest gap between bytes of the answer.
    pub read_timeout: Duration,
    /// How long an idle connection is kept.
    pub keepalive_timeout: Duration,
    /// Idle connections kept per address; 0 keeps none.
    pub max_idle: usize,
    /// A tunnel (WebSocket) in which nothing moves in either direction.
    pub tunnel_idle_timeout: Duration,
    /// Further attempts of a request that was never sent, or may be sent twice.
    pub retries: u32,
    /// Retries in percent of the requests.
    pub retry_budget: u32,
    /// Failures within `eject_window` that put an address aside.
    pub eject_after: Option<u32>,
    /// The window in which failures are counted.
    pub eject_window: Duration,
    /// How long an address is put aside for the first time; each further time doubles it.
    pub eject_time: Duration,
    /// The most that doubling comes to.
    pub max_eject_time: Duration,
    /// The path, with its query, that an active check asks for.
    pub health_path: Option<String>,
    /// From one active check to the next.
    pub health_interval: Duration,
    /// Longest time of an active check.
    pub health_timeout: Duration,
    /// Failed checks in a row after which an address is down.
    pub health_fall: u32,
    /// Good checks in a row after which it is up again.
    pub health_rise: u32,
    /// Names are resolved again when their TTL ends, and at the latest after this.
    pub resolve_interval: Duration,
    /// CAs that are believed in place of the public ones.
    pub ca: Option<PathBuf>,
    /// Our own certificate, with its chain.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name or address that certificates have to be for; `None`: that of the URL.
    pub server_name: Option<String>,
}

/// `upstream.host_header`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostHeader {
    /// The client's own is passed on.
    Keep,
    /// The upstream's own authority.
    Upstream,
}

/// How one route's requests are passed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyOptions {
    /// Where to, at least one place, and how.
    pub upstream: UpstreamOptions,
    /// The field that carries the request id.
    pub request_id_header: HeaderName,
    /// From the request head to the response head.
    pub request_timeout: Duration,
}

impl UpstreamOptions {
    /// How TLS is spoken to them, where it is to any of them.
    pub fn tls(&self) -> Option<ClientOptions> {
        let identity = self.cert.clone().zip(self.key.clone());
        let spoken = self.url.iter().any(|url| url.protocol.is_tls());
        spoken.then(|| ClientOptions { ca: self.ca.clone(), identity })
    }

    /// What the balancer is told of them.
    pub(super) fn group(&self) -> GroupOptions {
        let spec = |url: &UpstreamUrl| UpstreamSpec {
            label: url.to_string(),
            host: url.host.clone(),
            port: url.port,
        };
        GroupOptions {
            upstreams: self.url.iter().map(spec).collect(),
            eject_after: self.eject_after,
            eject_window: self.eject_window,
            eject_time: self.eject_time,
            max_eject_time: self.max_eject_time,
            health: self.health_path.is_some().then_some(HealthOptions {
                interval: self.health_interval,
                timeout: self.health_timeout,
                fall: self.health_fall,
                rise: self.health_rise,
            }),
            retry_budget: self.retry_budget,
            longest_resolve: self.resolve_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_of_the_balancer_comes_from_its_own_key() {
        let time = Duration::from_secs;
        let group = UpstreamOptions {
            url: vec!["http://app:8080".parse().unwrap()],
            host_header: HostHeader::Keep,
            connect_timeout: time(1),
            first_byte_timeout: Some(time(2)),
            read_timeout: time(3),
            keepalive_timeout: time(4),
            max_idle: 5,
            tunnel_idle_timeout: time(6),
            retries: 7,
            retry_budget: 8,
            eject_after: Some(9),
            eject_window: time(10),
            eject_time: time(11),
            max_eject_time: time(12),
            health_path: Some("/well".into()),
            health_interval: time(13),
            health_timeout: time(14),
            health_fall: 15,
            health_rise: 16,
            resolve_interval: time(17),
            ca: None,
            cert: None,
            key: None,
            server_name: None,
        }
        .group();
        let [upstream] = group.upstreams.as_slice() else { panic!("one upstream") };
        assert_eq!(
            (upstream.label.as_str(), upstream.host.as_str(), upstream.port),
            ("http://app:8080", "app", 8080)
        );
        assert_eq!((group.retry_budget, group.eject_after), (8, Some(9)));
        assert_eq!(
            [group.eject_window, group.eject_time, group.max_eject_time],
            [time(10), time(11), time(12)]
        );
        let health = group.health.unwrap();
        assert_eq!((health.interval, health.timeout, health.fall, health.rise), (time(13), time(14), 15, 16));
        assert_eq!(group.longest_resolve, time(17));
    }
}
