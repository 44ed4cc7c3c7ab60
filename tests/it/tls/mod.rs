//! HTTPS on the main port: what is agreed upon, by whom, and what becomes of those who mean no good.

mod agreed;
mod bad_input;
mod clients;
mod drain;
mod hostile;
mod redirect;
mod reload;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::http1::{Conn, Response, get};
use crate::support::server::{Server, parse_metrics};
use crate::support::tls::{Ca, Client, Door};

/// The name that certificates are for, unless a test says otherwise.
const HOST: &str = "nessen.test";

/// A server with a certificate of a CA of its own.
struct Secure {
    server: Server,
    folder: Folder,
    ca: Ca,
}

impl std::ops::Deref for Secure {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

impl std::ops::DerefMut for Secure {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Secure {
    /// With these settings besides.
    #[track_caller]
    fn start(env: &[(&str, &str)]) -> Self {
        let (folder, ca) = (Folder::new(), Ca::new());
        Self::start_in(folder, ca, env)
    }

    #[track_caller]
    fn start_in(folder: Folder, ca: Ca, env: &[(&str, &str)]) -> Self {
        let [certificate, key] = ca.put(&folder, "own", &[HOST]);
        folder.write("ca.pem", ca.pem());
        let own = [("TLS_CERT", certificate.as_str()), ("TLS_KEY", key.as_str())];
        // A test may have certificates of its own.
        let own = own.into_iter().filter(|(name, _)| !env.iter().any(|(other, _)| other == name));
        let env: Vec<_> = own.chain(env.iter().copied()).collect();
        Self { server: Server::start(&env), folder, ca }
    }

    fn client(&self) -> Client {
        self.ca.client()
    }

    /// A way in for clients that know no TLS.
    fn door(&self) -> Door {
        Door::to(self.address, HOST, self.client().config())
    }

    /// One GET.
    #[track_caller]
    fn get_secure(&self, path: &str) -> Response {
        let door = self.door();
        let mut conn = Conn::open(door.address);
        conn.send(&get(path));
        conn.read_response()
    }

    /// Every sample of `/metrics`.
    #[track_caller]
    fn samples(&self) -> BTreeMap<String, f64> {
        parse_metrics(&self.get_secure("/metrics"))
    }

    /// Handshakes that ended so.
    #[track_caller]
    fn handshakes(&self, result: &str) -> f64 {
        self.samples()[&format!("nessen_tls_handshakes_total{{result=\"{result}\"}}")]
    }
}

/// A TLS connection that is read and written as the test says.
type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and goes through the handshake, asking for this name; what went wrong.
fn try_shake(server: &Server, config: &Arc<ClientConfig>, host: &str) -> std::io::Result<Stream> {
    let socket = TcpStream::connect(server.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let session = ClientConnection::new(config.clone(), name).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

#[track_caller]
fn shake(server: &Server, config: &Arc<ClientConfig>) -> Stream {
    try_shake(server, config, HOST).expect("a handshake")
}

/// One GET on it, and its answer with all that belongs to it.
#[track_caller]
fn ask(stream: &mut Stream, path: &str) -> std::io::Result<String> {
    stream.write_all(&get(path))?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}
