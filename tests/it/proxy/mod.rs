//! The reverse proxy between a client and an upstream that are both in the test.
//!
//! The upstream fails the test where it is sent what is not well formed, and the client reads
//! answers strictly: what each module asserts comes on top of that.

mod balance;
mod basics;
mod expect;
mod fates;
mod faults;
mod forwarding;
mod headers;
mod hostile;
mod http2_upstream;
mod itself;
mod mixed;
mod property;
mod real;
mod reload;
mod retry;
pub(crate) mod smuggling;
mod streaming;
mod tls;
mod tls_certificates;
mod tls_reload;
mod tls_tools;
mod trailers;
mod upgrade;
mod volume;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::client::{Answer, Client, Request};
use crate::support::client2::Client2;
use crate::support::say;
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

/// No failure of one test is to end up in the next: an upstream stays in use whatever it does.
pub(super) const NO_EJECTION: (&str, &str) = ("NESSEN_UPSTREAM_EJECT_AFTER", "off");

/// A proxy in front of `upstream`, with these settings.
#[track_caller]
pub(super) fn proxy(upstream: &Upstream, env: &[(&str, &str)]) -> Server {
    proxy_to(&upstream.url(), env)
}

/// The same, for a URL.
#[track_caller]
pub(super) fn proxy_to(url: &str, env: &[(&str, &str)]) -> Server {
    let ours = [("UPSTREAM", url), ("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0"), ("DRAIN_DELAY", "0")];
    Server::start(&[&ours, env].concat())
}

/// One request on a connection of its own.
#[track_caller]
pub(super) fn ask(server: &Server, request: &Request) -> Answer {
    Client::open(server.address).ask(request)
}

/// A client that keeps its connection for as long as it is let.
struct Caller<'a> {
    server: &'a Server,
    open: Option<Client>,
}

impl<'a> Caller<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, open: None }
    }

    #[track_caller]
    fn ask(&mut self, request: &Request) -> Answer {
        let mut client = self.open.take().unwrap_or_else(|| Client::open(self.server.address));
        let answer = client.ask(request);
        self.open = (answer.cut.is_none() && !answer.says_close()).then_some(client);
        answer
    }
}

/// A runtime for clients and upstreams of HTTP/2.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The same over HTTP/2.
pub(super) fn ask2(server: &Server, request: &Request) -> Result<Answer, Broken> {
    runtime().block_on(async { Client2::open(server.address).await.ask(request).await })
}

/// The sum of all samples of a metric whose labels hold each of these words.
pub(super) fn sum(server: &Server, name: &str, labels: &[&str]) -> f64 {
    let metrics = server.metrics();
    let ours = metrics.iter().filter(|(sample, _)| {
        let base = sample.split('{').next().unwrap_or_default();
        base == name && labels.iter().all(|label| sample.contains(label))
    });
    ours.map(|(_, value)| value).sum()
}

/// A file that is gone with the test.
pub(super) struct TempFile(PathBuf);

impl TempFile {
    pub(super) fn new(name: &str, text: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{name}", std::process::id());
        let file = Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.write(text);
        file
    }

    pub(super) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A proxy with this route table.
#[track_caller]
pub(super) fn proxy_with(table: &TempFile, env: &[(&str, &str)]) -> Server {
    let ours = [("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0"), ("DRAIN_DELAY", "0")];
    Server::start_with(&[&ours, env].concat(), &["--config", table.path()])
}

/// A route to each of these URLs.
pub(super) fn route(path: &str, urls: &[String]) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = {urls:?}\n")
}
