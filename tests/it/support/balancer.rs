//! A small TCP balancer that does what one in front of real replicas does: it asks each backend
//! whether it is ready, sends new connections to one that is, and leaves those that are open alone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const POLL: Duration = Duration::from_millis(20);

/// A backend and the last word on its readiness.
struct Backend {
    address: SocketAddr,
    /// Where it says whether it is ready.
    asked: SocketAddr,
    ready: bool,
}

/// The balancer. It lives as long as its runtime.
#[derive(Clone)]
pub(crate) struct Balancer {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    backends: Arc<Mutex<Vec<Backend>>>,
    turn: Arc<AtomicUsize>,
}

impl Balancer {
    /// Listens, with no backend yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer =
            Self { address: listener.local_addr().unwrap(), backends: Arc::default(), turn: Arc::default() };
        tokio::spawn(balancer.clone().poll());
        tokio::spawn(balancer.clone().accept(listener));
        balancer
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Backend>) -> T) -> T {
        act(&mut self.backends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a backend, which is `asked` there whether it is ready, and waits until it takes connections.
    pub(crate) async fn add(&self, address: SocketAddr, asked: SocketAddr) {
        self.with(|backends| backends.push(Backend { address, asked, ready: false }));
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        while !self
            .with(|backends| backends.iter().any(|backend| backend.address == address && backend.ready))
        {
            assert!(tokio::time::Instant::now() < deadline, "the replacement does not become ready");
            tokio::time::sleep(POLL / 4).await;
        }
    }

    /// Forgets a backend that is gone.
    pub(crate) fn remove(&self, address: SocketAddr) {
        self.with(|backends| backends.retain(|backend| backend.address != address));
    }

    async fn poll(self) {
        loop {
            let addresses: Vec<_> = self
                .with(|backends| backends.iter().map(|backend| (backend.address, backend.asked)).collect());
            for (address, asked) in addresses {
                // No answer at all says more about the machine than about the backend.
                let asked = tokio::time::timeout(Duration::from_secs(1), is_ready(asked)).await;
                let Ok(ready) = asked.map(|ready| ready.unwrap_or(false)) else { continue };
                self.with(|backends| {
                    for backend in backends.iter_mut().filter(|backend| backend.address == address) {
                        backend.ready = ready;
                    }
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            tokio::spawn(self.clone().serve(client));
        }
    }

    /// Sends a client to a backend that is ready, as soon as there is one.
    async fn serve(self, client: TcpStream) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        while tokio::time::Instant::now() < deadline {
            let chosen = self.with(|backends| {
                let ready: Vec<_> =
                    backends.iter().filter(|backend| backend.ready).map(|backend| backend.address).collect();
                (!ready.is_empty()).then(|| ready[turn % ready.len()])
            });
            match chosen {
                Some(address) => return pump(client, address).await,
                None => tokio::time::sleep(POLL / 4).await,
            }
        }
    }
}

/// Copies both ways. The end of one direction is passed on, and the other goes on.
async fn pump(mut client: TcpStream, address: SocketAddr) {
    let Ok(mut backend) = TcpStream::connect(address).await else { return };
    let _ = (client.set_nodelay(true), backend.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
}

async fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
