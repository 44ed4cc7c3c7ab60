//! `nessen healthcheck`: one GET, for images without a shell.
//!
//! Within TLS it takes whatever certificate there is: it asks its own host, sends nothing secret, and is told one
//! number. A certificate that has expired, or was replaced by a bad one that the server rightly does not take, must
//! not have a server restarted that serves.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::Uri;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection, StreamOwned};

use crate::config::{ProxyProtocol, ServerConfig};
use crate::tls::unverified;

/// More than any status line of ours takes.
const LONGEST_STATUS_LINE: usize = 1_024;

/// What to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    address: SocketAddr,
    path: String,
    /// Whether the server takes us for a proxy, which must say first whom it speaks for.
    proxy_header: bool,
    /// Whether it is asked within TLS.
    tls: bool,
    /// Whether it takes nobody without a certificate: that it says so is then all there is to be had of it.
    demands: bool,
}

/// How a server listens, besides its address.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listens {
    /// Whether the main port speaks TLS.
    pub(super) tls: bool,
    /// Whether it takes nobody there without a certificate.
    pub(super) demands: bool,
    /// A port beside it that speaks none, and answers probes.
    pub(super) beside: Option<(IpAddr, u16)>,
}

/// Whether `server` refuses a connection of this host to `host` that begins without a PROXY header.
fn requires_header(server: &ServerConfig, host: IpAddr) -> bool {
    let required = server.proxy_protocol == ProxyProtocol::Required;
    // What a host asks of its own address comes from that address.
    required && server.trusted_proxies.trusts(host)
}

impl Target {
    /// The main listener of this host, on the loopback where it listens on all addresses; the one beside it
    /// where the main one would not take us.
    pub(super) fn of(server: &ServerConfig, listens: Listens) -> Self {
        let beside = listens.beside.filter(|_| listens.tls && listens.demands);
        let (host, port) = beside.unwrap_or((server.host, server.port));
        let host = match host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        Self {
            address: SocketAddr::new(host, port),
            path: "/health".to_owned(),
            proxy_header: beside.is_none() && requires_header(server, host),
            tls: listens.tls && beside.is_none(),
            demands: listens.demands,
        }
    }

    /// From `http://ADDRESS[:PORT][/PATH]`, or `https`. Names are not resolved: the system's resolver may not be
    /// called from a static binary, and a health check of one's own host needs none.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let unusable = || {
            format!("{url:?}: not http://ADDRESS[:PORT][/PATH], or https, with an IP address or localhost")
        };
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable()),
        };
        let host = uri.host().ok_or_else(unusable)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.eq_ignore_ascii_case("localhost") {
            Ipv4Addr::LOCALHOST.into()
        } else {
            bare.parse::<IpAddr>().map_err(|_| unusable())?
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { "/health" } else { path };
        let address = SocketAddr::new(host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }));
        Ok(Self { address, path: path.to_owned(), proxy_header: false, tls, demands: false })
    }

    /// Asks, and is content with 200 only. `timeout` bounds all of it together.
    pub(super) fn check(&self, timeout: Duration) -> Result<(), String> {
        let status = self.status(timeout).map_err(|error| {
            // A read time-out has the name of a full buffer in the system's own words.
            let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            let problem = if timed_out { "no answer in time".to_owned() } else { error.to_string() };
            format!("{self}: {problem}")
        })?;
        if status == "200" { Ok(()) } else { Err(format!("{self}: answered {status:?}")) }
    }

    fn status(&self, timeout: Duration) -> io::Result<String> {
        let deadline = Instant::now() + timeout.max(Duration::from_millis(1));
        let mut socket =
            Timed { socket: TcpStream::connect_timeout(&self.address, left(deadline)?)?, deadline };
        let header = if self.proxy_header { "PROXY UNKNOWN\r\n" } else { "" };
        if !self.tls {
            return self.ask(&mut socket, header);
        }
        // A proxy says whom it speaks for before anything else.
        socket.write_all(header.as_bytes())?;
        let config = unverified(&[b"http/1.1"]).map_err(io::Error::other)?;
        let name = ServerName::from(self.address.ip());
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        match self.ask(&mut StreamOwned::new(connection, socket), "") {
            Err(error) if self.demands && demands_certificate(&error) => Ok("200".to_owned()),
            answered => answered,
        }
    }

    fn ask(&self, stream: &mut (impl Read + Write), before: &str) -> io::Result<String> {
        // In one write: a formatted write to a socket would send every piece on its own.
        let request = format!(
            "{before}GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nessen-healthcheck\r\nConnection: close\r\n\r\n",
            self.path, self.address
        );
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut head = Vec::new();
        let mut chunk = [0; 256];
        while !head.contains(&b'\n') && head.len() < LONGEST_STATUS_LINE {
            match stream.read(&mut chunk)? {
                0 => break,
                count => head.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
        let line = String::from_utf8_lossy(&head);
        let mut words = line.lines().next().unwrap_or_default().split(' ');
        let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        let status = words.next().filter(|_| is_http);
        Ok(status.unwrap_or("what is not HTTP/1").to_owned())
    }
}

/// Whether a server said that it takes nobody without a certificate: it is there, and speaks.
fn demands_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.address, self.path)
    }
}

