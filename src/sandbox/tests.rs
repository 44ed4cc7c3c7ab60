//! Each rule by what a process can do with it and without: the same deed is done by a thread that
//! gave nothing up, where it has to succeed, and by one that did.

#![expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting")]

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};

use super::*;

/// What `deed` comes to once this was given up; `None` where the kernel cannot hold `part`.
fn confined<T: Send + 'static>(
    rules: Rules,
    part: Part,
    deed: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let thread = std::thread::spawn(move || {
        let held = restrict(rules);
        if let Some(why) = held.lack(part) {
            assert!(std::env::var_os("NESSEN_REQUIRE_ALL").is_none(), "{why}");
            return None;
        }
        Some(deed())
    });
    thread.join().unwrap()
}

#[test]
fn random_numbers_can_be_had_from_their_devices() {
    for device in ["/dev/random", "/dev/urandom"] {
        let read = move || kind(File::open(device));
        assert_eq!(read(), Ok(()));
        let Some(found) = confined(Rules::default(), Part::Files, read) else { return };
        // A program that is linked statically has no other way to ask.
        assert_eq!(found, Ok(()), "{device}");
    }
}

#[test]
fn a_file_can_be_sent_without_being_read() {
    let folder = Folder::new("send");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (near, file) = (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), folder.at("in/file"));
    let file = File::open(file).unwrap();
    let send = move || rustix::fs::sendfile(&near, &file, Some(&mut 0), 9).map_err(io::Error::from);
    let Some(sent) = confined(Rules::default(), Part::Syscalls, send) else { return };
    assert_eq!(sent.unwrap(), 2);
}

/// A folder that is gone with the test, with `in/file`, `out/file` and `link`, which leads to `in`.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("nessen-sandbox-{name}-{}", std::process::id())));
        for part in ["in", "out"] {
            fs::create_dir_all(folder.0.join(part)).unwrap();
            fs::write(folder.0.join(part).join("file"), part).unwrap();
        }
        std::os::unix::fs::symlink("in", folder.0.join("link")).unwrap();
        folder
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kind<T>(result: io::Result<T>) -> Result<(), io::ErrorKind> {
    result.map(|_| ()).map_err(|error| error.kind())
}

const DENIED: Result<(), io::ErrorKind> = Err(io::ErrorKind::PermissionDenied);

#[test]
fn what_was_not_let_in_is_neither_read_nor_written_nor_run() {
    let folder = Folder::new("files");
    let paths = ["in/file", "link/file", "in", "out/file", "out", "in/new"].map(|path| folder.at(path));
    let deeds = move || {
        let [inside, by_link, inner, outside, outer, new] = &paths;
        let program = Command::new("/bin/true").status().map(|_| ());
        [
            ("read what was let in", kind(fs::read(inside))),
            ("by a link", kind(fs::read(by_link))),
            ("list it", kind(fs::read_dir(inner))),
            ("read another file", kind(fs::read(outside))),
            ("list another folder", kind(fs::read_dir(outer))),
            ("read the environment", kind(File::open("/proc/self/environ"))),
            ("make a file", kind(fs::write(new, ""))),
            ("write to one", kind(File::options().append(true).open(inside))),
            ("remove one", kind(fs::remove_file(new))),
            ("start a program", kind(program)),
        ]
    };
    for (deed, result) in deeds() {
        assert_eq!(result, Ok(()), "{deed}, with nothing given up");
    }
    let rules = Rules { read: vec![folder.at("in")], ..Rules::default() };
    let Some(results) = confined(rules, Part::Files, deeds) else { return };
    for (place, (deed, result)) in results.into_iter().enumerate() {
        assert_eq!(result, if place < 3 { Ok(()) } else { DENIED }, "{deed}");
    }
}

