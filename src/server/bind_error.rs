//! Why a server did not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::routes::RouteError;
use crate::tls::TlsError;

/// Why a server did not start.
#[derive(Debug)]
pub enum BindError {
    /// The socket could not be bound: in use, not permitted, not ours.
    Listen {
        /// `server`, `admin` or `tls`.
        section: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// A thread could not be started.
    Thread(io::Error),
    /// What a route needs is not there.
    Route(RouteError),
    /// What is needed to ask for shared rate limits is not there.
    SharedLimit(TlsError),
    /// What is said of `evidence.storage` does not do.
    Evidence(String),
    /// A certificate, key or CA is no good: each with the key that names it.
    Tls(Vec<(&'static str, TlsError)>),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { section: "tls", address, error } => {
                write!(f, "cannot listen on {address} (server.host and tls.redirect_port): {error}")
            }
            Self::Listen { section, address, error } => {
                write!(f, "cannot listen on {address} ({section}.host and {section}.port): {error}")
            }
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Route(error) => error.fmt(f),
            Self::SharedLimit(error) => write!(f, "rate_limit.redis_ca: {error}"),
            Self::Evidence(problem) => f.write_str(problem),
            Self::Tls(faults) => {
                let mut faults = faults.iter();
                if let Some((key, error)) = faults.next() {
                    write!(f, "{key}: {error}")?;
                }
                faults.try_for_each(|(key, error)| write!(f, "\n{key}: {error}"))
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::Thread(error) => Some(error),
            Self::Route(error) => Some(error),
            Self::SharedLimit(error) => Some(error),
            Self::Evidence(_) => None,
            Self::Tls(faults) => faults.first().map(|(_, error)| error as _),
        }
    }
}
