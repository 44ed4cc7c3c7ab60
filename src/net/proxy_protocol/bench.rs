//! A connection from a proxy over a pipe in memory, served by the code that serves sockets.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tracing::level_filters::LevelFilter;

use crate::body::BoxError;
use crate::client_address::TrustedProxies;
use crate::lifecycle::{self, LifecycleWriter};
use crate::memory::MemoryAccount;
use crate::net::Upload;
use crate::net::admission::{Admission, Admitted};
use crate::net::connection;
use crate::net::context::{ConnectionLimits, Context, HeadLimits, Http2Limits, ProxyProtocol};
use crate::net::registry::Registry;
use crate::net::send_watch::SendLimits;
use crate::net::state::ConnState;
use crate::refusal::{Reason, Refusal};
use crate::stage::Asked;
use crate::telemetry::{AccessLog, AccessMode, BuildInfo, LogFormat, LogPipe, Metrics};

/// A proxy that is trusted.
pub(super) const PROXY: &str = "10.0.0.1:5000";
/// A peer that is not.
pub(super) const STRANGER: &str = "203.0.113.9:5000";
/// Within which a header and the request behind it must begin.
pub(super) const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one client.
pub(super) const PER_CLIENT: usize = 2;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all connections of a test share.
pub(super) struct Bench {
    pub(super) context: Arc<Context>,
    admission: Admission,
    registry: Registry,
    pipe: LogPipe,
    log: Log,
    _life: LifecycleWriter,
}

impl Bench {
    pub(super) fn new(proxy_protocol: ProxyProtocol) -> Self {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let (life, lifecycle) = lifecycle::begin();
        let log = Log::default();
        let pipe = LogPipe::new(Box::new(log.clone()), 1 << 20).unwrap();
        let context = Context {
            memory: MemoryAccount::new(u64::MAX),
            penalties: Default::default(),
            turns: Default::default(),
            limits: limits(),
            trusted: trusted.clone(),
            proxy_protocol,
            tls: None,
            lifecycle,
            metrics: Metrics::new(&["/"], BuildInfo::current()),
            evidence: None,
            access_log: AccessLog::new(pipe.clone(), LogFormat::Json, AccessMode::All, LevelFilter::TRACE),
            request_id_header: HeaderName::from_static("x-request-id"),
        };
        let admission = Admission::new(100, Some(PER_CLIENT), trusted);
        let (context, registry) = (Arc::new(context), Registry::default());
        Self { context, admission, registry, pipe, log, _life: life }
    }

    /// A connection whose socket comes from `peer`.
    pub(super) fn connect(&self, peer: &str) -> Conn {
        let peer: SocketAddr = peer.parse().unwrap();
        let Ok(Admitted::Fully(permits)) = self.admission.admit(peer.ip()) else { panic!("not admitted") };
        let state = self.registry.enter(|entry| ConnState::new(peer, permits, entry));
        let (near, far) = tokio::io::duplex(1 << 16);
        let stack = tower::service_fn(answer);
        let served =
            tokio::spawn(connection::serve(far, state.clone(), self.context.clone(), Arc::new(stack)));
        Conn { io: near, state, served }
    }

    /// Every refusal that was counted, with how often.
    pub(super) fn refusals(&self) -> Vec<(Reason, u64)> {
        self.context.metrics.rejections().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// The clients of the refusals in the log, in order.
    pub(super) fn refused_clients(&self) -> Vec<String> {
        assert!(self.pipe.flush(Duration::from_secs(5)));
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        let client = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["client"].as_str().unwrap().to_owned()
        };
        text.lines().map(client).collect()
    }
}

/// One connection, seen from the proxy.
pub(super) struct Conn {
    pub(super) io: DuplexStream,
    pub(super) state: Arc<ConnState>,
    /// Ends with the connection.
    pub(super) served: JoinHandle<()>,
}

impl Conn {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// Lets the server take in what it has, and do what follows from it at once.
    pub(super) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// An answer that is delimited by its length: status and body.
    pub(super) async fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.io.read_exact(&mut body).await.unwrap();
        (head.get(9..12).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
    }

    /// Whatever comes until the server closes.
    pub(super) async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        self.io.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }
}

/// Says whom the server takes the request to come from.
async fn answer(
    Asked { request, exchange }: Asked<Upload>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = BoxError>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!(
        "{path} peer={} client={} trusted={} body={}",
        exchange.peer,
        exchange.client,
        exchange.trusted_peer,
        String::from_utf8_lossy(&body)
    );
    Ok(Response::new(Full::from(text).map_err(|never| match never {})))
}

fn limits() -> ConnectionLimits {
    let refusal = || Refusal::new(Reason::HeaderTooLarge, "too large");
    ConnectionLimits {
        headers_timeout: HEADERS_TIMEOUT,
        idle_timeout: Duration::from_secs(60),
        send: SendLimits { timeout: Duration::from_secs(30), min_rate: None },
        max_requests: 1000,
        max_age: Duration::from_secs(3600),
        head: HeadLimits {
            url_length: 8192,
            fields_size: 16384,
            fields_count: 100,
            url_too_long: refusal(),
            fields_too_large: refusal(),
            too_many_fields: refusal(),
        },
        http2: Some(Http2Limits {
            max_concurrent_streams: 10,
            max_local_error_resets: 10,
            max_cancelled_streams: 10,
            stream_window: 65535,
            connection_window: 65535,
            send_buffer: 65536,
        }),
    }
}