/// Deeds that Landlock says nothing of, which the list of calls refuses.
fn deeds() -> Vec<(&'static str, io::Result<()>)> {
    let plain = |result: rustix::io::Result<()>| result.map_err(io::Error::from);
    let made = |result: rustix::io::Result<std::os::fd::OwnedFd>| plain(result.map(drop));
    let own = rustix::process::getpid();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    let socket = |family, kind| made(rustix::net::socket(family, kind, None));
    vec![
        ("memory as a file", made(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()))),
        ("the routing table", socket(AddressFamily::NETLINK, SocketType::RAW)),
        ("a Unix socket", UnixDatagram::unbound().map(drop)),
        ("a signal to a process", plain(rustix::process::test_kill_process(own))),
        ("a handle of a process", {
            made(rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()))
        }),
        ("another limit", plain(rustix::process::setrlimit(rustix::process::Resource::Core, limit))),
        ("another folder to be in", plain(rustix::process::chdir("."))),
        ("another group of processes", plain(rustix::process::getpgid(None).map(drop))),
    ]
}

#[test]
fn calls_that_serving_does_not_take_are_refused() {
    for (deed, result) in deeds() {
        result.unwrap_or_else(|error| panic!("{deed}, with nothing given up: {error}"));
    }
    let attempt = || {
        let replaced = Command::new("/bin/true").exec();
        let threads = std::thread::spawn(|| 1).join().unwrap();
        (deeds(), replaced, threads)
    };
    let Some((results, replaced, threads)) = confined(Rules::default(), Part::Syscalls, attempt) else {
        return;
    };
    for (deed, result) in results {
        assert_eq!(kind(result), DENIED, "{deed}");
    }
    assert_eq!(replaced.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(threads, 1, "threads are what it runs on");
}

/// Whether a connection to `port` can be made, a port bound, a datagram socket had.
fn reach(port: u16) -> [Result<(), io::ErrorKind>; 3] {
    [
        kind(TcpStream::connect(("127.0.0.1", port))),
        kind(TcpListener::bind("127.0.0.1:0")),
        kind(UdpSocket::bind("127.0.0.1:0")),
    ]
}

#[test]
fn tcp_goes_to_the_ports_of_the_rules() {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [ours, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    assert_eq!([reach(ours), reach(other)], [[Ok(()); 3]; 2], "with nothing given up");
    for (connect, udp, expected) in [
        (None, true, [[Ok(()), DENIED, Ok(())], [Ok(()), DENIED, Ok(())]]),
        (Some(vec![ours]), false, [[Ok(()), DENIED, DENIED], [DENIED, DENIED, DENIED]]),
        (Some(vec![]), false, [[DENIED; 3]; 2]),
    ] {
        let rules = Rules { connect: connect.clone(), udp, ..Rules::default() };
        let Some(found) = confined(rules, Part::Ports, move || [reach(ours), reach(other)]) else { return };
        assert_eq!(found, expected, "{connect:?}");
    }
}

/// TCP Fast Open connects by sending.
#[test]
fn nothing_is_sent_where_no_connection_may_be_made() {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [ours, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let send = move || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let fast_open = rustix::net::SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
        rustix::net::sendto(&socket, b"x", fast_open, &other).map_err(io::Error::from)
    };
    assert_eq!(kind(send()), Ok(()), "with nothing given up");
    let rules = Rules { connect: Some(vec![ours.port()]), ..Rules::default() };
    let Some(sent) = confined(rules, Part::Ports, send) else { return };
    assert_eq!(kind(sent), DENIED);
}

/// Landlock knows TCP by its one name. On a kernel with MPTCP, that would be a way around it.
#[test]
fn no_other_protocol_stands_in_for_tcp() {
    let protocol = rustix::net::ipproto::MPTCP;
    let open = move || {
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, Some(protocol))
            .map(drop)
            .map_err(io::Error::from)
    };
    let Some(result) = confined(Rules { connect: None, ..Rules::default() }, Part::Syscalls, open) else {
        return;
    };
    assert_eq!(kind(result), DENIED);
}

#[test]
fn a_service_manager_can_be_told_where_there_is_one() {
    let folder = Folder::new("notify");
    let (path, manager) = (folder.at("socket"), UnixDatagram::bind(folder.at("socket")).unwrap());
    for (notify, expected) in [(Notify::Nowhere, DENIED), (Notify::Path, Ok(()))] {
        let path = path.clone();
        let tell = move || UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path));
        let Some(told) = confined(Rules { notify, ..Rules::default() }, Part::Syscalls, tell) else { return };
        assert_eq!(kind(told), expected, "{notify:?}");
    }
    let mut told = [0; 16];
    assert_eq!(manager.recv(&mut told).unwrap(), 7);
}

