//! Listening sockets that a service manager opened for this process: systemd's socket activation.
//!
//! The protocol is `sd_listen_fds(3)`: descriptors from 3 on, counted by `LISTEN_FDS` and named by
//! `LISTEN_FDNAMES`. A socket that outlives the process is why one would want it: what connects
//! while the server is replaced waits in the socket's queue, and a port below 1024 needs no privilege.

use std::fmt;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use socket2::SockRef;

/// The name (`FileDescriptorName=`) of the socket that takes the place of `admin.port`.
pub const ADMIN: &str = "admin";

/// The sockets, by what they are for.
#[derive(Debug, Default)]
pub struct Inherited {
    /// In place of `server.port`.
    pub server: Option<TcpListener>,
    /// In place of `admin.port`.
    pub admin: Option<TcpListener>,
}

/// Why the sockets that were handed over cannot be served.
#[derive(Debug)]
pub enum InheritedError {
    /// There are two for the same purpose, with these names.
    Ambiguous(String, String),
    /// The one with this name is not a listening TCP socket.
    Unusable(String, io::Error),
}

impl fmt::Display for InheritedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous(first, second) => write!(
                f,
                "socket activation: {first:?} and {second:?} are for the same port; allowed are one socket, \
                 and one more named {ADMIN:?} (FileDescriptorName={ADMIN})"
            ),
            Self::Unusable(name, error) => {
                write!(f, "socket activation: {name:?} is not a listening TCP socket: {error}")
            }
        }
    }
}

impl std::error::Error for InheritedError {}

impl Inherited {
    /// Takes what this process was given, which is nothing where nobody gave anything. To be called
    /// once, and before there are threads: the variables are removed from the environment.
    ///
    /// # Errors
    /// There are more sockets than can be served, or one that nobody can connect to.
    pub fn take() -> Result<Self, InheritedError> {
        // Before the descriptors are taken, which takes the variables too.
        let names: Vec<String> = sd_notify::listen_fds_with_names()
            .map(|fds| fds.map(|(_, name)| name).collect())
            .unwrap_or_default();
        let mut fds = ListenFd::from_env();
        let count = fds.len();
        let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| format!("socket {index}"));
        let slots = assign((0..count).map(name))?;
        let mut take = |slot: Option<(usize, String)>| {
            let Some((index, name)) = slot else { return Ok(None) };
            fds.take_tcp_listener(index)
                .and_then(|socket| socket.map(listening).transpose())
                .map_err(|error| InheritedError::Unusable(name, error))
        };
        Ok(Self { server: take(slots.server)?, admin: take(slots.admin)? })
    }
}

/// Which socket is for what: its position and its name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Slots {
    server: Option<(usize, String)>,
    admin: Option<(usize, String)>,
}

fn assign(names: impl Iterator<Item = String>) -> Result<Slots, InheritedError> {
    let mut slots = Slots::default();
    for (index, name) in names.enumerate() {
        let slot = if name == ADMIN { &mut slots.admin } else { &mut slots.server };
        if let Some((_, first)) = slot.take() {
            return Err(InheritedError::Ambiguous(first, name));
        }
        *slot = Some((index, name));
    }
    Ok(slots)
}

/// A socket that does not listen would be found out only when everything else runs.
fn listening(socket: TcpListener) -> io::Result<TcpListener> {
    if SockRef::from(&socket).is_listener()? {
        return Ok(socket);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen (Accept=yes is not supported)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(names: &[&str]) -> Result<Slots, InheritedError> {
        assign(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn a_socket_is_for_the_server_unless_it_is_named_admin() {
        let server = |index, name: &str| Some((index, name.to_owned()));
        assert_eq!(slots(&[]).unwrap(), Slots::default());
        let only = slots(&["nessen.socket"]).unwrap();
        assert_eq!(only, Slots { server: server(0, "nessen.socket"), admin: None });
        for (names, main, admin) in [(["http", "admin"], 0, 1), (["admin", "http"], 1, 0)] {
            let slots = slots(&names).unwrap();
            assert_eq!(slots.server, server(main, "http"));
            assert_eq!(slots.admin, server(admin, "admin"));
        }
    }

    #[test]
    fn two_for_one_port_are_refused_by_name() {
        for names in [["v4", "v6"], ["admin", "admin"]] {
            let error = slots(&names).unwrap_err().to_string();
            assert!(error.contains(&format!("{:?} and {:?}", names[0], names[1])), "{error}");
        }
    }
}
