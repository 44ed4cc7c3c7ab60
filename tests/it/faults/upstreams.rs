//! An upstream that vanishes in the middle of a body: its process is killed, or it falls silent with
//! its connections open. `proxy::fates` has what it may send before that; here it is a process of its
//! own, over HTTP/1.1 and HTTP/2, with downloads and uploads under way.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Held, assert_probes, go_on, stop};
use crate::proxy::{proxy_to, sum};
use crate::support::client::{Answer, Body, Client, Request};
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::wire::{Broken, Framing, framing};
use crate::support::{PATIENCE, assert_eventually};

/// More than the sockets on the way hold.
const SIZE: usize = 48 << 20;

/// How the upstream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is killed: the kernel ends its connections.
    Killed,
    /// It stops: the kernel takes what still fits, and nothing comes back.
    Silent,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Download,
    /// Of known length.
    Upload,
    /// In chunks.
    ChunkedUpload,
}

/// An application with a large file, or one that sends back what it is sent.
struct Application {
    server: Option<Server>,
    folder: Folder,
    port: String,
    way: Way,
}

impl Application {
    fn start(way: Way) -> Self {
        let folder = Folder::new();
        folder.write("public/small", "small");
        let file = std::fs::File::create(folder.at("public/large")).unwrap();
        // Without a block of it on the disk.
        file.set_len(SIZE as u64).unwrap();
        let mut application = Self { server: None, folder, port: "0".to_owned(), way };
        application.begin();
        application.port = application.server().address.port().to_string();
        application
    }

    fn begin(&mut self) {
        let root = self.folder.path("public");
        let size = (2 * SIZE).to_string();
        let mut env = vec![
            ("NESSEN_SERVER_PORT", self.port.as_str()),
            ("MAX_BODY_SIZE", size.as_str()),
            ("NESSEN_LIMITS_MAX_RESPONSE_SIZE", "0"),
        ];
        if self.way == Way::Download {
            env.push(("ROOT", &root));
        }
        self.server = Some(Server::start(&env));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.server().address)
    }

    fn break_down(&mut self, fault: Fault) {
        match fault {
            Fault::Silent => stop(self.server()),
            Fault::Killed => {
                let mut server = self.server.take().unwrap();
                server.signal(Signal::KILL);
                assert!(server.wait_exit(PATIENCE).is_some());
            }
        }
    }

    fn return_from(&mut self, fault: Fault) {
        match fault {
            Fault::Silent => go_on(self.server()),
            Fault::Killed => self.begin(),
        }
    }
}

/// What a client has of its answer, however it ended.
fn rest(client: &mut Client, head: Result<Answer, Broken>) -> Result<(u16, usize), String> {
    let head = head.map_err(|broken| format!("{broken:?}"))?;
    let mut length = 0;
    let framing = framing(&head.fields, Framing::Close).map_err(|broken| format!("{broken:?}"))?;
    let whole = client.wire().body(framing, &mut |part| length += part.len());
    whole.map(|_| (head.status, length)).map_err(|broken| format!("{broken:?} after {length}"))
}

