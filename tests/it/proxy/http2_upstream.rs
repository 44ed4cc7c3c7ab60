//! An upstream of HTTP/2 by prior knowledge: `h2c://`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request as Head, Response};

use super::{Caller, NO_EJECTION, proxy_to, runtime};
use crate::support::PATIENCE;
use crate::support::client::{Body, Client, Request};
use crate::support::client2::{Client2, send_all};
use crate::support::server::Server;
use crate::support::upstream::Digest;
use crate::support::wire::{Broken, values};

/// What the upstream has counted.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicUsize,
    pub(super) streams: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// Listens, and does with each stream what its `x-fault` says.
pub(super) async fn start() -> (SocketAddr, Arc<Counts>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let of_task = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            of_task.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection(stream, of_task.clone()));
        }
    });
    (address, counts)
}

async fn connection(stream: tokio::net::TcpStream, counts: Arc<Counts>) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        counts.streams.fetch_add(1, Ordering::Relaxed);
        match request.headers().get("x-fault").and_then(|fault| fault.to_str().ok()) {
            Some("goaway") => {
                tokio::spawn(answer(request, respond, counts.clone()));
                connection.graceful_shutdown();
            }
            Some("goaway-abrupt") => {
                connection.abrupt_shutdown(Reason::INTERNAL_ERROR);
            }
            // The socket goes with it, in the middle of everything.
            Some("drop-connection") => return,
            _ => {
                tokio::spawn(answer(request, respond, counts.clone()));
            }
        }
    }
}

async fn answer(request: Head<RecvStream>, mut respond: SendResponse<Bytes>, counts: Arc<Counts>) {
    let now = counts.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    counts.most_at_once.fetch_max(now, Ordering::Relaxed);
    let _ = act(request, &mut respond).await;
    counts.at_once.fetch_sub(1, Ordering::Relaxed);
}

