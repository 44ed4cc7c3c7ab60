//! Programs that others have written, for as long as a test runs.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::folder::Folder;
use super::{PATIENCE, assert_eventually, installed};

/// A program that listens, until the test is over.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts it, and waits until it takes connections. What it writes is thrown away.
    #[track_caller]
    pub(crate) fn start(program: &Path, arguments: &[&str], address: SocketAddr) -> Self {
        Self::writing(Stdio::null(), program, arguments, address)
    }

    /// The same; what it writes to standard output goes into `file` of `folder`.
    #[track_caller]
    pub(crate) fn start_logged(
        folder: &Folder,
        file: &str,
        program: &Path,
        arguments: &[&str],
        address: SocketAddr,
    ) -> Self {
        let log = File::create(folder.at(file)).expect("a file for what it writes");
        Self::writing(log.into(), program, arguments, address)
    }

    #[track_caller]
    fn writing(stdout: Stdio, program: &Path, arguments: &[&str], address: SocketAddr) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        let child = command.spawn().expect("the program starts");
        let running = Self { child, address };
        let listens = || TcpStream::connect(address).is_ok();
        assert_eventually(PATIENCE, &format!("{program:?} listens"), listens);
        running
    }

    /// Its URL, for a setting.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An nginx with this in its `http` block; nothing where there is none installed.
#[track_caller]
pub(crate) fn nginx(folder: &Folder, address: SocketAddr, http: &str) -> Option<Running> {
    let program = installed("nginx")?;
    let place = folder.path("");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};\n"))
        .concat();
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; worker_processes 1; pid {place}/pid; error_log {place}/errors;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n{temporary}{http}\n}}\n"
        ),
    );
    let (config, errors) = (folder.path("nginx.conf"), folder.path("errors"));
    Some(Running::start(&program, &["-p", &place, "-c", &config, "-e", &errors], address))
}

/// A HAProxy with this configuration, which logs into `log` of the folder; nothing where there is
/// none installed.
#[track_caller]
pub(crate) fn haproxy(folder: &Folder, address: SocketAddr, config: &str) -> Option<Running> {
    let program = installed("haproxy")?;
    folder.write("haproxy.cfg", config);
    Some(Running::start_logged(folder, "log", &program, &["-db", "-f", &folder.path("haproxy.cfg")], address))
}
