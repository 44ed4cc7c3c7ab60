//! Binding, accepting, and not going under when descriptors run out.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::send_watch::UNSENT_LOW_WATER;

/// Connections that the system may hold for us between two accepts; `net.core.somaxconn` bounds it.
const BACKLOG: i32 = 4096;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// At most one line about failed accepts in this time.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Nobody else holds the socket: it is closed when we close it.
    ours: bool,
    address: SocketAddr,
    /// A descriptor kept back, so that a connection can still be taken and closed when there is
    /// no other: otherwise it would stay in the queue, and the queue stay readable.
    spare: Option<File>,
    pause: Duration,
    failures: u64,
    logged: Option<Instant>,
}

/// Drops packets that ask for a connection, and no others: SYN without ACK among the flags, which are
/// byte 13 of a TCP header. Classic BPF: load, mask, compare, and two ways to return.
const NO_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// The address is in use, not ours, or not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::own(listen(address)?)
    }

    /// Takes over a socket that this process has opened, and nobody else holds.
    ///
    /// # Errors
    /// It is closed.
    pub fn own(socket: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { ours: true, ..Self::adopt(socket)? })
    }

    /// Takes over a socket that listens already, whoever opened it.
    ///
    /// # Errors
    /// It is no TCP socket, or closed.
    pub fn adopt(socket: std::net::TcpListener) -> io::Result<Self> {
        // What every connection needs is set here once: the system hands it on to each.
        let options = SockRef::from(&socket);
        options.set_nonblocking(true)?;
        options.set_tcp_nodelay(true)?;
        // Older kernels and sandboxes may lack it: progress is then seen more coarsely.
        let _ = options.set_tcp_notsent_lowat(UNSENT_LOW_WATER);
        let socket = TcpListener::from_std(socket)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            ours: false,
            spare: File::open("/dev/null").ok(),
            pause: SHORTEST_PAUSE,
            failures: 0,
            logged: None,
        })
    }

    /// Where it listens; with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; `None` for one that was lost, after the pause that its loss calls for.
    pub async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        match self.socket.accept().await {
            Ok(accepted) => {
                self.pause = SHORTEST_PAUSE;
                Some(accepted)
            }
            Err(error) => {
                self.failed(&error).await;
                None
            }
        }
    }

    /// A connection that is waiting already, if there is one.
    pub async fn accept_waiting(&mut self) -> Option<(TcpStream, SocketAddr)> {
        // One turn of the reactor, so that readiness it has not told us of yet is seen.
        tokio::time::timeout(Duration::from_millis(1), self.socket.accept()).await.ok()?.ok()
    }

    /// Begins no more connections, while those that have begun still come to be accepted. Closed with
    /// a connection on its way into the queue, the socket would reset it, and with it the request
    /// that its client has sent already. Returns whether the system can do that.
    ///
    /// A client that connects meanwhile is not answered; it asks again after a second, and is refused
    /// then. A socket that somebody else keeps open resets nobody when we close it, and must not be
    /// made deaf for whoever gets it next.
    pub fn stop_handshakes(&self) -> bool {
        self.ours && SockRef::from(&self.socket).attach_filter(&NO_SYN).is_ok()
    }

    async fn failed(&mut self, error: &io::Error) {
        self.failures += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(%error, failures = self.failures, "a connection could not be accepted");
        }
        if !is_exhaustion(error) {
            // The client gave up between its handshake and ours; the next may be fine.
            return;
        }
        if self.spare.take().is_some() {
            // The client is told at once, by a reset, rather than left to wait in the queue.
            drop(self.accept_waiting().await);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.spare = File::open("/dev/null").ok();
    }
}

/// A socket that listens, which needs no runtime yet.
///
/// # Errors
/// The address is in use, not ours, or not permitted.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// No descriptors or no memory, in this process or on this machine: trying again at once would
/// spin.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
