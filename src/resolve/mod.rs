//! Names to addresses, asked of the name servers directly.
//!
//! Never by way of `getaddrinfo`: in a static binary it loads whatever modules the host's
//! `nsswitch.conf` names, it blocks a thread, and it does not tell for how long an answer holds. The
//! order is the usual one: an address as it stands, then `/etc/hosts`, then the servers of
//! `/etc/resolv.conf` with its search domains.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod names;
mod system;
mod watched;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watched_tests;

pub use watched::Watched;

use names::Names;
use system::Files;

/// What names are looked up by.
pub const FILES: [&str; 2] = [system::RESOLV_CONF, system::HOSTS];

/// How long all questions about one name may take together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where a name's addresses come from. Cheap to clone; it keeps no answers.
#[derive(Clone)]
pub struct Resolver {
    source: Arc<Source>,
}

enum Source {
    /// The system's files, read when they are needed and again when they have changed.
    System(Mutex<Files>),
    Fixed(Arc<Names>),
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Sorted, without repetitions, never empty.
    pub addresses: Vec<IpAddr>,
    /// How long they hold: at least a second, and [`Duration::MAX`] for what was an address already.
    pub ttl: Duration,
}

/// Why a name has no addresses. Short, and made of nothing but the name and our own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    host: Arc<str>,
    failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    InvalidName,
    NoServers,
    NoSuchName,
    NoAddress,
    NoAnswer,
    ServersFailed,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.failure {
            Failure::InvalidName => "not a valid name",
            Failure::NoServers => "no name server is configured",
            Failure::NoSuchName => "no such name",
            Failure::NoAddress => "the name has no address",
            Failure::NoAnswer => "the name servers did not answer",
            Failure::ServersFailed => "the name servers failed to answer",
        };
        write!(f, "{}: {what}", self.host)
    }
}

impl std::error::Error for ResolveError {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// Follows `/etc/resolv.conf` and `/etc/hosts`. Nothing is read before the first name is asked for.
    pub fn system() -> Self {
        Self { source: Arc::new(Source::System(Mutex::default())) }
    }

    /// Asks one name server, and knows of no hosts and no search domains.
    pub fn with_nameserver(server: SocketAddr) -> Self {
        Self::fixed(Names::of_server(server))
    }

    fn fixed(names: Names) -> Self {
        Self { source: Arc::new(Source::Fixed(Arc::new(names))) }
    }

    /// The addresses of `host`. An address is its own, at once.
    ///
    /// # Errors
    /// Where there is none, or none was told within 5 s.
    pub async fn lookup(&self, host: &str) -> Result<Addresses, ResolveError> {
        if let Some(address) = literal(host) {
            return Ok(Addresses { addresses: vec![address], ttl: Duration::MAX });
        }
        let names = match &*self.source {
            Source::System(files) => system::current(files),
            Source::Fixed(names) => names.clone(),
        };
        let found = match tokio::time::timeout(DEADLINE, names.lookup(host)).await {
            Ok(found) => found,
            Err(_) => Err(Failure::NoAnswer),
        };
        found.map_err(|failure| ResolveError { host: host.into(), failure })
    }
}

/// `host` as an address; in a URL one of IPv6 stands in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}
