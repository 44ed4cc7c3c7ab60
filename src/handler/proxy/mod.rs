//! The reverse proxy: passes requests on to applications elsewhere, and their answers back.
//!
//! Nothing is held back: bodies go through as they come, both ways. What is kept of a request until
//! its answer begins is its head, for another attempt.

mod answer;
pub mod balance;
mod failure;
mod fields;
mod forward;
pub(crate) mod forwarded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod http1;
mod http2;
pub(crate) mod io;
mod options;
mod pool;
mod series;
mod tls;
mod tunnel;
mod upload;
pub mod url;
mod watch;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, request};
use tokio::time::Instant;

use self::answer::Carrier;
use self::balance::{Group, Lease};
use self::failure::Failure;
use self::http1::Http1;
use self::pool::Pool;
use self::series::{Series, Told};
use self::tls::Secured;
use self::url::{UpstreamProtocol, UpstreamUrl};
use super::body::AnswerBody;
use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::resolve::Resolver;
use crate::telemetry::Metrics;
use crate::tls::client::server_name;
use crate::tls::live::Live;
use crate::trace::Peer;

pub use answer::UpstreamBody;
pub use options::{HostHeader, ProxyOptions, UpstreamOptions};

/// A proxy in front of one route's upstreams. Clones share its connections.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// What all requests of a proxy share.
struct Inner {
    options: ProxyOptions,
    group: Arc<Group<Pool>>,
    upstreams: Vec<Upstream>,
    metrics: Arc<Metrics>,
    /// When it was last said that nothing is left to connect with.
    exhausted: Mutex<Option<Instant>>,
    /// The certificates, where TLS is spoken.
    tls: Option<Arc<Live>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// At most one line about exhaustion in this time.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// What is made once for each upstream rather than for each request.
struct Upstream {
    label: Arc<str>,
    authority: HeaderValue,
    series: Arc<Series>,
    /// Where TLS is spoken to it.
    secured: Option<Arc<Secured>>,
    /// As spans tell of it.
    peer: Arc<Peer>,
}

impl Proxy {
    /// A proxy that asks `resolver` for names, from now on and for as long as it is in use. Must be
    /// called within a Tokio runtime. `tls` is what [`UpstreamOptions::tls`] comes to.
    pub fn new(
        options: ProxyOptions,
        tls: Option<Arc<Live>>,
        resolver: &Resolver,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let upstreams: Vec<Upstream> = options
            .upstream
            .url
            .iter()
            .map(|url| {
                let label: Arc<str> = url.to_string().into();
                let secured = tls.as_ref().filter(|_| url.protocol.is_tls()).and_then(|live| {
                    let name = options.upstream.server_name.as_deref().unwrap_or(&url.host);
                    // The configuration has none that is not one.
                    let name = server_name(name).ok()?;
                    Some(Secured::new(live.clone(), name, label.clone()))
                });
                Upstream {
                    series: Arc::new(Series(metrics.upstream(&label))),
                    authority: HeaderValue::from_str(&url.authority())
                        .unwrap_or(HeaderValue::from_static("")),
                    label,
                    secured,
                    peer: Arc::new(peer(url)),
                }
            })
            .collect();
        let events = Told(upstreams.iter().map(|upstream| upstream.series.clone()).collect());
        let group = Group::new(options.upstream.group(), Arc::new(events));
        let inner = Arc::new(Inner {
            options,
            group,
            upstreams,
            metrics: metrics.clone(),
            exhausted: Mutex::default(),
            tls,
        });
        watch::begin(&inner, resolver);
        Self(inner)
    }

    /// Its certificates, where it speaks TLS.
    pub fn tls(&self) -> Option<&Arc<Live>> {
        self.0.tls.as_ref()
    }

    /// How it was made.
    pub fn options(&self) -> &ProxyOptions {
        &self.0.options
    }

    /// Passes a request on; the answer begins when the upstream's does.
    ///
    /// # Errors
    /// No upstream answered, in time or at all, or what came was not HTTP.
    pub fn forward<B>(
        &self,
        sent: request::Parts,
        body: B,
        exchange: Arc<Exchange>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Refusal>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        forward::Journey::new(self.0.clone(), sent, body, exchange).run()
    }
}

fn peer(url: &UpstreamUrl) -> Peer {
    let (scheme, version) = match url.protocol {
        UpstreamProtocol::Http1 => ("http", "1.1"),
        UpstreamProtocol::H2c => ("http", "2"),
        UpstreamProtocol::Https => ("https", "1.1"),
        UpstreamProtocol::H2 => ("https", "2"),
    };
    Peer {
        scheme,
        version,
        authority: url.authority().into(),
        host: url.host.as_str().into(),
        port: url.port,
    }
}

impl Inner {
    fn upstream(&self, lease: &Lease<Pool>) -> Option<&Upstream> {
        self.upstreams.get(lease.endpoint().upstream)
    }

