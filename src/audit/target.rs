//! Whom an audit asks, what it may spend on it, and how it connects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::limits;
use super::wire::{Conn, Socket};
use crate::resolve::Resolver;
use crate::tls::client::{ClientOptions, server_name};
use crate::tls::{unverified, why};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// The status of who has asked too much.
pub(super) const LIMITED: u16 = 429;
/// How long an answer may take that costs the server nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// An `http://` or `https://` URL: a host, a port and perhaps a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port as they were written, for `Host`.
    pub authority: String,
    /// The host alone, an IPv6 address in its brackets.
    pub host: String,
    port: u16,
    /// Whether it is `https://`.
    pub tls: bool,
    /// The path that was written, if any.
    pub path: Option<String>,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unusable = || format!("{text:?}: not http://HOST[:PORT][/PATH], or https");
        let uri: Uri = text.parse().map_err(|_| unusable())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable()),
        };
        let authority = uri.authority().ok_or_else(unusable)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(unusable());
        }
        let path = uri.path_and_query().map(|path| path.as_str().to_owned()).filter(|path| path != "/");
        Ok(Self {
            authority: authority.as_str().to_owned(),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
            path,
        })
    }

    /// The addresses of its host.
    ///
    /// # Errors
    /// There are none.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = Resolver::system().lookup(&self.host).await.map_err(|error| error.to_string())?;
        Ok(found.addresses.into_iter().map(|address| SocketAddr::new(address, self.port)).collect())
    }
}

/// Whether HTTP/2 is tried: by prior knowledge, within TLS by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// It is asked for once, and left where it is not spoken.
    Auto,
    /// It is spoken.
    On,
    /// It is left.
    Off,
}

/// How an audit goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a server may take to act on a slow attack.
    pub timeout: Duration,
    /// A path that answers 200 to GET.
    pub path: String,
    /// A path that takes POST.
    pub upload_path: String,
    /// Whether HTTP/2 is tried.
    pub http2: Http2,
    /// Fields of every request.
    pub headers: Vec<(String, String)>,
    /// Connections that the cases which open many may have open.
    pub connections: usize,
    /// How TLS is spoken, where it is.
    pub tls: Option<Tls>,
}

/// How TLS is spoken to a server.
#[derive(Debug, Clone)]
pub struct Tls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// With the server that has this name: its certificate has to be of a CA of this file, else of a public
    /// one; or, with `insecure`, none is looked at.
    ///
    /// # Errors
    /// The file holds no CA, or no certificate can be for this name.
    pub fn new(host: &str, ca: Option<PathBuf>, insecure: bool) -> Result<Self, String> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = server_name(bare).map_err(|_| format!("{host:?}: no certificate can be for this name"))?;
        let options = ClientOptions { ca, identity: None };
        let config = |protocol: &[u8]| match insecure {
            true => unverified(&[protocol]).map_err(|error| error.to_string()),
            false => options.config(&[protocol]).map_err(|error| error.to_string()),
        };
        Ok(Self { http1: config(b"http/1.1")?, http2: config(b"h2")?, name })
    }

    async fn handshake(&self, stream: TcpStream, http2: bool) -> Result<Socket, String> {
        let config = if http2 { &self.http2 } else { &self.http1 };
        let shaken = TlsConnector::from(config.clone()).connect(self.name.clone(), stream).await;
        let stream = shaken.map_err(|error| why(&error).unwrap_or_else(|| error.to_string()))?;
        if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("HTTP/2 is not offered (ALPN h2)".to_owned());
        }
        Socket::within(stream).map_err(|error| error.to_string())
    }
}

/// What one case may still spend.
#[derive(Debug, Default)]
pub(super) struct Spent {
    sent: AtomicU64,
    read: AtomicU64,
    /// Whether an answer was 429: the attack was not looked at.
    limited: AtomicBool,
}

impl Spent {
    /// How many of `wanted` bytes may be sent; they count as sent.
    pub(super) fn send(&self, wanted: usize) -> usize {
        take(&self.sent, limits::SENT, wanted)
    }

    /// The same for reading.
    pub(super) fn read(&self, wanted: usize) -> usize {
        take(&self.read, limits::READ, wanted)
    }

    /// Gives back what was not sent after all.
    pub(super) fn unsent(&self, bytes: usize) {
        self.sent.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Notes the status of an answer.
    pub(super) fn answered(&self, status: u16) {
        self.limited.fetch_or(status == LIMITED, Ordering::Relaxed);
    }

    /// The same for reading.
    pub(super) fn unread(&self, bytes: usize) {
        self.read.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

fn take(spent: &AtomicU64, most: u64, wanted: usize) -> usize {
    let mut granted = 0;
    let _ = spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| {
        granted = (wanted as u64).min(most.saturating_sub(spent));
        Some(spent + granted)
    });
    usize::try_from(granted).unwrap_or(0)
}

/// How the server answers honest requests: what a refusal is told apart from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    /// The status of a GET of the path.
    pub(super) get: u16,
    /// The status of a small POST to the upload path; 0 where it was not answered.
    pub(super) post: u16,
    /// Bytes of the body of the GET's answer.
    pub(super) body: u64,
}

/// A server, as one case sees it. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    authority: Arc<str>,
    /// How to go about it.
    pub(super) options: Arc<Options>,
    /// How it answers honest requests.
    pub(super) baseline: Baseline,
    permits: Arc<Semaphore>,
    spent: Arc<Spent>,
    /// Whether connections within TLS are for HTTP/2.
    http2: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError(pub String);

impl Target {
    /// A server at `address` that is called `authority`.
    pub fn new(address: SocketAddr, authority: &str, options: Options) -> Self {
        // One for the honest request beside those that are held.
        let connections = options.connections.clamp(2, limits::CONNECTIONS_LOOPBACK) + 1;
        Self {
            address,
            authority: authority.into(),
            options: Arc::new(options),
            baseline: Baseline::default(),
            permits: Arc::new(Semaphore::new(connections)),
            spent: Arc::default(),
            http2: false,
        }
    }

