use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::client::ClientOptions;
use crate::tls::provider;

/// A server that greets within TLS, with a certificate for `name`; its port, and the certificate.
async fn greeter(name: &str) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::new(config.clone()));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, made.cert.pem())
}

async fn ask(port: u16, ca: &str) -> io::Result<String> {
    let folder = std::env::temp_dir().join(format!("nessen-dial-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("ca.pem");
    std::fs::write(&file, ca)?;
    let config = ClientOptions { ca: Some(file), identity: None }.config(&[]).map_err(io::Error::other);
    let _ = std::fs::remove_dir_all(&folder);
    let mut stream = Dialer::new(Resolver::system()).connect("127.0.0.1", port, Some(&config?)).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn a_server_of_the_ca_is_believed() {
    let (port, ca) = greeter("127.0.0.1").await;
    assert_eq!(ask(port, &ca).await.unwrap(), "hello");
}

#[tokio::test]
async fn neither_another_name_nor_another_ca_is() {
    let (port, ca) = greeter("example.test").await;
    assert!(ask(port, &ca).await.unwrap_err().to_string().contains("not valid for name"));
    let (port, _) = greeter("127.0.0.1").await;
    assert!(ask(port, &ca).await.unwrap_err().to_string().contains("invalid peer certificate"));
}

#[tokio::test]
async fn what_is_no_ca_is_named() {
    let error = ask(1, "nothing").await.unwrap_err().to_string();
    assert!(error.contains("ca.pem: holds no certificate"), "{error}");
}
