//! What the process gives up once it serves, so that whoever takes it over finds little to take.
//!
//! By three means of the Linux kernel, none of which can be undone: `no_new_privs`, Landlock (files
//! are read and written where the [`Rules`] say, and nothing is run; TCP goes where they say), and a
//! seccomp list of the calls that serving needs. All hold for the thread that calls [`enter`] and for
//! those it starts, so it is called before there are others; sockets and files that are open stay so.
//!
//! The binary does so by `server.sandbox`. A program that embeds the library may do so itself, as
//! the first thing in `main`, with rules that have room for what its own routes do.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

mod landlock;
mod syscalls;
#[cfg(test)]
mod tests;
mod view;

use crate::telemetry::process;
use view::View;

/// `server.sandbox`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The process keeps what it has.
    Off,
    /// As much as the kernel has; what it lacks is said.
    On,
    /// Files and system calls at least, or there is no start.
    Required,
}

/// What the process goes on to need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Files, and folders with all that is below them, that it reads. What is not there is left out.
    pub read: Vec<PathBuf>,
    /// Folders in which, and below which, it makes, writes and removes files. What is not there is left out.
    pub write: Vec<PathBuf>,
    /// TCP ports that it connects to, on any host; `None`: any. It binds none.
    pub connect: Option<Vec<u16>>,
    /// Whether it sends datagrams, as name servers are asked by.
    pub udp: bool,
    /// Where it tells a service manager of its state.
    pub notify: Notify,
}

/// The socket of a service manager: `NOTIFY_SOCKET`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Notify {
    /// There is none, and no Unix socket is needed.
    #[default]
    Nowhere,
    /// One with a path.
    Path,
    /// One with a name (`@…`).
    Abstract,
}

/// One of the things that are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Files: Landlock, Linux 5.13.
    Files,
    /// TCP ports: Landlock, Linux 6.7.
    Ports,
    /// Signals and abstract sockets of other processes: Landlock, Linux 6.12.
    Scopes,
    /// System calls: seccomp.
    Syscalls,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Files, Self::Ports, Self::Scopes, Self::Syscalls];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Ports => "ports",
            Self::Scopes => "scopes",
            Self::Syscalls => "syscalls",
        }
    }
}

/// What was given up.
#[derive(Debug)]
pub struct Held {
    rules: Rules,
    view: View,
    /// Landlock's version, where there is one.
    landlock: Option<u32>,
    /// How many calls are left, where others are refused.
    syscalls: Result<usize, String>,
    /// Why not, of what Landlock does.
    lacks: Vec<(Part, String)>,
}

/// What holds for this process, once something does.
static IN_FORCE: OnceLock<Held> = OnceLock::new();

/// Gives up all but what `rules` keep, as far as the kernel can hold it. For good: a second call
/// changes nothing, and answers what holds since the first.
///
/// # Errors
/// There are threads already, for which it would not hold. Then nothing was done.
pub fn enter(rules: Rules) -> io::Result<&'static Held> {
    if let Some(held) = in_force() {
        return Ok(held);
    }
    // Where that cannot be read, neither could it be looked up by whoever would use it.
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(io::Error::other(format!(
            "{threads} threads run already, and it would not hold for them"
        )));
    }
    // Opened now, or never.
    process::files();
    Ok(IN_FORCE.get_or_init(|| restrict(rules)))
}

/// What [`enter`] would come to here. It is done, by a thread that ends with it.
pub fn rehearse(rules: Rules) -> io::Result<Held> {
    let thread = std::thread::Builder::new().name("rehearsal".into()).spawn(|| restrict(rules))?;
    thread.join().map_err(|_| io::Error::other("the thread that tried it panicked"))
}

/// What holds for this process, if anything does.
pub fn in_force() -> Option<&'static Held> {
    IN_FORCE.get()
}

