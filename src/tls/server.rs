//! What we are to clients: certificates with their keys, and whom we ask for one in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::names::{Facts, Names};
use super::{TlsError, pem, provider};

/// What a client is told over, by ALPN (RFC 7301).
pub const HTTP2: &[u8] = b"h2";
/// Likewise.
pub const HTTP1: &[u8] = b"http/1.1";

/// Tickets that a client is given after a handshake by TLS 1.3. It uses each once (RFC 8446 appendix C.4), and
/// browsers open a few connections at a time.
const TICKETS: usize = 2;

/// `tls.min_version`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy and authenticated encryption alone, and 1.3.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// `tls.client_auth`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No client is asked for a certificate.
    Off,
    /// A client may have one, which then has to be good.
    Optional,
    /// It must have one.
    Required,
}

/// Which certificates, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerOptions {
    /// Files of a certificate with its chain, and of its key. The first is for whoever names no host of another.
    pub identities: Vec<(PathBuf, PathBuf)>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// Whether clients have certificates.
    pub client_auth: ClientAuth,
    /// The CAs of those.
    pub client_ca: Vec<PathBuf>,
    /// Whether `h2` is offered.
    pub http2: bool,
}

/// What a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `tls.cert`
    Certificate,
    /// `tls.key`
    Key,
    /// `tls.client_ca`
    ClientCa,
}

impl Part {
    /// The key that names its file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Certificate => "tls.cert",
            Self::Key => "tls.key",
            Self::ClientCa => "tls.client_ca",
        }
    }
}

/// A certificate that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Its file.
    pub path: PathBuf,
    /// Until when it is valid, since 1970; `None` where that cannot be read.
    pub not_after: Option<Duration>,
    /// Whether it names a host among its subject alternative names (RFC 9525 section 6.3): clients that ask for
    /// one by name refuse it otherwise.
    pub names_host: bool,
}

impl InUse {
    /// Whether that is over.
    pub fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.not_after.is_some_and(|not_after| not_after < now)
    }
}

/// What was made of the files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// For the connections from now on.
    pub config: Arc<ServerConfig>,
    /// The certificates, in their order.
    pub certificates: Vec<InUse>,
}

/// What all files held when they were read: each by a hash, which tells no key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<Vec<u8>>>);

/// Files as they were read at one moment.
struct Read(BTreeMap<PathBuf, Result<Vec<u8>, TlsError>>);

impl Read {
    fn of(&self, path: &Path) -> Result<&[u8], TlsError> {
        match self.0.get(path) {
            Some(Ok(text)) => Ok(text),
            Some(Err(error)) => Err(error.clone()),
            None => Err(pem::error(path, "was not read")),
        }
    }

    fn seen(&self) -> Seen {
        let hash = |text: &Vec<u8>| digest(&SHA256, text).as_ref().to_vec();
        Seen(self.0.iter().map(|(path, read)| (path.clone(), read.as_ref().ok().map(hash))).collect())
    }
}

impl ServerOptions {
    /// Every file, for whoever has to be able to read them.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let identities = self.identities.iter().flat_map(|(certificate, key)| [certificate, key]);
        identities.chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn read(&self) -> Read {
        Read(self.files().map(|path| (path.to_owned(), pem::read(path))).collect())
    }

    /// What the files hold at this moment.
    pub fn look(&self) -> Seen {
        self.read().seen()
    }

    /// Reads the files, and makes of them what connections need; `tickets` are those of before, so that clients
    /// need not begin anew.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn load(
        &self,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> (Seen, Result<Identity, Vec<(Part, TlsError)>>) {
        let read = self.read();
        (read.seen(), self.make(&read, tickets))
    }

