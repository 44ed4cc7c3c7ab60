use std::io::Write;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, server};

use super::*;
use crate::handler::proxy::http1::Http1;
use crate::tls::client::{ClientOptions, server_name};
use crate::tls::provider;

#[test]
fn the_place_within_a_record_is_known_however_it_is_cut() {
    let records = [&[23, 3, 3, 0, 3, 1, 2, 3][..], &[22, 3, 3, 1, 1], &[0; 257], &[20, 3, 3, 0, 0]].concat();
    for size in [1, 2, 3, 7, 400] {
        let (mut place, mut passed) = (Place::default(), 0);
        let between = [0, 8, 8 + 262, 8 + 262 + 5];
        for part in records.chunks(size) {
            place.pass(part);
            passed += part.len();
            assert_eq!(place.is_between(), between.contains(&passed), "{size} {passed}");
        }
    }
}

/// A connection to an upstream within TLS, and its other side.
async fn pair() -> (Box<Http1>, server::TlsStream<TcpStream>) {
    let (connection, server, _) = set().await;
    (connection, server)
}

async fn set() -> (Box<Http1>, server::TlsStream<TcpStream>, Arc<Live>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let file = std::env::temp_dir().join(format!("nessen-secured-{}-{}", std::process::id(), address.port()));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let live = Live::new(ClientOptions { ca: Some(file.clone()), identity: None }).unwrap();
    std::fs::remove_file(&file).unwrap();
    let secured = Secured::new(live.clone(), server_name("127.0.0.1").unwrap(), "https://127.0.0.1".into());
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap()
    };
    let (opened, accepted) = tokio::join!(Http1::open(address, Some(&secured)), accepted);
    (opened.unwrap(), accepted, live)
}

/// Whether the connection stays fit, or comes not to be within the time that a byte takes on its way.
async fn stays_fit(connection: &mut Http1) -> bool {
    for _ in 0..50 {
        if !connection.is_fit(false) {
            return false;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    true
}

#[tokio::test]
async fn tickets_leave_a_connection_fit_and_nothing_else_does() {
    // The tickets came with the handshake, or just behind it.
    let (mut connection, server) = pair().await;
    assert!(stays_fit(&mut connection).await && connection.is_fit(true));
    drop(server);
    assert!(!stays_fit(&mut connection).await, "an end without close_notify");

    let (mut connection, mut server) = pair().await;
    server.write_all(b"H").await.unwrap();
    server.flush().await.unwrap();
    assert!(!stays_fit(&mut connection).await, "a byte");

    let (mut connection, mut server) = pair().await;
    server.shutdown().await.unwrap();
    assert!(!stays_fit(&mut connection).await, "close_notify");
}

#[tokio::test]
async fn a_part_of_a_record_is_something_that_came() {
    for part in [1, 5, 9] {
        let (mut connection, mut server) = pair().await;
        assert!(stays_fit(&mut connection).await);
        let (tcp, tls) = server.get_mut();
        tls.writer().write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        let mut record = Vec::new();
        tls.write_tls(&mut record).unwrap();
        tcp.write_all(&record[..part]).await.unwrap();
        assert!(!stays_fit(&mut connection).await, "{part} bytes of a record");
    }
}

#[tokio::test]
async fn a_kept_connection_of_other_certificates_is_not_used() {
    let (mut connection, _server, live) = set().await;
    assert!(stays_fit(&mut connection).await);
    live.put(Arc::new(live.current().again()));
    assert!(!connection.is_fit(false));
}
