//! A Redis of the test's own: in a folder of its own, on a port of its own, ended by its id.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::folder::Folder;
use super::program::free;
use super::{PATIENCE, assert_eventually, installed};

pub(crate) struct Redis {
    child: Child,
    _folder: Folder,
    arguments: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Redis {
    /// Nothing where there is none installed.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at(free(), arguments)
    }

    /// The same, here.
    pub(crate) fn start_at(address: SocketAddr, arguments: &[&str]) -> Option<Self> {
        let program = installed("redis-server")?;
        let folder = Folder::new();
        let (dir, port) = (folder.path(""), address.port().to_string());
        let own = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir", &dir];
        let arguments: Vec<String> = own.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let child = spawn(program.to_str().unwrap(), &arguments);
        let redis = Self { child, _folder: folder, arguments, address };
        assert_eventually(PATIENCE, "redis-server answers", || redis.try_ask(&["PING"]).is_ok());
        Some(redis)
    }

    /// Its URL, for a setting.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it at once, as a machine does that loses its power.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another process, at the same address, with nothing in it.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn("redis-server", &self.arguments);
    }

    /// Stops it where it is, or has it go on.
    pub(crate) fn stand_still(&self, still: bool) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, if still { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// What it says to this, as it stands on the wire.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).expect("redis-server answers")
    }

    /// The number in its answer to this.
    #[track_caller]
    pub(crate) fn number(&self, words: &[&str]) -> u64 {
        let answer = self.ask(words);
        answer.strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    fn try_ask(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(text.as_bytes())?;
        // QUIT is answered last, and ends the connection: what came before is the answer.
        stream.write_all(b"*1\r\n$4\r\nQUIT\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let text = text.trim_end().strip_suffix("+OK").unwrap_or(&text).trim_end().to_owned();
        if text.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
    }
}

fn spawn(program: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server starts")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
