use std::convert::Infallible;
use std::future::Future;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::resolve::Resolver;
use crate::tls::client::ClientOptions;
use crate::tls::provider;

const BOUNDS: Bounds = Bounds { deadline: Duration::from_secs(10), max_body: 1000 };
const HASTY: Bounds = Bounds { deadline: Duration::from_millis(200), max_body: 1000 };

/// Says what it was asked, in the body and in a trailer.
async fn echo(
    request: Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let host = parts.headers.get("host").map_or("", |host| host.to_str().unwrap());
    let text = format!("{} {} {host} {:?} {}", parts.method, parts.uri, parts.version, body.len());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "yes".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from(text))), Ok(Frame::trailers(trailers))];
    let response = Response::builder().header("trailer", "x-end");
    Ok(response.body(StreamBody::new(tokio_stream::iter(frames))).unwrap())
}

async fn serve_one(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
    let io = TokioIo::new(io);
    let _ = match http2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service_fn(echo))
                .await
        }
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(echo)).await,
    };
}

/// A server of whatever `each` makes of a connection; its port, and how many there were.
async fn server<F, Fut>(each: F) -> (u16, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream, counted.fetch_add(1, Ordering::Relaxed)));
        }
    });
    (port, count)
}

fn caller(port: u16, speak: Speak) -> Caller {
    let origin = Origin { host: "127.0.0.1".to_owned(), port, tls: None, speak };
    Caller::new(Dialer::new(Resolver::system()), origin)
}

fn post(body: &'static str) -> Request<Bytes> {
    Request::post("/v1/traces?x=1").body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// What the server saw, and the trailer.
async fn text(caller: &Caller) -> (String, bool) {
    let mut request = post("four");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = caller.call(request, BOUNDS).await.unwrap();
    (String::from_utf8(answer.body.to_vec()).unwrap(), answer.trailers.contains_key("x-end"))
}

#[tokio::test]
async fn a_connection_serves_one_call_after_the_other() {
    for (speak, http2) in [(Speak::Http1, false), (Speak::Http2, true), (Speak::Either, false)] {
        let (port, connections) = server(move |stream, _| serve_one(stream, http2)).await;
        let caller = caller(port, speak);
        let expected = match http2 {
            false => format!("POST /v1/traces?x=1 127.0.0.1:{port} HTTP/1.1 4"),
            true => format!("POST http://127.0.0.1:{port}/v1/traces?x=1  HTTP/2.0 4"),
        };
        for _ in 0..3 {
            assert_eq!(text(&caller).await, (expected.clone(), true), "{speak:?}");
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn tls_decides_what_is_spoken() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("nessen-outcall-{}.pem", std::process::id()));
    std::fs::write(&file, made.cert.pem()).unwrap();
    for (offered, speak, version) in [
        (Speak::Either, Speak::Either, Some("HTTP/2.0")),
        (Speak::Either, Speak::Http1, Some("HTTP/1.1")),
        (Speak::Http1, Speak::Either, Some("HTTP/1.1")),
        (Speak::Http2, Speak::Http2, Some("HTTP/2.0")),
        (Speak::Http1, Speak::Http2, None),
    ] {
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = offered.protocols().iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (port, _) = server(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_one(stream, http2).await;
            }
        })
        .await;
        let tls = ClientOptions { ca: Some(file.clone()), identity: None }.config(speak.protocols()).unwrap();
        let origin = Origin { host: "127.0.0.1".to_owned(), port, tls: Some(tls), speak };
        let caller = Caller::new(Dialer::new(Resolver::system()), origin);
        match version {
            Some(version) => assert!(text(&caller).await.0.contains(version), "{offered:?} {speak:?}"),
            None => {
                let error = caller.call(post(""), BOUNDS).await.unwrap_err();
                assert!(matches!(error, CallError::Connect(_)), "{error}");
            }
        }
    }
    std::fs::remove_file(file).unwrap();
}