/// A socket that all together has until a deadline.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| io::ErrorKind::TimedOut.into())
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_port_of_this_host_is_asked_on_the_loopback() {
        let mut server = Config::default().server;
        let address = |server: &ServerConfig| Target::of(server, Listens::default()).address.to_string();
        assert_eq!(address(&server), "127.0.0.1:3000");
        server.host = "::".parse().unwrap();
        assert_eq!(address(&server), "[::1]:3000");
        server.host = "10.1.1.1".parse().unwrap();
        assert_eq!(address(&server), "10.1.1.1:3000");
    }

    #[test]
    fn a_url_names_address_port_and_path() {
        let parsed = |url| Target::parse(url).map(|target| format!("{} {}", target.address, target.path));
        assert_eq!(parsed("http://localhost:81").unwrap(), "127.0.0.1:81 /health");
        assert_eq!(parsed("http://[::1]:81/ready?x=1").unwrap(), "[::1]:81 /ready?x=1");
        assert_eq!(parsed("http://10.0.0.1/").unwrap(), "10.0.0.1:80 /health");
        assert_eq!(parsed("https://10.0.0.1/").unwrap(), "10.0.0.1:443 /health");
        for url in ["h2://localhost", "localhost:80", "http://app:80", "", "http://"] {
            assert!(parsed(url).is_err(), "{url}");
        }
    }

    /// A server of one answer; what it says decides.
    fn ask(answer: &'static [u8]) -> Result<(), String> {
        ask_with(false, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:", answer)
    }

    fn ask_with(proxy_header: bool, beginning: &'static str, answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target { address, path: "/health".to_owned(), proxy_header, tls: false, demands: false };
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = [0; 512];
            let count = socket.read(&mut head).unwrap();
            assert!(head[..count].starts_with(beginning.as_bytes()));
            for part in answer.chunks(7) {
                let _ = socket.write_all(part);
            }
            if answer.is_empty() {
                // Silence: held open until the other end gives up.
                let _ = socket.read(&mut head);
            }
        });
        let result = target.check(Duration::from_millis(if answer.is_empty() { 300 } else { 20_000 }));
        server.join().unwrap();
        result
    }

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(ask(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        assert!(ask(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err().contains("503"));
        assert!(ask(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
        assert!(ask(b"").unwrap_err().contains("no answer in time"));
    }

    #[test]
    fn a_server_that_expects_proxies_is_asked_like_one() {
        let beginning = "PROXY UNKNOWN\r\nGET /health HTTP/1.1\r\n";
        assert_eq!(ask_with(true, beginning, b"HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
    }

    #[test]
    fn a_port_that_takes_nobody_without_a_certificate_is_left_for_one_beside_it() {
        let server = Config::default().server;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let target = |tls: bool, demands: bool, beside: bool| {
            let listens = Listens { tls, demands, beside: beside.then_some((any, 80)) };
            Target::of(&server, listens).to_string()
        };
        assert_eq!(target(true, false, true), "https://127.0.0.1:3000/health");
        assert_eq!(target(true, true, true), "http://127.0.0.1:80/health");
        assert_eq!(target(true, true, false), "https://127.0.0.1:3000/health");
        assert_eq!(target(false, false, true), "http://127.0.0.1:3000/health");
    }

    /// One that demands a certificate of its clients.
    #[test]
    fn a_server_that_demands_a_certificate_is_there() {
        use std::sync::Arc;

        use rustls::server::WebPkiClientVerifier;
        use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = crate::tls::provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_client_cert_verifier(verifier.build().unwrap());
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
        for demands in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let config = config.clone();
            let served = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut connection = ServerConnection::new(config).unwrap();
                let _ = Stream::new(&mut connection, &mut socket).read(&mut [0; 64]);
                // Read to the end: a reset would take the alert with it.
                let _ = socket.shutdown(std::net::Shutdown::Write);
                while socket.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            });
            let path = "/health".to_owned();
            let target = Target { address, path, proxy_header: false, tls: true, demands };
            assert_eq!(target.check(Duration::from_secs(20)).is_ok(), demands);
            served.join().unwrap();
        }
    }

    #[test]
    fn nobody_listening_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target =
            Target { address, path: "/".to_owned(), proxy_header: false, tls: false, demands: false };
        drop(listener);
        assert!(target.check(Duration::from_secs(1)).is_err());
    }
}
