//! TLS in front of an upstream that knows nothing of it, and the certificates for that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who certificates are issued by.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its chain, and its key; both PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names or addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// One that was valid once.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_with(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &*self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// What a front has seen.
#[derive(Default)]
pub(crate) struct Counts {
    /// Connections.
    pub(crate) connections: AtomicUsize,
    /// Handshakes that came to their end.
    pub(crate) handshakes: AtomicUsize,
    /// Those of them that went on with a session of before.
    pub(crate) resumed: AtomicUsize,
    /// Those of them with a certificate of the client.
    pub(crate) certified: AtomicUsize,
    /// Names that were asked for (SNI).
    pub(crate) names: std::sync::Mutex<Vec<Option<String>>>,
    /// Connections that ended with close_notify from the other side.
    pub(crate) closed_in_order: AtomicUsize,
    /// Handshakes wait while it is set.
    pub(crate) silent: AtomicBool,
}

/// How a front goes about it.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Protocols that it takes (ALPN).
    pub(crate) alpn: Vec<&'static str>,
    /// Certificates of clients have to be of this CA.
    pub(crate) clients: Option<String>,
    /// Bytes that are said in place of TLS.
    pub(crate) garbage: Option<Vec<u8>>,
    /// Connections end without close_notify.
    pub(crate) rude: bool,
    /// TLS 1.2 alone.
    pub(crate) old: bool,
    /// The upstream is connected to when something has been asked, and waited for while nobody listens.
    pub(crate) patient: bool,
}

/// A running front. Ends with the test.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    config: Arc<arc_swap::ArcSwap<ServerConfig>>,
    manners: Manners,
    _runtime: tokio::runtime::Runtime,
}

fn server_config(issued: &Issued, manners: &Manners) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(nessen::tls::provider());
    let builder = if manners.old {
        builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap()
    } else {
        builder.with_safe_default_protocol_versions().unwrap()
    };
    let builder = match &manners.clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), nessen::tls::provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = manners.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

impl Front {
    /// In front of `upstream`, with this certificate.
    pub(crate) fn start(upstream: SocketAddr, issued: &Issued) -> Self {
        Self::with(upstream, issued, Manners { alpn: vec!["http/1.1"], ..Manners::default() })
    }

    pub(crate) fn with(upstream: SocketAddr, issued: &Issued, manners: Manners) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let counts = Arc::new(Counts::default());
        let config = Arc::new(arc_swap::ArcSwap::from_pointee(server_config(issued, &manners)));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (of_task, counted, ways) = (config.clone(), counts.clone(), manners.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, upstream, of_task.load_full(), counted.clone(), ways.clone()));
            }
        });
        Self { address, counts, config, manners, _runtime: runtime }
    }

    /// Has another certificate from now on, and knows no session of before.
    pub(crate) fn replace(&self, issued: &Issued) {
        self.config.store(Arc::new(server_config(issued, &self.manners)));
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.counts.handshakes.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    upstream: SocketAddr,
    config: Arc<ServerConfig>,
    counts: Arc<Counts>,
    manners: Manners,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    while counts.silent.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    if let Some(garbage) = manners.garbage {
        let mut hello = [0; 512];
        if stream.read(&mut hello).await? > 0 {
            stream.write_all(&garbage).await?;
        }
        // Held open: what was said has to be enough.
        while stream.read(&mut hello).await? > 0 {}
        return Ok(());
    }
    if manners.patient {
        let mut outer = TlsAcceptor::from(config).accept(stream).await?;
        let mut asked = vec![0; 16 << 10];
        let count = outer.read(&mut asked).await?;
        let mut inner = loop {
            match TcpStream::connect(upstream).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                connected => break connected?,
            }
        };
        inner.set_nodelay(true)?;
        inner.write_all(&asked[..count]).await?;
        return copy_bidirectional(&mut outer, &mut inner).await.map(|_| ());
    }
    let mut inner = TcpStream::connect(upstream).await?;
    let _ = inner.set_nodelay(true);
    let mut outer = TlsAcceptor::from(config).accept(stream).await?;
    counts.handshakes.fetch_add(1, Ordering::Relaxed);
    let connection = outer.get_ref().1;
    if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
        counts.resumed.fetch_add(1, Ordering::Relaxed);
    }
    if connection.peer_certificates().is_some() {
        counts.certified.fetch_add(1, Ordering::Relaxed);
    }
    counts.names.lock().unwrap().push(connection.server_name().map(str::to_owned));
    if !manners.rude {
        if copy_bidirectional(&mut outer, &mut inner).await.is_ok() {
            counts.closed_in_order.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    }
    // The upstream's end of the connection is passed on as an end of the socket, and TLS has none.
    let (mut from_us, mut to_us) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            read = outer.read(&mut from_us) => match read? {
                0 => return Ok(()),
                count => inner.write_all(&from_us[..count]).await?,
            },
            read = inner.read(&mut to_us) => match read? {
                0 => return outer.get_mut().0.shutdown().await,
                count => {
                    outer.write_all(&to_us[..count]).await?;
                    outer.flush().await?;
                }
            },
        }
    }
}