#[track_caller]
fn breaks(scheme: &str, way: Way, fault: Fault) {
    let what = format!("{scheme}, {way:?}, {fault:?}");
    let mut application = Application::start(way);
    let size = (2 * SIZE).to_string();
    let env = [
        ("MAX_BODY_SIZE", size.as_str()),
        ("REQUEST_TIMEOUT", "1500ms"),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", "800ms"),
        ("NESSEN_UPSTREAM_CONNECT_TIMEOUT", "800ms"),
        ("NESSEN_UPSTREAM_EJECT_TIME", "300ms"),
    ];
    let proxy = proxy_to(&application.url(scheme), &env);
    let small = match way {
        Way::Download => Request::new("GET", "/small"),
        _ => Request::new("POST", "/echo").body(Body::Whole(b"small".to_vec())),
    };
    let served =
        |proxy: &Server| Client::open(proxy.address).try_ask(&small).is_ok_and(|it| it.body == b"small");
    assert_eventually(PATIENCE, "a first answer", || served(&proxy));
    let held = Held::by(&proxy);
    let mut client = Client::open(proxy.address);
    let outcome = std::thread::scope(|scope| {
        let head = match way {
            Way::Download => {
                client.send(&Request::new("GET", "/large").bytes());
                let head = client.head();
                application.break_down(fault);
                head
            }
            Way::Upload | Way::ChunkedUpload => {
                let framed = match way {
                    Way::Upload => format!("Content-Length: {SIZE}"),
                    _ => "Transfer-Encoding: chunked".to_owned(),
                };
                client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framed}\r\n\r\n").as_bytes());
                // A part of it, and of what is sent back nothing is read.
                let part = vec![b'a'; 64 << 10];
                let part = match way {
                    Way::Upload => part,
                    _ => [b"10000\r\n", part.as_slice(), b"\r\n"].concat(),
                };
                client.send(&part.repeat(4));
                let arrived = || application.server().metrics()["http_requests_active"] > 1.0;
                assert_eventually(PATIENCE, "an upload at the upstream", arrived);
                application.break_down(fault);
                let socket = client.socket();
                scope.spawn(move || {
                    for _ in 4..SIZE / (64 << 10) {
                        if (&*socket).write_all(&part).is_err() {
                            break;
                        }
                    }
                });
                client.head()
            }
        };
        let outcome = rest(&mut client, head);
        let _ = client.socket().shutdown(std::net::Shutdown::Both);
        outcome
    });
    match outcome {
        // Never a whole answer, unless it is the proxy's own word.
        Ok((502 | 504, _)) => assert_ne!(way, Way::Download, "{what}: {outcome:?}"),
        Ok(whole) => panic!("{what}: taken for whole: {whole:?}"),
        Err(_) => {}
    }
    assert_probes(&proxy);
    let counted = || {
        let reasons = ["upstream_invalid", "upstream_timeout", "upstream_unreachable"];
        let refused: f64 = reasons.iter().map(|reason| proxy.rejections(reason)).sum();
        let failed = sum(&proxy, "nessen_upstream_requests_total", &["timeout"])
            + sum(&proxy, "nessen_upstream_requests_total", &["unreachable"]);
        refused + failed > 0.0
    };
    assert_eventually(PATIENCE, &format!("{what}: counted"), counted);
    application.return_from(fault);
    let began = Instant::now();
    assert_eventually(PATIENCE, &format!("{what}: served again"), || served(&proxy));
    assert!(began.elapsed() < Duration::from_secs(5), "{what}: after {:?}", began.elapsed());
    drop(client);
    let idle = || sum(&proxy, "nessen_upstream_connections", &["active"]) == 0.0;
    assert_eventually(PATIENCE, &format!("{what}: nothing under way"), idle);
    // A connection may be kept for the next request.
    Held { descriptors: held.descriptors + 1.0, ..held }.assert_no_more(&proxy);
}

#[test]
fn a_killed_upstream_never_completes_a_download() {
    breaks("http", Way::Download, Fault::Killed);
    breaks("h2c", Way::Download, Fault::Killed);
}

#[test]
fn a_silent_upstream_never_completes_a_download() {
    breaks("http", Way::Download, Fault::Silent);
    breaks("h2c", Way::Download, Fault::Silent);
}

#[test]
fn a_killed_upstream_never_completes_an_upload() {
    for scheme in ["http", "h2c"] {
        breaks(scheme, Way::Upload, Fault::Killed);
        breaks(scheme, Way::ChunkedUpload, Fault::Killed);
    }
}

#[test]
fn a_silent_upstream_never_completes_an_upload() {
    for scheme in ["http", "h2c"] {
        breaks(scheme, Way::Upload, Fault::Silent);
        breaks(scheme, Way::ChunkedUpload, Fault::Silent);
    }
}
