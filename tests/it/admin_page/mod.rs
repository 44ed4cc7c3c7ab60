//! The status page of the admin port: where it is, what it may do, what it shows, and what it can cost.

mod events;
mod page;

use std::net::{SocketAddr, TcpListener};

use crate::support::http1::{Conn, Response};
use crate::support::server::Server;

/// A server with an admin port.
pub(crate) struct Watched {
    pub(crate) server: Server,
    pub(crate) admin: SocketAddr,
}

impl Watched {
    #[track_caller]
    pub(crate) fn start(env: &[(&str, &str)], args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let env = [env, &[("ADMIN_PORT", &port), ("NESSEN_ADMIN_HOST", "127.0.0.1")]].concat();
        let server = Server::start_with(&env, args);
        let admin = SocketAddr::new(server.address.ip(), port.parse().unwrap());
        Self { server, admin }
    }

    /// The answer of the admin port to a GET with these further fields.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str, host: &str, fields: &str) -> Response {
        let mut conn = Conn::open(self.admin);
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").as_bytes());
        conn.read_response()
    }

    #[track_caller]
    pub(crate) fn page(&self) -> String {
        let answer = self.ask("/", "127.0.0.1", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    /// A metric, asked of the admin port.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.ask("/metrics", "nessen.test", "").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}
