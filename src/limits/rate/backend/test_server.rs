//! A Redis of the test's own: on a port of its own, in a folder of its own, ended by its id.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) struct TestServer {
    child: Child,
    folder: PathBuf,
    pub(super) port: u16,
}

impl TestServer {
    /// Nothing where there is no Redis, which is said, and is an error where all is required.
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        // Free a moment ago; nobody else on this machine asks for it by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("nessen-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]);
        command.arg(&folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                #[expect(clippy::disallowed_methods, reason = "of the tests alone")]
                let required = std::env::var_os("NESSEN_REQUIRE_ALL").is_some();
                assert!(!required, "redis-server is required: {error}");
                let _ = writeln!(std::io::stderr(), "SKIPPED: redis-server: {error}");
                return None;
            }
        };
        let server = Self { child, folder, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !server.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
        Some(server)
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 1];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
