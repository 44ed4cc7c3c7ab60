//! A way from the client to the upstream, and all cases sent along it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::observe::{Observed, observe};
use super::peers::{Kind, Line, Peer};
use crate::support::client::{Client, Request};
use crate::support::server::Server;
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::values;

const THREADS: usize = 24;

/// A request, as the last on the way parsed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) length: u64,
    pub(super) hash: u64,
    pub(super) token: String,
}

/// Client, Nessen, upstream; and a peer before or behind Nessen.
pub(super) struct Chain {
    server: Server,
    front: Option<Peer>,
    back: Option<Peer>,
    upstream: Upstream,
}

/// Nessen on its way to `upstream`; the shorter its patience, the shorter a case that never ends.
fn nessen(upstream: SocketAddr, patience: &str) -> Server {
    Server::start(&[
        ("UPSTREAM", &format!("http://{upstream}")),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("MAX_CONNECTIONS_PER_IP", "0"),
        ("HEADERS_TIMEOUT", patience),
        ("BODY_TIMEOUT", patience),
        ("NESSEN_UPSTREAM_RETRIES", "0"),
        ("NESSEN_UPSTREAM_EJECT_AFTER", "off"),
        // Node closes what is idle, and says so only by closing.
        ("NESSEN_UPSTREAM_KEEPALIVE_TIMEOUT", "2s"),
    ])
}

const SHORT: &str = "400ms";
const LONG: &str = "1500ms";

impl Chain {
    pub(super) fn direct() -> Self {
        let upstream = Upstream::start();
        Self { server: nessen(upstream.address, SHORT), front: None, back: None, upstream }
    }

    pub(super) fn behind(kind: Kind) -> Option<Self> {
        let upstream = Upstream::start();
        let server = nessen(upstream.address, LONG);
        let front = Peer::front(kind, server.address)?;
        Some(Self { server, front: Some(front), back: None, upstream })
    }

    pub(super) fn before(kind: Kind) -> Option<Self> {
        let upstream = Upstream::start();
        let back = Peer::back(kind, upstream.address)?;
        Some(Self { server: nessen(back.address(), SHORT), front: None, back: Some(back), upstream })
    }

    fn entry(&self) -> SocketAddr {
        self.front.as_ref().map_or(self.server.address, Peer::address)
    }

    /// What Nessen's log says of each request that came to it.
    fn nessen_lines(&self) -> Vec<(Line, bool)> {
        let text = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = self.server.log().into_iter().filter(|line| line["request_id"].is_string());
        let line = |line: serde_json::Value| {
            let status = line["status"].as_u64().unwrap_or(0) as u16;
            let reason = text(&line, "reason");
            let (id, method, target) =
                (text(&line, "request_id"), text(&line, "method"), text(&line, "path"));
            (Line { id, answered: reason, status, method, target, whole: true }, line["upstream"].is_string())
        };
        lines.map(line).collect()
    }

    /// What the first of the two sent on, and the second was sent: nothing on a way without a peer.
    pub(super) fn hop(&self) -> (Vec<Line>, Vec<Line>) {
        let ours = self.nessen_lines();
        match (&self.front, &self.back) {
            (Some(front), _) => (front.sent(), ours.into_iter().map(|(line, _)| line).collect()),
            (_, Some(back)) => {
                let sent = ours.into_iter().filter(|(_, sent)| *sent);
                (sent.map(|(line, _)| Line { answered: String::new(), ..line }).collect(), back.received())
            }
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// Whether Nessen is the second of the two.
    pub(super) fn has_front(&self) -> bool {
        self.front.is_some()
    }

    /// Every request that came to the end of the way, and the id that it came with.
    pub(super) fn parsed(&self) -> Vec<(String, Parsed)> {
        let first = |fields: &_, name: &str| {
            values(fields, name).first().map_or(String::new(), |id| (*id).to_owned())
        };
        let mut parsed: Vec<_> = self
            .upstream
            .seen()
            .into_iter()
            .map(|seen| {
                let host = first(&seen.fields, "host").to_ascii_lowercase();
                let (id, token) = (first(&seen.fields, "x-request-id"), seen.token().to_owned());
                let Digest { length, hash } = seen.body;
                (id, Parsed { method: seen.method, target: seen.target, host, length, hash, token })
            })
            .collect();
        let log = self.back.as_ref().map(Peer::log).unwrap_or_default();
        for line in log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            if line["id"].is_null() {
                continue;
            }
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let length = line["length"].as_u64().unwrap_or_default();
            let hash = u64::from_str_radix(&text("hash"), 16).unwrap_or_default();
            let (method, target, host) = (text("method"), text("target"), text("host").to_ascii_lowercase());
            parsed.push((text("id"), Parsed { method, target, host, length, hash, token: text("token") }));
        }
        parsed
    }

    /// What the parser at the end of the way could not read.
    pub(super) fn unreadable(&self) -> Vec<String> {
        let log = self.back.as_ref().map(Peer::log).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let faults = lines.filter_map(|line| line["fault"].as_str().map(str::to_owned));
        // A message that was given up on half way is no fault of framing.
        faults
            .filter(|fault| fault.starts_with("HPE_") && !fault.starts_with("HPE_INVALID_EOF_STATE"))
            .collect()
    }

    /// Sends all cases along it, while others ask for what is nobody's fault; returns what came back,
    /// and what went wrong for the others.
    pub(super) fn run(&self, cases: &[(String, Vec<u8>)]) -> (Vec<Observed>, Vec<String>) {
        let next = AtomicUsize::new(0);
        let done = AtomicBool::new(false);
        let observed: Mutex<HashMap<usize, Observed>> = Mutex::new(HashMap::new());
        let faults = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..2 {
                let (done, faults) = (&done, &faults);
                scope.spawn(move || self.stand_by(number, done, faults));
            }
            let senders: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        while let Some((at, case)) = next_of(cases, &next) {
                            let seen = observe(self.entry(), at, &case.1);
                            observed.lock().unwrap().insert(at, seen);
                        }
                    })
                })
                .collect();
            for sender in senders {
                sender.join().expect("a sender");
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut observed = observed.into_inner().unwrap();
        let in_order = (0..cases.len()).map(|at| observed.remove(&at).expect("each case was sent"));
        (in_order.collect(), faults.into_inner().unwrap())
    }

    /// Somebody who asks in order, on the same connections to the upstream as everybody else.
    fn stand_by(&self, number: usize, done: &AtomicBool, faults: &Mutex<Vec<String>>) {
        let mut client: Option<Client> = None;
        for round in 0.. {
            if done.load(Ordering::Relaxed) {
                return;
            }
            let token = format!("bystander-{number}-{round}");
            let body = token.repeat(round % 7).into_bytes();
            let request = Request::post(&token, "ok", &body);
            let open = client.get_or_insert_with(|| Client::open(self.entry()));
            match open.try_ask(&request) {
                Ok(answer) if answer.status == 200 && answer.all("x-token") == [token.as_str()] => {
                    let told = answer.json();
                    let hash = format!("{:016x}", Digest::of(&body).hash);
                    if (told["length"].as_u64(), told["hash"].as_str())
                        != (Some(body.len() as u64), Some(&hash))
                    {
                        faults.lock().unwrap().push(format!("{token} became {told}"));
                    }
                    if answer.says_close() {
                        client = None;
                    }
                }
                other => {
                    faults.lock().unwrap().push(format!("{token} was answered {other:?}"));
                    client = None;
                }
            }
        }
    }
}

fn next_of<'a, T>(all: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    all.get(at).map(|one| (at, one))
}