async fn act(request: Head<RecvStream>, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let text = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let fault = text("x-fault").unwrap_or_default();
    let token = text("x-token").unwrap_or_default();
    let reset = |code: &str| match code {
        "refused" => Reason::REFUSED_STREAM,
        "internal" => Reason::INTERNAL_ERROR,
        _ => Reason::CANCEL,
    };
    if let Some(code) = fault.strip_prefix("reset-") {
        respond.send_reset(reset(code));
        return Ok(());
    }
    let mut digest = Digest::default();
    while let Some(part) = body.data().await {
        let part = part?;
        digest.add(&part);
        body.flow_control().release_capacity(part.len())?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    if fault == "pause" {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let answer = Response::builder()
        .header("x-token", token.as_str())
        .header("x-length", digest.length)
        .header("x-hash", format!("{:016x}", digest.hash))
        .header("x-authority", head.uri.authority().map_or("", |authority| authority.as_str()))
        .header("x-path", head.uri.path_and_query().map_or("", |path| path.as_str()))
        .header("x-method", head.method.as_str())
        .header("x-te", text("te").unwrap_or_default())
        .header("x-hosts", head.headers.get_all("host").iter().count())
        .header("x-cookies", head.headers.get_all("cookie").iter().count())
        .header("x-sum-seen", trailers.get("x-sum").cloned().unwrap_or(HeaderValue::from_static("")))
        .body(())
        .unwrap();
    let bodiless = head.method == http::Method::HEAD;
    let mut stream = respond.send_response(answer, bodiless)?;
    if bodiless {
        return Ok(());
    }
    match fault.as_str() {
        "grpc" => {
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x02ok"), false)?;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("grpc-message", HeaderValue::from_static("fine"));
            trailers.insert("authorization", HeaderValue::from_static("poison"));
            stream.send_trailers(trailers)
        }
        "cut" => {
            stream.send_data(Bytes::from_static(b"half of it"), false)?;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        "large" => send_all(&mut stream, Bytes::from(vec![b'l'; 3 << 20]), true).await,
        _ => stream.send_data(Bytes::from(token), true),
    }
}

fn server(address: SocketAddr) -> Server {
    proxy_to(&format!("h2c://{address}"), &[("MAX_BODY_SIZE", "8MiB"), NO_EJECTION])
}

#[test]
fn requests_of_both_protocols_arrive() {
    let runtime = runtime();
    let (address, counts) = runtime.block_on(start());
    let server = server(address);
    let large = vec![b'x'; 2 << 20];
    let requests = |way: &str| {
        vec![
            Request::get(&format!("{way}-get"), "ok"),
            Request::get(&format!("{way}-head"), "ok").method("HEAD"),
            Request::post(&format!("{way}-post"), "ok", b"a body"),
            Request::post(&format!("{way}-large"), "ok", &large),
            Request::post(&format!("{way}-parts"), "ok", b"")
                .body(Body::Parts(vec![b"one".to_vec(), large.clone(), b"three".to_vec()], Vec::new())),
        ]
    };
    let mut client = Client::open(server.address);
    let client2 = runtime.block_on(Client2::open(server.address));
    for (way, request) in [("h1", requests("h1")), ("h2", requests("h2"))]
        .into_iter()
        .flat_map(|(way, all)| all.into_iter().map(move |request| (way, request)))
    {
        let answer = match way {
            "h1" => client.ask(&request),
            _ => runtime.block_on(client2.ask(&request)).unwrap_or_else(|_| panic!("{}", request.token())),
        };
        let token = request.token();
        answer.assert_answers(200, token);
        let digest = Digest::of(&request.body.bytes());
        assert_eq!(answer.field("x-length"), Some(digest.length.to_string().as_str()), "{token}");
        assert_eq!(answer.field("x-hash"), Some(format!("{:016x}", digest.hash).as_str()), "{token}");
        assert_eq!(answer.field("x-method"), Some(request.method.as_str()));
        assert_eq!(answer.field("x-authority"), Some("nessen.test"));
        // A host beside the authority could be another one (RFC 9113 section 8.3.1).
        assert_eq!(answer.field("x-hosts"), Some("0"));
        let body = if request.method == "HEAD" { "" } else { token };
        assert_eq!(answer.body, body.as_bytes());
    }
    assert!(counts.connections.load(Ordering::Relaxed) <= 4, "streams share connections");
}

/// `OPTIONS *` has no authority to stand behind; ejection is on, as it is by default.
#[test]
fn a_target_that_http_2_does_not_have_is_not_the_upstreams_fault() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start());
    let server = proxy_to(&format!("h2c://{address}"), &[]);
    for _ in 0..10 {
        Client::open(server.address).ask(&Request::new("OPTIONS", "*")).assert_refusal(400, "INVALID_PATH");
    }
    Client::open(server.address).ask(&Request::get("well", "ok")).assert_answers(200, "well");
}

#[test]
fn trailers_as_grpc_has_them_pass() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start());
    let server = server(address);
    runtime.block_on(async {
        let client = Client2::open(server.address).await;
        let sum = vec![("x-sum".to_owned(), "7".to_owned())];
        let request = Request::post("t", "grpc", b"")
            .field("te", "trailers")
            .field("content-type", "application/grpc")
            .body(Body::Parts(vec![b"\0\0\0\0\x02hi".to_vec()], sum));
        let answer = client.ask(&request).await.expect("an answer");
        answer.assert_answers(200, "t");
        // A gRPC server refuses who does not say this.
        assert_eq!(answer.field("x-te"), Some("trailers"));
        assert_eq!(answer.field("x-sum-seen"), Some("7"));
        assert_eq!(answer.body, b"\0\0\0\0\x02ok");
        assert_eq!(values(&answer.trailers, "grpc-status"), ["0"]);
        assert_eq!(values(&answer.trailers, "grpc-message"), ["fine"]);
        assert_eq!(values(&answer.trailers, "authorization"), [""; 0]);
    });
}

#[test]
fn many_streams_go_at_once() {
    let runtime = runtime();
    let (address, counts) = runtime.block_on(start());
    let server = server(address);
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for connection in 0..4 {
            let client = Client2::open(server.address).await;
            for number in 0..50 {
                let client = client.clone();
                let token = format!("{connection}-{number}");
                let fault = if number % 10 == 0 { "large" } else { "pause" };
                all.spawn(async move {
                    let answer = client.ask(&Request::get(&token, fault)).await.expect("an answer");
                    answer.assert_answers(200, &token);
                    let length = if fault == "large" { 3 << 20 } else { token.len() };
                    assert_eq!(answer.body.len(), length);
                });
            }
        }
        let all = tokio::time::timeout(PATIENCE, all.join_all()).await.expect("all answers");
        assert_eq!(all.len(), 200);
    });
    let (connections, most) = (&counts.connections, &counts.most_at_once);
    assert!(connections.load(Ordering::Relaxed) <= 8, "{connections:?}");
    assert!(most.load(Ordering::Relaxed) >= 50, "{most:?} streams at once");
}

