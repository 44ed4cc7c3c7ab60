use std::future::poll_fn;
use std::io;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::transport::Transport;
use crate::tls::provider;

/// Configurations of two that believe each other.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate: CertificateDer<'static> = certificate.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let client =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    (server.into(), client.with_root_certificates(roots).with_no_client_auth().into())
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    near.set_nodelay(true).unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Passes on what comes, in pieces of up to `most` bytes.
async fn cut(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, most: usize) {
    let mut buffer = vec![0; most];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let _ = to.shutdown().await;
}

/// Both ends of a session, whose bytes go in pieces of up to `most`.
async fn session(most: usize) -> (TlsStream, tokio_rustls::client::TlsStream<TcpStream>) {
    let (server, client) = configs();
    let ((near, a), (b, far)) = (pair().await, pair().await);
    let ((ar, aw), (br, bw)) = (a.into_split(), b.into_split());
    tokio::spawn(cut(ar, bw, most));
    tokio::spawn(cut(br, aw, most));
    let connects = tokio::spawn(async move {
        let name = ServerName::try_from("a.test").unwrap();
        TlsConnector::from(client).connect(name, near).await.unwrap()
    });
    let mut stream = TlsStream::new(far, server, &[], MOST).unwrap();
    poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
    (stream, connects.await.unwrap())
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn everything_arrives_however_it_is_cut() {
    for most in [1, 7, 100, 5000, 1 << 20] {
        let (mut near, far) = session(most).await;
        let (mut reads, mut writes) = tokio::io::split(far);
        let size = if most < 100 { 40_000 } else { 1_000_000 };
        let sent = content(size);
        let echoes = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut buffer = [0; 10_000];
            loop {
                let read = near.read(&mut buffer).await.unwrap();
                if read == 0 {
                    break;
                }
                all.extend_from_slice(&buffer[..read]);
                near.write_all(&buffer[..read]).await.unwrap();
            }
            near.shutdown().await.unwrap();
            all
        });
        let writing = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in writing.chunks(30_000) {
                writes.write_all(piece).await.unwrap();
            }
            writes.shutdown().await.unwrap();
            writes
        });
        let mut back = Vec::new();
        reads.read_to_end(&mut back).await.unwrap();
        assert!(back == sent && echoes.await.unwrap() == sent, "{most}");
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn several_slices_leave_as_one_stream() {
    let (mut near, mut far) = session(1 << 20).await;
    let all = content(100_000);
    let parts: Vec<_> =
        [0, 5, 300, 70_000, 70_001, all.len()].windows(2).map(|ends| &all[ends[0]..ends[1]]).collect();
    let mut slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let mut slices = slices.as_mut_slice();
    let reads = tokio::spawn(async move {
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.map(|_| read)
    });
    while !slices.is_empty() {
        let written = near.write_vectored(slices).await.unwrap();
        assert!(written > 0);
        io::IoSlice::advance_slices(&mut slices, written);
    }
    // The end is said when it is dropped.
    near.flush().await.unwrap();
    drop(near);
    assert!(reads.await.unwrap().unwrap() == all);
}

#[tokio::test]
async fn a_part_of_a_record_is_known_and_an_end_without_a_word_is_none() {
    let (mut near, mut far) = session(1 << 20).await;
    far.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 3];
    near.read_exact(&mut buffer).await.unwrap();
    // The rest of what was decrypted is to be had, whatever the socket says.
    assert!(near.has_input() && !near.holds_part());
    near.read_exact(&mut buffer[..2]).await.unwrap();
    let (socket, session) = far.get_mut();
    let mut record = Vec::new();
    io::Write::write_all(&mut session.writer(), b"more").unwrap();
    session.write_tls(&mut record).unwrap();
    socket.write_all(&record[..10]).await.unwrap();
    while !near.holds_part() {
        let read = tokio::time::timeout(Duration::from_millis(50), near.read(&mut buffer)).await;
        assert!(read.is_err());
    }
    assert!(!near.has_input());
    near.rests();
    socket.write_all(&record[10..]).await.unwrap();
    near.read_exact(&mut buffer).await.unwrap();
    assert!(&buffer == b"mor" && !near.holds_part());
    near.read_exact(&mut buffer[..1]).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(near.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_cut_off_does_not_end_well() {
    for (cut_off, ends_well) in [(false, true), (true, false)] {
        let (mut near, mut far) = session(1 << 20).await;
        near.write_all(b"half").await.unwrap();
        near.flush().await.unwrap();
        if cut_off {
            near.is_cut_off();
        }
        drop(near);
        let mut read = Vec::new();
        assert_eq!(far.read_to_end(&mut read).await.is_ok(), ends_well);
        assert_eq!(read, b"half");
    }
}