    /// A new connection. Idle ones make room for it where nothing is left to open it with.
    async fn opened(
        &self,
        address: SocketAddr,
        secured: Option<&Arc<Secured>>,
    ) -> Result<Box<Http1>, Failure> {
        let limit = self.options.upstream.connect_timeout;
        let opened = forward::connected(Http1::open(address, secured), limit).await;
        if !opened.as_ref().is_err_and(Failure::is_exhaustion) {
            return opened;
        }
        let freed: usize = self.group.endpoints().iter().map(|endpoint| endpoint.pool.let_go()).sum();
        self.say_exhausted(freed);
        match freed {
            0 => opened,
            _ => forward::connected(Http1::open(address, secured), limit).await,
        }
    }

    /// Says that nothing is left to connect with, and not for each request.
    fn say_exhausted(&self, freed: usize) {
        let mut said = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= LOG_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(freed, "no descriptors or ports are left for connections to upstreams");
        }
    }

    /// Keeps the connection of an answer that has ended for the next request to the same address, if
    /// it is fit for one.
    fn give_back(&self, carrier: Carrier, lease: &Lease<Pool>) {
        if let Carrier::Http1(mut connection) = carrier
            && connection.is_done()
            && let Some(upstream) = self.upstream(lease)
        {
            lease.endpoint().pool.put(connection, self.options.upstream.max_idle, &upstream.series);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use http::HeaderName;
    use http_body_util::Empty;
    use tokio::time::Instant;

    use super::*;
    use crate::protocol::Protocol;
    use crate::stage::Inbound;
    use crate::telemetry::BuildInfo;

    const SECOND: Duration = Duration::from_secs(1);

    fn options(url: &str) -> ProxyOptions {
        let upstream = UpstreamOptions {
            url: vec![url.parse().unwrap()],
            host_header: HostHeader::Keep,
            connect_timeout: SECOND,
            first_byte_timeout: None,
            read_timeout: SECOND,
            keepalive_timeout: SECOND,
            max_idle: 1,
            tunnel_idle_timeout: SECOND,
            retries: 1,
            retry_budget: 20,
            eject_after: None,
            eject_window: SECOND,
            eject_time: SECOND,
            max_eject_time: SECOND,
            health_path: None,
            health_interval: SECOND,
            health_timeout: SECOND,
            health_fall: 1,
            health_rise: 1,
            resolve_interval: SECOND,
            ca: None,
            cert: None,
            key: None,
            server_name: None,
        };
        let request_id_header = HeaderName::from_static("x-request-id");
        ProxyOptions { upstream, request_id_header, request_timeout: SECOND }
    }

    /// What is larger than this does not come out of the allocator's quick bins (glibc's tcache).
    const QUICK: usize = 1032;

    #[tokio::test]
    async fn a_request_on_its_way_is_small() {
        let metrics = Metrics::new(&[], BuildInfo::current());
        let proxy = Proxy::new(options("http://127.0.0.1:1"), None, &Resolver::system(), &metrics);
        let (parts, ()) = http::Request::new(()).into_parts();
        let body = Inbound::new(Empty::<Bytes>::new(), None);
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let exchange = Exchange::new(nobody, nobody.ip(), Protocol::Http1, Instant::now());
        let size = size_of_val(&proxy.forward(parts, body, Arc::new(exchange)));
        assert!(size <= QUICK, "{size} bytes");
    }

    #[tokio::test]
    async fn what_goes_on_beside_the_requests_ends_with_the_proxy() {
        let metrics = Metrics::new(&[], BuildInfo::current());
        let proxy = Proxy::new(options("http://localhost:1"), None, &Resolver::system(), &metrics);
        let (inner, group) = (Arc::downgrade(&proxy.0), Arc::downgrade(&proxy.0.group));
        drop(proxy);
        tokio::time::timeout(4 * SECOND, async {
            while inner.strong_count() + group.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }
}