#[test]
fn a_stream_that_is_reset_costs_itself_alone() {
    let runtime = runtime();
    let (address, counts) = runtime.block_on(start());
    let server = server(address);
    let mut client = Caller::new(&server);
    client.ask(&Request::get("first", "ok")).assert_answers(200, "first");
    let connections = counts.connections.load(Ordering::Relaxed);
    for fault in ["reset-internal", "reset-cancel", "reset-refused"] {
        let answer = client.ask(&Request::post(fault, fault, b"body"));
        assert_eq!(answer.status, 502, "{fault}: {answer:?}");
        assert!(answer.code().starts_with("UPSTREAM_"), "{fault}: {answer:?}");
        client.ask(&Request::get("next", "ok")).assert_answers(200, "next");
    }
    let answer = client.ask(&Request::get("cut", "cut"));
    assert_eq!((answer.status, &answer.body[..], answer.cut.is_some()), (200, &b"half of it"[..], true));
    client.ask(&Request::get("next", "ok")).assert_answers(200, "next");
    // Over HTTP/2 the stream alone is cut, on both sides.
    runtime.block_on(async {
        let client = Client2::open(server.address).await;
        let answer = client.ask(&Request::get("cut", "cut")).await.expect("a head");
        assert!(matches!(answer.cut, Some(Broken::Reset(_))), "{answer:?}");
        client.ask(&Request::get("next", "ok")).await.unwrap().assert_answers(200, "next");
    });
    let now = counts.connections.load(Ordering::Relaxed);
    assert_eq!(now, connections, "a reset stream has cost the connection");
}

#[test]
fn a_stream_that_was_refused_unserved_is_asked_again() {
    let runtime = runtime();
    let (address, counts) = runtime.block_on(start());
    let server = server(address);
    // RFC 9113 section 8.7: nothing of it was processed, so even this does no harm.
    let before = counts.streams.load(Ordering::Relaxed);
    let answer = Client::open(server.address).ask(&Request::get("t", "reset-refused"));
    assert_eq!(answer.status, 502, "{answer:?}");
    let asked = counts.streams.load(Ordering::Relaxed) - before;
    assert!(asked >= 2, "asked {asked} times");
}

#[test]
fn a_connection_that_goes_away_is_replaced() {
    let runtime = runtime();
    let (address, counts) = runtime.block_on(start());
    let server = server(address);
    let mut client = Caller::new(&server);
    for number in 0..20 {
        // The one that it comes on is still answered, and so are those after it.
        let token = format!("goaway-{number}");
        client.ask(&Request::get(&token, "goaway")).assert_answers(200, &token);
        let token = format!("post-{number}");
        client.ask(&Request::post(&token, "ok", b"body")).assert_answers(200, &token);
    }
    assert!(counts.connections.load(Ordering::Relaxed) >= 2);
    for fault in ["goaway-abrupt", "drop-connection"] {
        let answer = client.ask(&Request::post(fault, fault, b"body"));
        assert_eq!(answer.status, 502, "{fault}: {answer:?}");
        for number in 0..3 {
            let token = format!("{fault}-{number}");
            client.ask(&Request::get(&token, "ok")).assert_answers(200, &token);
        }
    }
}

#[test]
fn fields_are_those_of_http_2() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start());
    let server = server(address);
    let request = Request::new("GET", "/a%20b?c=d")
        .field("X-Token", "t")
        .field("Connection", "keep-alive, X-Hop")
        .field("X-Hop", "1")
        .field("Keep-Alive", "timeout=5")
        .field("TE", "gzip, trailers")
        .field("Cookie", "a=b; c=d");
    let answer = Client::open(server.address).ask(&request);
    // A stream with a field of a connection would have been refused by the upstream's parser.
    answer.assert_answers(200, "t");
    assert_eq!(answer.field("x-path"), Some("/a%20b?c=d"));
    assert!(["", "trailers"].contains(&answer.field("x-te").unwrap()), "{answer:?}");
}

#[test]
fn an_upstream_that_speaks_no_http_2_is_a_bad_gateway() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                while stream.read(&mut [0; 1000]).is_ok_and(|count| count > 0) {}
            });
        }
    });
    for _ in 0..3 {
        // Whether what it says is read, or the end that follows is seen first, is a matter of chance.
        let answer = Client::open(server.address).ask(&Request::get("t", "ok"));
        let known = ["UPSTREAM_INVALID", "UPSTREAM_UNREACHABLE"].contains(&answer.code().as_str());
        assert!(answer.status == 502 && known, "{answer:?}");
    }
}
