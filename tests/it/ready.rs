//! Readiness checks against dependencies that the test plays: what `/ready`, the metrics and the log
//! say, and that nothing else is touched.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const REDIS_WELL: &[u8] = b"+PONG\r\n";
const REDIS_ILL: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
const HTTP_WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const HTTP_ILL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const POSTGRES_WELL: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const POSTGRES_ILL: &[u8] = b"E\0\0\0\x24SFATAL\0C57P03\0Mstarting up now\0\0";

/// A dependency with something to say, to one connection after the other.
struct Dependency {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
}

#[derive(Default)]
struct Says {
    /// To the next ones, each once.
    next: VecDeque<&'static [u8]>,
    /// To all others; nothing: they are left waiting.
    always: &'static [u8],
    asked: usize,
    waiting: Vec<TcpStream>,
}

impl Dependency {
    fn saying(always: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(Says { always, ..Says::default() }));
        let shared = says.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                // Somebody who only looks whether there is a listener says nothing, and closes.
                let _ = stream.read(&mut [0; 1024]);
                let mut says = shared.lock().unwrap();
                says.asked += 1;
                let answer = says.next.pop_front().unwrap_or(says.always);
                if answer.is_empty() {
                    says.waiting.push(stream);
                } else {
                    let _ = stream.write_all(answer);
                }
            }
        });
        Self { address, says }
    }

    fn always_say(&self, always: &'static [u8]) {
        self.says.lock().unwrap().always = always;
    }

    fn asked(&self) -> usize {
        self.says.lock().unwrap().asked
    }
}

fn check(name: &str, kind: &str, place: &str, lines: &str) -> String {
    format!("[[check]]\nname = \"{name}\"\n{kind} = \"{place}\"\n{lines}\n")
}

#[track_caller]
fn serve(checks: &str) -> (Server, Folder) {
    let folder = Folder::new();
    folder.write("nessen.toml", checks);
    let server = Server::start_with(&[("DRAIN_DELAY", "0")], &["--config", &folder.path("nessen.toml")]);
    (server, folder)
}

fn ready(server: &Server) -> (u16, Value) {
    let answer = server.get("/ready");
    (answer.status, answer.json())
}

#[track_caller]
fn wait_ready(server: &Server, status: u16) -> Value {
    let mut told = Value::Null;
    assert_eventually(PATIENCE, &format!("{status} on /ready"), || {
        let (now, body) = ready(server);
        told = body;
        now == status
    });
    told
}

fn gauge(server: &Server, name: &str) -> f64 {
    server.metrics()[&format!("nessen_check_ok{{check=\"{name}\"}}")]
}

const QUICK: &str = "interval = \"10ms\"\ntimeout = \"5s\"\nfall = 1\nrise = 1";

#[test]
fn each_kind_of_check_tells_well_from_ill() {
    let redis = Dependency::saying(REDIS_WELL);
    let postgres = Dependency::saying(POSTGRES_WELL);
    let http = Dependency::saying(HTTP_WELL);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_place = tcp.local_addr().unwrap().to_string();
    let (server, _folder) = serve(
        &[
            check("cache", "redis", &redis.address.to_string(), QUICK),
            check("database", "postgres", &postgres.address.to_string(), QUICK),
            check("api", "http", &format!("http://localhost:{}/up?x=1", http.address.port()), QUICK),
            check("queue", "tcp", &tcp_place, QUICK),
        ]
        .concat(),
    );
    let told = wait_ready(&server, 200);
    for name in ["cache", "database", "api", "queue"] {
        assert_eq!(told["checks"][name]["status"], "ok", "{told}");
        assert_eq!(gauge(&server, name), 1.0, "{name}");
    }
    let one_ill = |name: &str, dependency: &Dependency, ill, well, error: &str| {
        dependency.always_say(ill);
        let told = wait_ready(&server, 503);
        assert_eq!(told["checks"][name]["status"], "failing", "{told}");
        assert!(told["reason"].as_str().unwrap_or_default().contains(name), "{told}");
        assert!(told["checks"][name]["error"].as_str().unwrap_or_default().contains(error), "{told}");
        assert_eq!(gauge(&server, name), 0.0, "{name}");
        assert_eq!(server.metrics()["nessen_ready"], 0.0);
        // It makes /ready 503 and nothing else.
        assert_eq!((server.get("/health").status, server.get("/badge/a/b.svg").status), (200, 200));
        let line = server.wait_log(name, |line| line["check"] == name && line["level"] == "WARN");
        assert_eq!(line["message"], "readiness check fails");
        dependency.always_say(well);
        wait_ready(&server, 200);
        assert_eq!(gauge(&server, name), 1.0, "{name}");
        server.wait_log(name, |line| line["check"] == name && line["message"] == "readiness check passes");
    };
    one_ill("cache", &redis, REDIS_ILL, REDIS_WELL, "LOADING");
    one_ill("database", &postgres, POSTGRES_ILL, POSTGRES_WELL, "starting up now");
    one_ill("api", &http, HTTP_ILL, HTTP_WELL, "answered 503");
    drop(tcp);
    let told = wait_ready(&server, 503);
    assert_eq!(told["checks"]["queue"]["status"], "failing", "{told}");
    let _back = TcpListener::bind(&*tcp_place).unwrap();
    wait_ready(&server, 200);
}