    fn make(
        &self,
        read: &Read,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<Identity, Vec<(Part, TlsError)>> {
        let (mut faults, mut names, mut certificates) = (Vec::new(), Names::default(), Vec::new());
        for (place, (path, key_path)) in self.identities.iter().enumerate() {
            let chain = read.of(path).and_then(|text| pem::certificates_of(path, text));
            let key = read.of(key_path).and_then(|text| pem::key_of(key_path, text));
            let (chain, key) = match (chain, key) {
                (Ok(chain), Ok(key)) => (chain, key),
                (chain, key) => {
                    faults.extend(chain.err().map(|error| (Part::Certificate, error)));
                    faults.extend(key.err().map(|error| (Part::Key, error)));
                    continue;
                }
            };
            let facts = chain.first().map(Facts::of).unwrap_or_default();
            if place > 0 && facts.hosts.is_empty() {
                let problem = "names no host among its subject alternative names, and so is never chosen";
                faults.push((Part::Certificate, pem::error(path, problem)));
            }
            match CertifiedKey::from_der(chain, key, &provider()) {
                Ok(key) => names.add(key, &facts),
                Err(problem) => faults.push(unfit(path, key_path, &problem)),
            }
            certificates.push(InUse {
                path: path.clone(),
                not_after: facts.not_after,
                names_host: !facts.hosts.is_empty(),
            });
        }
        let verifier = match self.verifier(read) {
            Ok(verifier) => verifier,
            Err(error) => {
                faults.push((Part::ClientCa, error));
                None
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let config = self.config(names, verifier, tickets).map_err(|problem| {
            let path = self.files().next().unwrap_or(Path::new(""));
            vec![(Part::Certificate, pem::error(path, problem.to_string()))]
        })?;
        Ok(Identity { config: Arc::new(config), certificates })
    }

    /// Who judges the certificates of clients.
    fn verifier(&self, read: &Read) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(first) = self.client_ca.first().filter(|_| self.client_auth != ClientAuth::Off) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for path in &self.client_ca {
            for certificate in pem::certificates_of(path, read.of(path)?)? {
                roots
                    .add(certificate)
                    .map_err(|problem| pem::error(path, format!("holds no CA: {problem}")))?;
            }
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|problem| pem::error(first, problem.to_string()))?;
        Ok(Some(verifier))
    }

    fn config(
        &self,
        names: Names,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<ServerConfig, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12],
            MinVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::new(names));
        let protocols: &[&[u8]] = if self.http2 { &[HTTP2, HTTP1] } else { &[HTTP1] };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Sessions are kept by those who come back, under a key of ours that changes every few hours. What a
        // client sends before the handshake is over could be sent again by others, and is not taken.
        // SECURITY: a ticket stands for the certificate of its client, and nobody asks it whether that is still valid. So
        // where clients are judged by theirs, there are none.
        if self.client_auth == ClientAuth::Off {
            config.ticketer = match tickets {
                Some(tickets) => tickets,
                None => rustls::crypto::ring::Ticketer::new()?,
            };
            config.send_tls13_tickets = TICKETS;
        } else {
            config.send_tls13_tickets = 0;
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(config)
    }
}

/// A key that is none of the certificate's, or neither can be used.
fn unfit(certificate: &Path, key: &Path, problem: &rustls::Error) -> (Part, TlsError) {
    match problem {
        rustls::Error::InconsistentKeys(_) => {
            (Part::Key, pem::error(key, format!("is not the key of {}", certificate.display())))
        }
        rustls::Error::InvalidCertificate(problem) => {
            let problem = format!("{problem:?}");
            let problem = if problem.contains("UnsupportedCertVersion") {
                "is of another version of X.509 than 3: `openssl x509 -req` makes that with -extfile alone"
                    .to_owned()
            } else {
                format!("holds no certificate of a server: {problem}")
            };
            (Part::Certificate, pem::error(certificate, problem))
        }
        _ => (
            Part::Key,
            pem::error(
                key,
                "holds a key that cannot be used: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more is expected",
            ),
        ),
    }
}

/// What is in use, to be replaced while connections come and go.
#[derive(Debug)]
pub struct ServerTls(ArcSwap<ServerConfig>);

impl ServerTls {
    /// This, from the start on.
    pub fn new(identity: &Identity) -> Self {
        Self(ArcSwap::new(identity.config.clone()))
    }

    /// For a connection that comes now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }

    /// From now on, another.
    pub fn replace(&self, identity: &Identity) {
        self.0.store(identity.config.clone());
    }
}