/// `error`, and whether it is by the sandbox that `path` cannot be read.
pub fn explain(path: &Path, error: &io::Error) -> String {
    let hidden = |held: &&Held| error.kind() == io::ErrorKind::PermissionDenied && held.hides(path);
    match in_force().filter(hidden) {
        Some(held) => format!(
            "{error}; the sandbox (server.sandbox) leaves only what the start was configured with to be \
             read, as it was then: {}; a restart takes in another",
            held.view
        ),
        None => error.to_string(),
    }
}

fn restrict(rules: Rules) -> Held {
    // Both set it too; on a kernel that has neither, it is worth having alone.
    let _ = rustix::thread::set_no_new_privs(true);
    let (view, landlock, lacks) = landlock::restrict(&rules);
    // Last: the calls that the above takes are not on the list.
    let syscalls = syscalls::restrict(&rules);
    Held { rules, view, landlock, syscalls, lacks }
}

impl Held {
    /// Whether `part` is given up.
    pub fn holds(&self, part: Part) -> bool {
        self.lack(part).is_none()
    }

    /// Why `part` is not given up, where it is not.
    pub fn lack(&self, part: Part) -> Option<&str> {
        match part {
            Part::Syscalls => self.syscalls.as_ref().err().map(String::as_str),
            _ => self.lacks.iter().find(|(lacked, _)| *lacked == part).map(|(_, why)| why.as_str()),
        }
    }

    /// Everything that is not given up, and why; empty where all is.
    pub fn lacks(&self) -> String {
        let lacks = Part::ALL.into_iter().filter_map(|part| Some((part, self.lack(part)?)));
        lacks.map(|(part, why)| format!("{}: {why}", part.as_str())).collect::<Vec<_>>().join("; ")
    }

    /// Whether what `required` asks for holds: files and system calls. The list of calls bounds
    /// much of what the rest does.
    pub fn suffices(&self) -> bool {
        self.holds(Part::Files) && self.holds(Part::Syscalls)
    }

    /// Whether `path` cannot be read for this, whoever owns it.
    fn hides(&self, path: &Path) -> bool {
        self.holds(Part::Files) && !self.view.shows(path)
    }
}

/// A line for each part.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in Part::ALL {
            let name = part.as_str();
            match (self.lack(part), part) {
                (Some(why), _) => writeln!(f, "{name:<8}  not held: {why}")?,
                (None, Part::Files) => {
                    let version = self.landlock.unwrap_or_default();
                    let write = match self.rules.write.as_slice() {
                        [] => "write and run none".to_owned(),
                        folders => {
                            let folders: Vec<_> =
                                folders.iter().map(|folder| folder.display().to_string()).collect();
                            format!("write {}; run none", folders.join(", "))
                        }
                    };
                    writeln!(f, "{name:<8}  read {}; {write} (Landlock {version})", self.view)?;
                }
                (None, Part::Ports) => writeln!(f, "{name:<8}  {}", Ports(&self.rules))?,
                (None, Part::Scopes) => writeln!(f, "{name:<8}  no signals to other processes")?,
                (None, Part::Syscalls) => {
                    let count = self.syscalls.as_ref().map_or(0, |count| *count);
                    writeln!(f, "{name:<8}  {count} are left (seccomp)")?;
                }
            }
        }
        Ok(())
    }
}

/// Where TCP may go.
struct Ports<'a>(&'a Rules);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.connect.as_deref() {
            None => f.write_str("connect to any TCP port, bind none"),
            Some([]) => f.write_str("connect to no TCP port, bind none"),
            Some(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                write!(f, "connect to TCP port {}, bind none", ports.join(", "))
            }
        }
    }
}

impl Held {
    /// In one line, for the log.
    pub fn summary(&self) -> String {
        let files = match self.landlock {
            Some(version) => format!("Landlock {version}, {} paths to read", self.view.len()),
            None => "no Landlock".to_owned(),
        };
        let syscalls = match &self.syscalls {
            Ok(count) => format!("seccomp, {count} calls"),
            Err(_) => "no seccomp".to_owned(),
        };
        format!("{files}; {}; {syscalls}", Ports(&self.rules))
    }
}
