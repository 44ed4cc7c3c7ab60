//! Evidence of what was refused: what is kept, what never is, who sees it, and where it goes.

mod bounds;
mod bucket;
mod listed;
mod reasons;
mod secrets;
mod storage;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use crate::support::http1::{Conn, Response};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// A port that nobody has, and that the system gives to nobody who asks for any.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 100) as u16 * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A server that collects evidence, and its admin port.
struct Watched {
    server: Server,
    admin: SocketAddr,
}

impl Watched {
    #[track_caller]
    fn start(env: &[(&str, &str)]) -> Self {
        let port = free_port();
        let text = port.to_string();
        let ours = [
            ("NESSEN_EVIDENCE_ENABLED", "true"),
            ("ADMIN_PORT", text.as_str()),
            ("NESSEN_ADMIN_HOST", "127.0.0.1"),
            ("DRAIN_DELAY", "0"),
        ];
        let server = Server::start(&[&ours, env].concat());
        Self { server, admin: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port) }
    }

    /// A request to the admin port.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, fields: &str) -> Response {
        let mut conn = Conn::open(self.admin);
        conn.send(
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n").as_bytes(),
        );
        if method == "HEAD" { conn.read_head_response() } else { conn.read_response() }
    }

    #[track_caller]
    fn list(&self, query: &str) -> Value {
        let answer = self.ask("GET", &format!("/evidence{query}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The newest entry of this reason, once there is one.
    #[track_caller]
    fn entry(&self, reason: &str) -> Value {
        let query = format!("?reason={reason}&limit=1");
        assert_eventually(PATIENCE, reason, || !self.list(&query)["entries"].as_array().unwrap().is_empty());
        let listed = self.list(&query);
        let answer = self.ask("GET", &format!("/evidence/{}", text(&listed["entries"][0]["id"])), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A metric of the admin port.
    #[track_caller]
    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.ask("GET", "/metrics", "").text();
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map(|value| value.parse().unwrap())
    }

    /// One exchange with the main port, of exactly these bytes.
    #[track_caller]
    fn send(&self, bytes: impl AsRef<[u8]>) -> u16 {
        self.send_from(Ipv4Addr::LOCALHOST.into(), bytes)
    }

    #[track_caller]
    fn send_from(&self, client: IpAddr, bytes: impl AsRef<[u8]>) -> u16 {
        let mut conn = Conn::open_from(client, self.server.address);
        conn.send(bytes.as_ref());
        conn.read_response().status
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