#[test]
fn a_dependency_that_flaps_changes_nothing_until_it_insists() {
    let redis = Dependency::saying(REDIS_WELL);
    let lines = "interval = \"10ms\"\ntimeout = \"5s\"\nfall = 3\nrise = 2";
    let (server, _folder) = serve(&check("cache", "redis", &redis.address.to_string(), lines));
    wait_ready(&server, 200);
    // Two failures are one too few, however often they come.
    redis.says.lock().unwrap().next = [REDIS_ILL, REDIS_ILL, REDIS_WELL].repeat(100).into();
    let from = redis.asked();
    let mut doubted = false;
    while redis.asked() < from + 60 || !doubted {
        assert!(redis.asked() < from + 300, "the doubts are told");
        let (status, told) = ready(&server);
        assert_eq!(status, 200, "{told}");
        doubted |= told["checks"]["cache"]["failures"].is_number();
    }
    assert!(server.log().iter().all(|line| line["message"] != "readiness check fails"));
    redis.always_say(REDIS_ILL);
    wait_ready(&server, 503);
    // One good answer is one too few.
    redis.says.lock().unwrap().next = [REDIS_WELL, REDIS_ILL].repeat(20).into();
    let from = redis.asked();
    while redis.asked() < from + 40 {
        let (status, told) = ready(&server);
        assert_eq!(status, 503, "{told}");
    }
    redis.always_say(REDIS_WELL);
    wait_ready(&server, 200);
    let told = |message: &str| server.log().iter().filter(|line| line["message"] == message).count();
    // The answer may be there before its line.
    assert_eventually(PATIENCE, "the second line", || told("readiness check passes") >= 2);
    assert_eq!((told("readiness check fails"), told("readiness check passes")), (1, 2));
}

#[test]
fn a_dependency_that_never_answers_fails_in_time_and_costs_one_connection() {
    let silent = Dependency::saying(b"");
    let checks: String = ["redis", "postgres"]
        .map(|kind| {
            let lines = "interval = \"10ms\"\ntimeout = \"100ms\"\nfall = 1";
            check(kind, kind, &silent.address.to_string(), lines)
        })
        .concat();
    let (server, _folder) = serve(&checks);
    let told = wait_ready(&server, 503);
    assert_eq!(told["state"], "RUNNING", "{told}");
    assert_eventually(PATIENCE, "the reason", || {
        let (_, told) = ready(&server);
        ["redis", "postgres"].iter().all(|kind| told["checks"][kind]["error"] == "no answer within 100 ms")
    });
    let before = server.descriptors();
    let from = silent.asked();
    assert_eventually(PATIENCE, "more questions", || silent.asked() > from + 10);
    assert!(server.descriptors() <= before + 4, "{} and {before} before", server.descriptors());
}

#[test]
fn until_a_check_has_answered_nobody_is_sent_here() {
    let silent = Dependency::saying(b"");
    let (server, _folder) =
        serve(&check("cache", "redis", &silent.address.to_string(), "interval = \"10ms\"\ntimeout = \"1h\""));
    assert_eventually(PATIENCE, "the question", || silent.asked() == 1);
    let (status, told) = ready(&server);
    assert_eq!((status, &told["checks"]["cache"]["status"]), (503, &"pending".into()), "{told}");
    assert_eq!((gauge(&server, "cache"), server.get("/health").status), (0.0, 200));
    let waiting = silent.says.lock().unwrap().waiting.pop();
    waiting.unwrap().write_all(REDIS_WELL).unwrap();
    wait_ready(&server, 200);
}

#[test]
fn a_name_that_nobody_has_is_a_reason() {
    let lines = "interval = \"10ms\"\ntimeout = \"2s\"\nfall = 1";
    let (server, _folder) = serve(&check("api", "http", "http://nobody.invalid/up", lines));
    let told = wait_ready(&server, 503);
    assert_eq!(told["reason"].as_str().map(|reason| reason.contains("api")), Some(true), "{told}");
    assert_eventually(Duration::from_secs(10), "an error", || {
        let (_, told) = ready(&server);
        told["checks"]["api"]["error"].as_str().is_some_and(|error| !error.is_empty())
    });
}
