//! nginx, HAProxy and Node between a client and an upstream, and what they say they did.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::folder::Folder;
use crate::support::installed;
use crate::support::program::{self, Running, free};

/// One request, as somebody on its way tells it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The id that it came with, or was given here; empty where there is none.
    pub(super) id: String,
    /// The id in the answer that was got for it; empty where none was got, or it is not known.
    pub(super) answered: String,
    pub(super) status: u16,
    pub(super) method: String,
    pub(super) target: String,
    /// Whether it was all there, where who sends it on says so. nginx gives up what is not.
    pub(super) whole: bool,
}

/// What stands beside Nessen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    /// One that says of each body that there is none, and sends it all the same.
    BrokenNginx,
    Haproxy,
    Node,
}

/// One of them, running.
pub(super) struct Peer {
    folder: Folder,
    running: Running,
    kind: Kind,
}

/// A front is short of patience, so that who waits behind it is not the one to give up.
const SHORT: &str = "400ms";
const LONG: &str = "1500ms";

impl Peer {
    /// In front of Nessen: it gives each request an id. Nothing where it is not installed.
    pub(super) fn front(kind: Kind, to: SocketAddr) -> Option<Self> {
        Self::start(kind, to, SHORT, true)
    }

    /// Behind Nessen, whose ids it reads, and before `to`.
    pub(super) fn back(kind: Kind, to: SocketAddr) -> Option<Self> {
        Self::start(kind, to, LONG, false)
    }

    fn start(kind: Kind, to: SocketAddr, patience: &str, front: bool) -> Option<Self> {
        let (folder, address) = (Folder::new(), free());
        let running = match kind {
            Kind::Nginx => {
                program::nginx(&folder, address, &nginx(&folder, address, to, patience, front, ""))?
            }
            Kind::BrokenNginx => {
                let broken = "proxy_set_header Content-Length 0;";
                program::nginx(&folder, address, &nginx(&folder, address, to, patience, front, broken))?
            }
            Kind::Haproxy => program::haproxy(&folder, address, &haproxy(address, to, patience, front))?,
            Kind::Node => {
                let node = installed("node")?;
                let script = folder.write("app.js", NODE).path("app.js");
                let port = address.port().to_string();
                Running::start_logged(&folder, "log", &node, &[&script, &port], address)
            }
        };
        Some(Self { folder, running, kind })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// What it wrote.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read(self.folder.at("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Every request that it sent on, by the ids that it gave.
    pub(super) fn sent(&self) -> Vec<Line> {
        self.lines()
            .into_iter()
            .filter(|line| line.sent)
            .map(|line| Line { id: line.given, ..line.line })
            .collect()
    }

    /// Every request that it was sent, by the ids that came with them.
    pub(super) fn received(&self) -> Vec<Line> {
        self.lines().into_iter().map(|line| line.line).collect()
    }

    fn lines(&self) -> Vec<Logged> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| logged(line, self.kind));
        // The first connection only asked whether it listens.
        lines.filter(|line| !(line.line.method == "<BADREQ>" && line.line.status == 0)).collect()
    }
}

struct Logged {
    given: String,
    sent: bool,
    line: Line,
}

/// given id | id that came | id of the answer | whom it was sent to | status | how it ended | method | target
fn logged(line: &str, kind: Kind) -> Option<Logged> {
    if kind == Kind::Node {
        return None;
    }
    let bare = |field: &str| {
        let field = field.trim_matches(['{', '}']);
        if field == "-" { String::new() } else { field.to_owned() }
    };
    let parts: Vec<&str> = line.splitn(8, '|').collect();
    let [given, came, answered, to, status, end, method, target] = parts.as_slice() else { return None };
    let status = status.parse().unwrap_or(0);
    let line = Line {
        id: bare(came),
        answered: bare(answered),
        status,
        method: bare(method),
        target: bare(target),
        // HAProxy begins with a `c` where the client's time was over.
        whole: !end.starts_with('c'),
    };
    Some(Logged { given: bare(given), sent: !matches!(*to, "-" | "" | "<NOSRV>"), line })
}

/// nginx as it is shipped beside Nessen, but for its limits on one client.
fn nginx(
    folder: &Folder,
    address: SocketAddr,
    to: SocketAddr,
    patience: &str,
    front: bool,
    more: &str,
) -> String {
    let shipped = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx/snippets").join(file);
    let (headers, proxy) = (shipped("headers.conf"), shipped("proxy.conf"));
    let (headers, proxy) = (headers.display(), proxy.display());
    // As a front it tells who asked, as an application's own server it leaves everything as it came.
    let passing = if front {
        format!("include {proxy};")
    } else {
        "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_request_buffering off; proxy_next_upstream off;"
            .to_owned()
    };
    format!(
        "log_format framing escape=none '$request_id|$http_x_request_id|$upstream_http_x_request_id|$upstream_addr|$status|--|\
         $request_method|$request_uri';\n\
         access_log {log} framing;\n\
         client_header_timeout {patience}; client_body_timeout {patience}; lingering_timeout 100ms;\n\
         client_max_body_size 2m; large_client_header_buffers 4 8k; keepalive_requests 1000;\n\
         include {headers};\n\
         upstream behind {{ server {to}; keepalive 64; keepalive_timeout 60s; }}\n\
         server {{ listen {address}; location / {{ {passing}\n{more}\nproxy_pass http://behind; }} }}\n",
        log = folder.path("log"),
    )
}

fn haproxy(address: SocketAddr, to: SocketAddr, patience: &str, front: bool) -> String {
    let naming = if front {
        " unique-id-format %[uuid()]\n http-request del-header X-Request-Id\n\
         \x20http-request set-header X-Request-Id %[unique-id]\n"
    } else {
        ""
    };
    format!(
        "global\n maxconn 512\n nbthread 1\n log stdout len 4096 format raw local0 info\n\
         defaults\n mode http\n log global\n option dontlognull\n timeout connect 5s\n timeout client {patience}\n\
         \x20timeout http-request {patience}\n timeout http-keep-alive {LONG}\n timeout server 20s\n\
         \x20http-reuse always\n retries 0\n\
         frontend front\n bind {address}\n{naming}\
         \x20capture request header X-Request-Id len 64\n capture response header X-Request-Id len 64\n\
         \x20log-format \"%ID|%hr|%hs|%s|%ST|%ts|%HM|%HU\"\n default_backend back\n\
         backend back\n server one {to}\n",
    )
}

/// An application that tells on standard output what it was asked, and answers with the token.
const NODE: &str = r#"
const http = require('http');
const hash = (body) => {
  let hash = 0xcbf29ce484222325n;
  for (const byte of body) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
};
const serve = (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    const seen = {
      id: request.headers['x-request-id'] ?? '', token: request.headers['x-token'] ?? '',
      method: request.method, target: request.url, host: request.headers.host ?? '',
      length: body.length, hash: hash(body),
    };
    process.stdout.write(JSON.stringify(seen) + '\n');
    response.setHeader('X-Token', seen.token);
    response.setHeader('X-Upstream', 'node');
    response.end(JSON.stringify(seen));
  });
};
const server = http.createServer({ keepAliveTimeout: 60000 }, serve);
server.on('checkContinue', (request, response) => { response.writeContinue(); serve(request, response); });
server.on('clientError', (error, socket) => {
  process.stdout.write(JSON.stringify({ fault: `${error.code} ${error.rawPacket ?? ''}` }) + '\n');
  socket.destroy();
});
server.listen(Number(process.argv[2]), '127.0.0.1');
"#;
