use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::resolve::test_server::{DnsServer, Reply};

/// A server that does this with each connection, until it is dropped.
struct Server {
    port: u16,
    _task: JoinSet<()>,
}

async fn serve<F, Fut>(each: F) -> Server
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            each(stream).await;
        }
    });
    Server { port, _task: task }
}

/// Reads something, then answers this in one piece, or byte by byte, and closes.
async fn answering(answer: &'static [u8], byte_by_byte: bool) -> Server {
    serve(move |mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        stream.set_nodelay(true).unwrap();
        for piece in answer.chunks(if byte_by_byte { 1 } else { answer.len().max(1) }) {
            let _ = stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Http,
    Redis,
    Postgres,
}

const ALL: [Kind; 3] = [Kind::Http, Kind::Redis, Kind::Postgres];

async fn ask(kind: Kind, host: &str, port: u16) -> Result<(), String> {
    let resolver = Resolver::system();
    match kind {
        Kind::Http => http(&resolver, host, port, "/up?x=1").await,
        Kind::Redis => redis(&resolver, host, port).await,
        Kind::Postgres => postgres(&resolver, host, port).await,
    }
}

/// What a probe says of a server with this answer, however it is cut.
async fn told(kind: Kind, answer: &'static [u8]) -> Result<(), String> {
    let whole = ask(kind, "127.0.0.1", answering(answer, false).await.port).await;
    let in_pieces = ask(kind, "127.0.0.1", answering(answer, true).await.port).await;
    assert_eq!(whole, in_pieces, "{kind:?}");
    whole
}

fn error(message: &str) -> Result<(), String> {
    Err(message.into())
}

#[tokio::test]
async fn http_wants_2xx() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nto the end",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Fine\r\ncontent-length: 999999\r\n\r\n",
    ] {
        assert_eq!(told(Kind::Http, answer).await, Ok(()), "{}", answer.escape_ascii());
    }
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(told(Kind::Http, redirect).await, error("answered 302, a redirect, not 2xx"));
    let ill = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(told(Kind::Http, ill).await, error("answered 503"));
    let port = answering(b"", false).await.port;
    let bad = http(&Resolver::system(), "127.0.0.1", port, "no path").await;
    assert_eq!(bad, error("\"no path\" is not a path"));
}

