//! Under a service manager: sockets that it opened, and what it is told.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::half_a_request;
use crate::support::PATIENCE;
use crate::support::folder::Folder;
use crate::support::http1::{Conn, get};
use crate::support::server::{Process, Server};

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A service manager's ear.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(folder: &Folder) -> Self {
        let path = folder.at("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    fn address(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The next message; keep-alives are passed over unless `all` are wanted.
    fn next(&self, all: bool) -> String {
        let mut buffer = [0; 1024];
        loop {
            let count = self.socket.recv(&mut buffer).expect("the manager is told");
            let message = String::from_utf8(buffer[..count].to_vec()).unwrap();
            if all || !message.contains("WATCHDOG=1") {
                return message;
            }
        }
    }
}

#[test]
fn the_manager_is_told_of_each_step() {
    let folder = Folder::new();
    let manager = Manager::listen(&folder);
    let env = [("NOTIFY_SOCKET", manager.address()), ("DRAIN_DELAY", "0")];
    let mut server = Server::start(&env);
    let ready = manager.next(false);
    assert!(ready.contains("READY=1\n"), "{ready:?}");
    assert!(ready.contains(&format!("STATUS=serving on {}", server.address)), "{ready:?}");
    assert_eq!(server.get("/ready").status, 200, "what is told is true");
    server.signal(Signal::HUP);
    let reloading = manager.next(false);
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading:?}");
    assert!(manager.next(false).contains("READY=1"));
    let mut open = half_a_request(&server);
    server.signal(Signal::TERM);
    assert!(manager.next(false).contains("STOPPING=1"), "before the drain is over");
    open.send(b"world");
    assert_eq!(open.read_response().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_manager_that_watches_is_kept_assured() {
    let folder = Folder::new();
    let manager = Manager::listen(&folder);
    let _server = Server::start(&[("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "100000")]);
    let mut signs = 0;
    while signs < 5 {
        signs += u32::from(manager.next(true).contains("WATCHDOG=1"));
    }
}

#[test]
fn a_manager_that_is_gone_costs_nothing() {
    let server = Server::start(&[("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "100000")]);
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn sockets_that_were_opened_for_it_are_served() {
    let (http, admin) = (socket(), socket());
    let (main, other) = (http.local_addr().unwrap(), admin.local_addr().unwrap());
    let process = Process::start_with_sockets([Some(("admin", &admin)), Some(("http", &http))], &[]);
    let server = Server::listening(process);
    assert_eq!(server.address, main, "and not server.port");
    let status = |address, path| {
        let mut conn = Conn::open(address);
        conn.send(&get(path));
        conn.read_response().status
    };
    assert_eq!((status(main, "/"), status(main, "/metrics")), (200, 404));
    assert_eq!((status(other, "/metrics"), status(other, "/ready")), (200, 200));
}

#[test]
fn what_connects_between_two_processes_is_served_by_the_second() {
    let http = socket();
    let address = http.local_addr().unwrap();
    let start = || {
        let process = Process::start_with_sockets([Some(("http", &http)), None], &[("DRAIN_DELAY", "0")]);
        Server::listening(process)
    };
    let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut conn = Conn::open(address);
                conn.send(b"GET / HTTP/1.1\r\nHost: nessen.test\r\nConnection: close\r\n\r\n");
                assert_eq!(conn.read_response().status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..5 {
            let mut server = start();
            let before = served.load(Ordering::Relaxed);
            crate::support::assert_eventually(PATIENCE, "requests served", || {
                served.load(Ordering::Relaxed) > before + 20
            });
            // The port answers all the time, while nobody serves it too.
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(), 0);
        }
        let _last = start();
        stop.store(true, Ordering::Relaxed);
        client.join().unwrap();
    });
}

#[test]
fn sockets_that_cannot_be_served_are_a_mistake_of_the_unit() {
    let (first, second) = (socket(), socket());
    let connected = std::net::TcpStream::connect(first.local_addr().unwrap()).unwrap();
    let idle = TcpListener::from(std::os::fd::OwnedFd::from(connected));
    for sockets in [[Some(("a", &first)), Some(("b", &second))], [Some(("a", &idle)), None]] {
        let mut process = Process::start_with_sockets(sockets, &[]);
        assert_eq!(process.wait_exit(Duration::from_secs(10)), Some(Ok(78)));
    }
}