/// A server that answers every connection with these bytes, and then holds it or closes it.
async fn saying(answer: &'static [u8], then_close: bool) -> (u16, Arc<AtomicUsize>) {
    server(move |mut stream, _| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(answer).await;
        if !then_close {
            pending::<()>().await;
        }
    })
    .await
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_waited_for() {
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour"] {
        let (port, _) = saying(answer.as_bytes(), false).await;
        let caller = caller(port, Speak::Http1);
        let error = caller.call(post(""), HASTY).await.unwrap_err();
        assert!(matches!(error, CallError::Deadline(_)), "{answer:?}: {error}");
        // Nor is it asked on the same connection again.
        assert!(caller.kept.lock().await.is_none());
    }
    // One that takes connections and never looks at them, and one whose settings never come.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for speak in [Speak::Http1, Speak::Http2] {
        let caller = caller(listener.local_addr().unwrap().port(), speak);
        let error = caller.call(post(""), HASTY).await.unwrap_err();
        assert!(matches!(error, CallError::Deadline(_)), "{error}");
    }
}

#[tokio::test]
async fn no_more_is_taken_of_an_answer_than_was_asked_for() {
    let (port, _) = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", false).await;
    let error = caller(port, Speak::Http1).call(post(""), BOUNDS).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge(1000)), "{error}");
    let endless = |mut stream: TcpStream, _| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"5\r\nabcde\r\n").await.is_ok() {}
    };
    let (port, _) = server(endless).await;
    let error = caller(port, Speak::Http1).call(post(""), BOUNDS).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge(1000)), "{error}");
    let endless = |mut stream: TcpStream, _| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: of the same\r\n").await.is_ok() {}
    };
    let (port, _) = server(endless).await;
    let error = caller(port, Speak::Http1).call(post(""), BOUNDS).await.unwrap_err();
    assert!(matches!(error, CallError::Broken(_)), "{error}");
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for (answer, speak) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Speak::Http1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour", Speak::Http1),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Speak::Http2),
        (b"", Speak::Http1),
        (b"", Speak::Http2),
    ] {
        let (port, _) = saying(answer, true).await;
        let error = caller(port, speak).call(post(""), BOUNDS).await.unwrap_err();
        assert!(matches!(error, CallError::Broken(_)), "{speak:?}: {error}");
    }
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = caller(port, Speak::Http1).call(post(""), BOUNDS).await.unwrap_err();
    assert!(matches!(error, CallError::Connect(_)), "{error}");
}

/// A connection that ends while it is idle costs nobody a call.
#[tokio::test]
async fn a_connection_that_has_ended_is_replaced() {
    let once = |mut stream: TcpStream, _| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    };
    let (port, connections) = server(once).await;
    let caller = caller(port, Speak::Http1);
    for _ in 0..5 {
        caller.call(post("x"), BOUNDS).await.unwrap();
        while caller.kept.lock().await.as_ref().is_some_and(Link::is_of_use) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn those_who_call_at_once_have_their_turns() {
    let (port, connections) = server(|stream, _| serve_one(stream, false)).await;
    let caller = Arc::new(caller(port, Speak::Http1));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let caller = caller.clone();
        calls.spawn(async move { caller.call(post("x"), BOUNDS).await.unwrap().status });
    }
    assert!(calls.join_all().await.iter().all(StatusCode::is_success));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// One who gives up leaves nothing half said behind.
#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_along() {
    let slow_once = |mut stream: TcpStream, number| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        if number == 0 {
            let end = stream.read(&mut head).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        pending::<()>().await;
    };
    let (port, connections) = server(slow_once).await;
    let caller = caller(port, Speak::Http1);
    assert!(caller.call(post("x"), HASTY).await.is_err());
    assert_eq!(caller.call(post("x"), BOUNDS).await.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn an_authority_tells_a_port_only_where_it_must() {
    let origin = |port| Origin { host: "::1".to_owned(), port, tls: None, speak: Speak::Http1 };
    assert_eq!(origin(80).authority(), "[::1]");
    assert_eq!(origin(4318).authority(), "[::1]:4318");
}