#[test]
fn a_view_knows_folders_for_what_they_are() {
    let folder = Folder::new("view");
    let mut view = View::default();
    view.add(&folder.at("in"), &fs::metadata(folder.at("in")).unwrap());
    for (path, shown) in
        [("in", true), ("in/file", true), ("link/file", true), ("out/file", false), ("", false)]
    {
        assert_eq!(view.shows(&folder.at(path)), shown, "{path:?}");
    }
    assert!(!view.shows(&folder.at("in/nothing")));
    fs::rename(folder.at("in"), folder.at("before")).unwrap();
    fs::rename(folder.at("out"), folder.at("in")).unwrap();
    assert!(!view.shows(&folder.at("in/file")), "another folder of the same name");
    assert!(view.shows(&folder.at("before/file")));
}

#[test]
fn it_is_refused_beside_threads_that_it_would_not_hold() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let error = enter(Rules::default()).unwrap_err().to_string();
    assert!(error.contains("threads run already"), "{error}");
    assert!(in_force().is_none());
    fs::read_dir("/").unwrap();
    drop(done);
    let _ = other.join().unwrap();
}

#[test]
fn what_is_not_held_is_said() {
    let lacks = vec![(Part::Ports, "too old".to_owned())];
    let held = Held {
        rules: Rules::default(),
        view: View::default(),
        landlock: Some(3),
        syscalls: Err("none".to_owned()),
        lacks,
    };
    assert_eq!(Part::ALL.map(|part| held.holds(part)), [true, false, true, false]);
    assert_eq!(held.lacks(), "ports: too old; syscalls: none");
    assert!(!held.suffices());
    assert!(Held { syscalls: Ok(80), ..held }.suffices());
}

/// The fastest of many batches, in nanoseconds a call: what else runs can only make one slower.
fn cost(mut call: impl FnMut()) -> u128 {
    const BATCH: u32 = 2_000;
    let batch = |_| {
        let began = std::time::Instant::now();
        (0..BATCH).for_each(|_| call());
        began.elapsed().as_nanos() / u128::from(BATCH)
    };
    (0..300).map(batch).min().unwrap_or_default()
}

/// A call without a condition, one with, and the opening of a file.
fn costs() -> [u128; 3] {
    let null = File::open("/dev/null").unwrap();
    let mut byte = [0];
    [
        cost(|| {
            let _ = rustix::io::read(&null, &mut byte).unwrap();
        }),
        cost(|| {
            let _ = rustix::fs::fcntl_getfl(&null).unwrap();
        }),
        cost(|| drop(File::open("/dev/null").unwrap())),
    ]
}

/// Figures for docs/sandbox.md: `just costs`
#[test]
#[ignore = "it measures time, and so runs alone: `just costs`"]
fn what_the_sandbox_costs() {
    let without = costs();
    let began = std::time::Instant::now();
    let within = std::thread::spawn(move || {
        let rules = Rules { read: vec!["/dev/null".into()], connect: Some(vec![80]), ..Rules::default() };
        let _ = restrict(rules);
        (began.elapsed(), costs())
    });
    let (entered, within) = within.join().unwrap();
    println!("entered in {} µs", entered.as_micros());
    for ((call, without), within) in
        ["read", "fcntl, which has a condition", "open and close"].iter().zip(without).zip(within)
    {
        println!("{call}: {without} ns without, {within} ns within");
    }
}