    /// The same for connections that are to speak HTTP/2.
    pub(super) fn of_http2(self, http2: bool) -> Self {
        Self { http2, ..self }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.options.tls.is_some() { "https" } else { "http" }
    }

    /// The same for a case that has spent nothing yet.
    pub(super) fn for_case(&self, baseline: Baseline) -> Self {
        Self { spent: Arc::default(), baseline, ..self.clone() }
    }

    /// Whether an answer was 429.
    pub(super) fn was_limited(&self) -> bool {
        self.spent.limited.load(Ordering::Relaxed)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// How long to wait for what costs the server nothing.
    pub(super) fn patience(&self) -> Duration {
        self.options.timeout.min(PATIENCE)
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self) -> &str {
        &self.options.path
    }

    pub(super) fn upload_path(&self) -> &str {
        &self.options.upload_path
    }

    /// A connection.
    pub(super) async fn connect(&self) -> Result<Conn, TargetError> {
        self.open(None).await
    }

    /// A connection whose socket buffers little, either way.
    pub(super) async fn connect_narrow(&self) -> Result<Conn, TargetError> {
        self.open(Some(4096)).await
    }

    async fn open(&self, receive_buffer: Option<u32>) -> Result<Conn, TargetError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| error("closed", &""))?;
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(|problem| error("no socket", &problem))?;
        if let Some(bytes) = receive_buffer {
            // What is sent counts as taken when it has left this socket.
            let _ = (socket.set_recv_buffer_size(bytes), socket.set_send_buffer_size(4 * bytes));
            // Small segments, small buffers at the other end: those of the loopback hold megabytes otherwise.
            let _ = SockRef::from(&socket).set_tcp_mss(536);
        }
        let stream = match tokio::time::timeout(CONNECT, socket.connect(self.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(problem)) => return Err(error("no connection", &problem)),
            Err(_) => return Err(error("no connection", &"not within 5 s")),
        };
        // A drip is to leave byte by byte.
        let _ = stream.set_nodelay(true);
        let socket = match &self.options.tls {
            None => Socket::Plain(stream),
            Some(tls) => match tokio::time::timeout(CONNECT, tls.handshake(stream, self.http2)).await {
                Ok(Ok(socket)) => socket,
                Ok(Err(problem)) => return Err(error("no TLS", &problem)),
                Err(_) => return Err(error("no TLS", &"not within 5 s")),
            },
        };
        Ok(Conn::new(socket, self.spent.clone(), permit))
    }

    /// The beginning of a request, without the empty line: the line, `Host`, and the fields of every request.
    pub(super) fn head(&self, method: &str, path: &str) -> String {
        self.head_of(&format!("{method} {path} HTTP/1.1"), Some(&format!("Host: {}", self.authority)))
    }

    /// The same with a line and a `Host` of one's own.
    pub(super) fn head_of(&self, line: &str, host: Option<&str>) -> String {
        let mut head = format!("{line}\r\n");
        if let Some(host) = host {
            head += &format!("{host}\r\n");
        }
        head += "User-Agent: nessen-probe\r\n";
        for (name, value) in &self.options.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    /// A whole honest GET.
    pub(super) fn get(&self) -> String {
        self.head("GET", self.path()) + "\r\n"
    }

    /// A POST to the upload path with these further field lines, each with its end.
    pub(super) fn post(&self, fields: &str) -> String {
        self.head("POST", self.upload_path()) + fields + "\r\n"
    }
}

fn error(what: &str, problem: &dyn std::fmt::Display) -> TargetError {
    TargetError(format!("{what}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_http() {
        let url = Url::parse("http://app.test:81/x?y").unwrap();
        assert_eq!((url.authority.as_str(), url.host.as_str(), url.port), ("app.test:81", "app.test", 81));
        assert_eq!(url.path.as_deref(), Some("/x?y"));
        assert_eq!(Url::parse("http://[::1]").unwrap().path, None);
        let url = Url::parse("https://app.test").unwrap();
        assert!(url.tls && url.port == 443);
        for text in ["app.test", "ftp://app.test", "http://", "http://user@app.test", ""] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_case_spends_no_more_than_it_may() {
        let spent = Spent::default();
        assert_eq!(spent.send(5 << 20), 4 << 20);
        assert_eq!(spent.send(1), 0);
        spent.unsent(10);
        assert_eq!(spent.send(100), 10);
        assert_eq!(spent.read(1 << 20), 1 << 20);
    }
}
