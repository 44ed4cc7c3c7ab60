//! Certificates, and a door through which clients that know no TLS come in by it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::folder::Folder;

/// Who signs certificates.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a CA of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these hosts, and its key.
    pub(crate) fn sign(&self, hosts: &[&str]) -> [String; 2] {
        self.sign_until(hosts, 2035)
    }

    /// Likewise one that is valid until this year begins.
    pub(crate) fn sign_until(&self, hosts: &[&str], year: i32) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "one of tests");
        [params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem()]
    }

    /// The same, as `NAME.pem` and `NAME.key` of a folder.
    pub(crate) fn put(&self, folder: &Folder, name: &str, hosts: &[&str]) -> [String; 2] {
        put(folder, name, &self.sign(hosts))
    }

    /// What a client is that believes this CA and no other.
    pub(crate) fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Client { roots, identity: None, protocols: Vec::new(), versions: rustls::ALL_VERSIONS.to_vec() }
    }
}

/// Writes a certificate and its key; where they are.
pub(crate) fn put(folder: &Folder, name: &str, [certificate, key]: &[String; 2]) -> [String; 2] {
    let names = [format!("{name}.pem"), format!("{name}.key")];
    folder.write(&names[0], certificate).write(&names[1], key);
    names.map(|name| folder.path(&name))
}

/// What a client believes and is.
#[derive(Clone)]
pub(crate) struct Client {
    roots: RootCertStore,
    identity: Option<[String; 2]>,
    protocols: Vec<Vec<u8>>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Client {
    /// With this certificate and key.
    pub(crate) fn with(self, identity: [String; 2]) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// That offers these protocols.
    pub(crate) fn offering(self, protocols: &[&str]) -> Self {
        Self { protocols: protocols.iter().map(|one| one.as_bytes().to_vec()).collect(), ..self }
    }

    /// That speaks these versions.
    pub(crate) fn speaking(self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        Self { versions: versions.to_vec(), ..self }
    }

    /// For rustls. Two connections of one configuration resume sessions.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some([certificate, key]) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.clone();
        Arc::new(config)
    }
}

/// A port that takes plain connections, and goes on with each by TLS. An end that is orderly is one on the other
/// side too.
pub(crate) struct Door {
    /// Where it is.
    pub(crate) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Door {
    /// One to `server`, which is asked for `host`.
    pub(crate) fn to(server: SocketAddr, host: &str, config: Arc<ClientConfig>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (connector, host) = (TlsConnector::from(config), ServerName::try_from(host.to_owned()).unwrap());
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (connector, host) = (connector.clone(), host.clone());
                tokio::spawn(async move {
                    let far = TcpStream::connect(server).await?;
                    far.set_nodelay(true)?;
                    near.set_nodelay(true)?;
                    let result = match connector.connect(host, far).await {
                        Ok(mut far) => copy_bidirectional(&mut near, &mut far).await,
                        Err(error) => Err(error),
                    };
                    if result.is_err() {
                        // What ends badly over there must not look good here.
                        near.set_zero_linger()?;
                    }
                    result
                });
            }
        });
        Self { address, _runtime: runtime }
    }
}
