//! The same by TLS, through a balancer that passes it on: an end without `close_notify` is a failure here.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock};

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Backend, Tally, assert_nothing_lost, http1, replace, rounds, runtime, start};
use crate::support::folder::Folder;
use crate::support::tls::Ca;

struct Files {
    _folder: Folder,
    paths: [String; 2],
    client: Arc<ClientConfig>,
}

/// One certificate for all that are replaced, and who believes it.
static FILES: LazyLock<Files> = LazyLock::new(|| {
    let (folder, ca) = (Folder::new(), Ca::new());
    Files { paths: ca.put(&folder, "own", &["nessen.test"]), _folder: folder, client: ca.client().config() }
});

/// A server by itself, which is asked by plain HTTP whether it is ready.
fn secure(number: usize) -> Backend {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let [certificate, key] = &FILES.paths;
    let env = [("TLS_CERT", certificate.as_str()), ("TLS_KEY", key), ("NESSEN_TLS_REDIRECT_PORT", &port)];
    Backend { name: number.to_string(), server: start(&env), _upstream: None }
}

async fn client(number: usize, address: SocketAddr, tally: Arc<Tally>) {
    let connect = || async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("nessen.test").unwrap();
        TlsConnector::from(FILES.client.clone()).connect(name, stream).await
    };
    http1::client_by(number, connect, tally).await;
}

#[test]
fn no_request_is_lost_by_tls() {
    let rounds = rounds(8);
    let (tally, codes) = runtime().block_on(replace(rounds, Signal::TERM, secure, 60, client));
    assert_nothing_lost("tls", &tally, &codes, rounds as u64 * 60);
}
