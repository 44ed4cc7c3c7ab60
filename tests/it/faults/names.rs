//! Name servers that stop answering. What was known goes on being used, nobody waits, and what
//! changed meanwhile is found once they are back.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Held, allowed, assert_probes, own_mounts};
use crate::proxy::sum;
use crate::support::client::{Client, Request};
use crate::support::folder::Folder;
use crate::support::server::{Process, Server};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually, pause};

const FAILURES: &str = "nessen_upstream_lookup_failures_total";

/// What a name server says to every question for an IPv4 address; `None`: nothing to any question.
type Reply = Arc<Mutex<Option<Ipv4Addr>>>;

/// A name server, on the one port that a `resolv.conf` can name.
struct Names {
    address: Ipv4Addr,
    reply: Reply,
    asked: Arc<AtomicUsize>,
    _folder: Folder,
    mounts: Vec<String>,
    conf: String,
}

impl Names {
    /// On a loopback address of the test's own, if that may be had.
    fn start(number: u8) -> Option<Self> {
        let mounts = own_mounts()?;
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | (number << 2), high, low.max(1));
        let socket = UdpSocket::bind((address, 53));
        if !allowed("port 53", socket.is_ok()) {
            return None;
        }
        let (reply, asked) = (Reply::default(), Arc::new(AtomicUsize::new(0)));
        let (socket, told, count) = (socket.unwrap(), reply.clone(), asked.clone());
        std::thread::spawn(move || serve(&socket, &told, &count));
        let folder = Folder::new();
        folder.write("resolv.conf", format!("nameserver {address}\n"));
        let conf = folder.path("resolv.conf");
        Some(Self { address, reply, asked, _folder: folder, mounts, conf })
    }

    fn say(&self, address: Option<Ipv4Addr>) {
        *self.reply.lock().unwrap() = address;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Another address of the same network, for upstreams.
    fn neighbour(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, d] = self.address.octets();
        Ipv4Addr::new(a, b | number, c, d)
    }

    /// A proxy that knows of this name server alone.
    #[track_caller]
    fn proxy(&self, port: u16, env: &[(&str, &str)]) -> Server {
        let script = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", self.conf);
        let program = self.mounts.iter().map(String::as_str).chain(["sh", "-c", script.as_str()]);
        let url = format!("http://service.test:{port}");
        let ours = [
            ("UPSTREAM", url.as_str()),
            ("NESSEN_UPSTREAM_RESOLVE_INTERVAL", "1s"),
            ("NESSEN_UPSTREAM_CONNECT_TIMEOUT", "500ms"),
            ("DRAIN_DELAY", "0"),
        ];
        let program: Vec<_> = program.collect();
        Server::listening(Process::start_by(&program, &[&ours, env].concat(), &[]))
    }
}

/// RFC 1035 section 4.1: the question comes back, with one record that holds for a second.
fn serve(socket: &UdpSocket, reply: &Reply, asked: &AtomicUsize) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        asked.fetch_add(1, Ordering::Relaxed);
        let Some(address) = *reply.lock().unwrap() else { continue };
        let mut end = 12;
        while query[end] != 0 {
            end += 1 + usize::from(query[end]);
        }
        let question = &query[12..(end + 5).min(length)];
        let is_ipv4 = query[end + 1..end + 3] == [0, 1];
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
        answer.extend(question);
        if is_ipv4 {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.octets());
        }
        let _ = socket.send_to(&answer, client);
    }
}

/// One request, and how long it took.
fn ask(server: &Server) -> (u16, String, Duration) {
    let began = Instant::now();
    let answer = Client::open(server.address).ask(&Request::get("t", "ok"));
    let upstream = answer.field("x-upstream").unwrap_or_default().to_owned();
    (answer.status, upstream, began.elapsed())
}

fn said(server: &Server, message: &str) -> usize {
    server.log().iter().filter(|line| line["message"] == message).count()
}

#[test]
fn what_was_resolved_is_used_while_name_servers_are_silent() {
    let Some(names) = Names::start(0) else { return };
    let first = Upstream::at((names.neighbour(1), 0).into(), "first");
    let port = first.address.port();
    let second = Upstream::at(SocketAddr::from((names.neighbour(2), port)), "second");
    names.say(Some(names.neighbour(1)));
    let server = names.proxy(port, &[]);
    assert_eventually(PATIENCE, "an upstream", || ask(&server).0 == 200);
    let held = Held::by(&server);

    names.say(None);
    let asked = names.asked();
    let failures = || sum(&server, FAILURES, &[]);
    let mut slowest = Duration::ZERO;
    assert_eventually(PATIENCE, "a lookup that failed", || {
        let (status, upstream, took) = ask(&server);
        assert_eq!((status, upstream.as_str()), (200, "first"));
        slowest = slowest.max(took);
        pause(20);
        failures() > 0.0
    });
    assert!(names.asked() > asked, "nobody was asked");
    assert!(slowest < Duration::from_secs(2), "a request took {slowest:?}: it waited for names");
    assert_probes(&server);
    assert_eventually(PATIENCE, "a word of it", || said(&server, "the name does not resolve") >= 1);
    assert_eq!(said(&server, "the name does not resolve"), 1, "once, not for each lookup or request");
    held.assert_no_more(&server);

    names.say(Some(names.neighbour(2)));
    let began = Instant::now();
    assert_eventually(PATIENCE, "the other address", || ask(&server).1 == "second");
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    assert_eventually(PATIENCE, "a word of it", || said(&server, "the name resolves again") == 1);
    let counted = failures();
    assert_eq!((ask(&server).1.as_str(), failures()), ("second", counted));
    assert_eq!(server.rejections("upstream_unreachable"), 0.0);
    drop(second);
}

#[test]
fn a_start_without_name_servers_is_made_good_by_itself() {
    let Some(names) = Names::start(1) else { return };
    let upstream = Upstream::at((names.neighbour(1), 0).into(), "only");
    let server = names.proxy(upstream.address.port(), &[]);
    assert_probes(&server);
    let (status, _, took) = ask(&server);
    assert_eq!(status, 502);
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    assert_eventually(PATIENCE, "a lookup that failed", || sum(&server, FAILURES, &[]) > 0.0);
    let mut took = PATIENCE;
    for _ in 0..3 {
        let (status, _, this) = ask(&server);
        assert_eq!(status, 502);
        took = took.min(this);
    }
    assert!(took < Duration::from_secs(1), "it waited {took:?} for what is known to fail");
    assert!(server.rejections("upstream_unreachable") >= 2.0);
    names.say(Some(names.neighbour(1)));
    let began = Instant::now();
    assert_eventually(PATIENCE, "an upstream", || ask(&server).0 == 200);
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    assert_eq!(said(&server, "the name does not resolve"), 1);
}