#[tokio::test]
async fn http_sends_what_a_server_expects() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(1);
    let server = serve(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            request.truncate(length);
            sender.send(String::from_utf8(request).unwrap()).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    assert_eq!(ask(Kind::Http, "localhost", server.port).await, Ok(()));
    let expected = format!(
        "GET /up?x=1 HTTP/1.1\r\nhost: localhost:{}\r\nuser-agent: nessen\r\nconnection: close\r\n\r\n",
        server.port
    );
    assert_eq!(heads.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn http_reads_a_bounded_head() {
    let server = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let told = ask(Kind::Http, "127.0.0.1", server.port).await;
    assert_eq!(told, error("the head of the answer is over 65536 bytes"));
}

#[tokio::test]
async fn redis_is_up_where_it_answers_ping_or_wants_a_password() {
    for answer in [
        &b"+PONG\r\n"[..],
        b"-NOAUTH Authentication required.\r\n",
        b"-NOPERM this user has no permissions to run the 'ping' command\r\n",
    ] {
        assert_eq!(told(Kind::Redis, answer).await, Ok(()));
    }
    assert_eq!(
        told(Kind::Redis, b"-LOADING Redis is loading the dataset in memory\r\n").await,
        error("answered LOADING Redis is loading the dataset in memory")
    );
    assert_eq!(
        told(Kind::Redis, b"-ERR max number of clients reached\r\n").await,
        error("answered ERR max number of clients reached")
    );
    assert_eq!(told(Kind::Redis, b"-ERR \x1b[2J\"x\xff\r\n").await, error("answered ERR  [2J\"x "));
    assert!(told(Kind::Redis, b"+PONGO\r\n").await.is_err());
    let endless = serve(|mut stream| async move { while stream.write_all(&[b'-'; 4096]).await.is_ok() {} });
    let told = ask(Kind::Redis, "127.0.0.1", endless.await.port).await;
    assert_eq!(told, Err(format!("answered {}", "-".repeat(100))));
}

#[tokio::test]
async fn postgres_is_up_unless_it_cannot_take_connections() {
    // AuthenticationSASL, AuthenticationOk, no such role, TLS is required.
    for answer in [
        &b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\0\0"[..],
        b"R\x00\x00\x00\x08\x00\x00\x00\x00",
        b"E\x00\x00\x00\x28SFATAL\0C28000\0Mrole does not exist\0\0",
        b"E\x00\x00\x00\x18SFATAL\0C08P01\0MTLS\0\0",
    ] {
        assert_eq!(told(Kind::Postgres, answer).await, Ok(()), "{}", answer.escape_ascii());
    }
    let starting = b"E\x00\x00\x00\x37SFATAL\0C57P03\0Mthe database system is starting up\0\0";
    let told_starting = told(Kind::Postgres, starting).await;
    assert_eq!(told_starting, error("answered the database system is starting up"));
    for foreign in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"Eno length, as a server that cannot fork says it\0",
        b"Redis",
        b"E\x00\x00\x00\x08\0\0\0\0",
        b"N",
    ] {
        assert_eq!(told(Kind::Postgres, foreign).await, error("the answer is not PostgreSQL's"));
    }
}

#[tokio::test]
async fn garbage_is_named_for_what_it_is_not() {
    let garbage = b"\x16\x03\x01\x02\x00\r\n\r\n\x00\xff";
    assert_eq!(told(Kind::Http, garbage).await, error("the answer is not HTTP/1"));
    assert_eq!(told(Kind::Redis, garbage).await, error("the answer is not Redis's"));
    assert_eq!(told(Kind::Postgres, garbage).await, error("the answer is not PostgreSQL's"));
}

#[tokio::test]
async fn a_server_that_closes_fails() {
    for kind in ALL {
        for cut in [&b""[..], b"HTTP/1.1 20", b"+PON", b"E\x00\x00\x00\x20SFATAL"] {
            let told = ask(kind, "127.0.0.1", answering(cut, false).await.port).await;
            assert!(told.is_err(), "{kind:?} {}", cut.escape_ascii());
        }
        let told = told(kind, b"").await.unwrap_err();
        assert_eq!(told, "closed the connection without an answer", "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_left_to_the_caller() {
    let server = serve(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(tcp(&Resolver::system(), "127.0.0.1", server.port).await, Ok(()));
    for kind in ALL {
        let told = timeout(Duration::from_secs(3600), ask(kind, "127.0.0.1", server.port)).await;
        assert!(told.is_err(), "{kind:?} has a deadline of its own: {told:?}");
    }
}

#[tokio::test]
async fn the_addresses_are_tried_in_turn() {
    let server = serve(|stream| async move { drop(stream) }).await;
    // Nobody listens on the first, which is of the same machine.
    let addresses = ["127.0.0.1", "127.0.0.77"].map(|address| address.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.77:0").await.unwrap();
    let second: SocketAddr = listener.local_addr().unwrap();
    let dns = DnsServer::start(move |_| Reply::Addresses(addresses.to_vec(), 5)).await;
    let resolver = Resolver::with_nameserver(dns.address);
    assert_eq!(tcp(&resolver, "app", second.port()).await, Ok(()));
    assert_eq!(tcp(&resolver, "app", server.port).await, Ok(()));
    drop(listener);
    assert_eq!(tcp(&resolver, "app", second.port()).await, error("cannot connect: connection refused"));
    assert_eq!(tcp(&Resolver::system(), "a b", 1).await, error("a b: not a valid name"));
}
