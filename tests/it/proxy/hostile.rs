//! Clients and upstreams that would cost somebody else something.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::Response;

use super::{Caller, NO_EJECTION, ask, proxy, proxy_to, runtime};
use crate::support::client::{Body, Client, Request};
use crate::support::client2::send_all;
use crate::support::http2::{END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, frame, request, settings};
use crate::support::upstream::Upstream;

/// Answers each stream by its `x-fault`; connections before `deaf` answer none. Counts connections.
async fn start(settings: Builder, deaf: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let of_task = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = of_task.fetch_add(1, Ordering::Relaxed) >= deaf;
            let settings = settings.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else { return };
                let mut held = Vec::new();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    if answers {
                        tokio::spawn(answer(request, respond));
                    } else {
                        held.push((request, respond));
                    }
                }
            });
        }
    });
    (address, count)
}

async fn answer(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let text =
        |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let head = Response::builder().header("x-token", text("x-token")).body(()).unwrap();
    match text("x-fault").as_str() {
        "reset-protocol" => respond.send_reset(Reason::PROTOCOL_ERROR),
        "huge" => {
            let mut stream = respond.send_response(head, false).unwrap();
            let _ = send_all(&mut stream, Bytes::from(vec![b'h'; 1 << 20]), true).await;
        }
        "silent" => {
            let mut body = request.into_body();
            while let Some(Ok(part)) = body.data().await {
                let _ = body.flow_control().release_capacity(part.len());
            }
            std::future::pending::<()>().await;
        }
        "endless" => {
            let mut stream = respond.send_response(head, false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"begun"), false);
            std::future::pending::<()>().await;
        }
        _ => {
            let mut stream = respond.send_response(head, false).unwrap();
            let _ = stream.send_data(text("x-token").into(), true);
        }
    }
}

#[test]
fn what_http_2_cannot_carry_is_no_fault_of_the_upstream() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start(Builder::new(), 0));
    let server = proxy_to(&format!("h2c://{address}"), &[]);
    for number in 0..8 {
        let answer = Client::open(server.address).ask(&Request::new("OPTIONS", "*"));
        assert!((400..500).contains(&answer.status), "{number}: {answer:?}");
    }
    Caller::new(&server).ask(&Request::get("t", "ok")).assert_answers(200, "t");
}

#[test]
fn a_stream_that_the_upstream_finds_malformed_does_not_put_it_aside() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start(Builder::new(), 0));
    let server = proxy_to(&format!("h2c://{address}"), &[]);
    for number in 0..8 {
        let answer = Client::open(server.address).ask(&Request::post("t", "reset-protocol", b"x"));
        assert_eq!(answer.status, 502, "{number}: {answer:?}");
        assert_eq!(answer.code(), "UPSTREAM_INVALID");
    }
    Caller::new(&server).ask(&Request::get("t", "ok")).assert_answers(200, "t");
}

#[test]
fn clients_that_do_not_read_leave_the_shared_connection_to_the_others() {
    let runtime = runtime();
    let (address, count) = runtime.block_on(start(Builder::new(), 0));
    let server = proxy_to(&format!("h2c://{address}"), &[]);
    let mut silent = H2::open(server.address);
    silent.polite = false;
    for number in 0..60 {
        silent.send(&request(2 * number + 1, "GET", "/", &[("x-fault", "huge")], true));
    }
    silent.pump_until("all heads", |h2| h2.answers.values().filter(|it| it.status.is_some()).count() == 60);
    for number in 0..3 {
        let token = format!("t{number}");
        Caller::new(&server).ask(&Request::get(&token, "ok")).assert_answers(200, &token);
    }
    assert_eq!(count.load(Ordering::Relaxed), 1, "one connection is enough");
}

#[test]
fn a_connection_that_says_nothing_more_is_not_asked_for_ever() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start(Builder::new(), 1));
    let server =
        proxy_to(&format!("h2c://{address}"), &[NO_EJECTION, ("NESSEN_LIMITS_REQUEST_TIMEOUT", "3s")]);
    let answer = Caller::new(&server).ask(&Request::post("t", "ok", b"x"));
    assert_eq!(answer.status, 504, "{answer:?}");
    Caller::new(&server).ask(&Request::get("t", "ok")).assert_answers(200, "t");
}

#[test]
fn an_upstream_that_takes_few_streams_is_given_more_connections() {
    let runtime = runtime();
    let mut settings = Builder::new();
    settings.max_concurrent_streams(1);
    let (address, _) = runtime.block_on(start(settings, 0));
    let server = proxy_to(&format!("h2c://{address}"), &[("NESSEN_LIMITS_REQUEST_TIMEOUT", "2s")]);
    let mut long: Vec<Client> = Vec::new();
    for number in 0..4 {
        let token = format!("endless-{number}");
        let mut client = Client::open(server.address);
        client.send(&Request::get(&token, "endless").bytes());
        client.head().expect("a head").assert_answers_to(&token);
        long.push(client);
    }
    Caller::new(&server).ask(&Request::get("t", "ok")).assert_answers(200, "t");
}

#[test]
fn the_time_to_the_first_byte_runs_from_the_end_of_the_request() {
    let runtime = runtime();
    let (address, _) = runtime.block_on(start(Builder::new(), 0));
    let times = [
        ("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "300ms"),
        ("NESSEN_LIMITS_REQUEST_TIMEOUT", "8s"),
        NO_EJECTION,
    ];
    let server = proxy_to(&format!("h2c://{address}"), &times);
    let mut client = Client::open(server.address);
    let request = Request::post("t", "silent", b"").body(Body::Parts(Vec::new(), Vec::new()));
    client.send(&request.head_bytes());
    client.send(b"3\r\none\r\n");
    // The client takes its time, which is not the upstream's.
    client.assert_quiet_for(Duration::from_millis(600));
    client.send(b"0\r\n\r\n");
    let began = Instant::now();
    let answer = client.answer();
    answer.assert_refusal(504, "UPSTREAM_TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Reads whole frames until one of this kind, and says which stream it is of.
fn frame_of(stream: &mut TcpStream, wanted: u8) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).ok()?;
        if head[3] == wanted {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

#[test]
fn a_request_behind_the_last_one_that_counts_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = proxy_to(&format!("h2c://{}", listener.local_addr().unwrap()), &[]);
    std::thread::spawn(move || {
        for number in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                stream.read_exact(&mut [0; 24]).unwrap();
                stream.write_all(&settings(&[])).unwrap();
                while let Some(id) = frame_of(&mut stream, HEADERS) {
                    // Nothing of it was looked at (RFC 9113 section 6.8), whatever the method.
                    let bytes = match number {
                        0 => frame(GOAWAY, 0, 0, &[0; 8]),
                        _ => frame(HEADERS, END_HEADERS | END_STREAM, id, &[0x88]),
                    };
                    stream.write_all(&bytes).unwrap();
                }
            });
        }
    });
    let answer = Client::open(server.address).ask(&Request::post("t", "ok", b""));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_head_that_is_too_large_does_not_put_its_upstream_aside() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for _ in 0..8 {
        // As large as what a client makes of it: one cookie in, one out.
        ask(&server, &Request::get("t", "header-many")).assert_refusal(502, "UPSTREAM_INVALID");
    }
    ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
}

/// A client can have an application say these.
#[test]
fn fields_that_are_none_do_not_put_their_upstream_aside() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for fault in ["header-nul", "header-cr", "header-bad-name"] {
        for _ in 0..8 {
            ask(&server, &Request::get("t", fault)).assert_refusal(502, "UPSTREAM_INVALID");
        }
        ask(&server, &Request::get("t", "ok")).assert_answers(200, "t");
    }
}

#[test]
fn a_path_that_climbs_or_ends_for_some_servers_alone_goes_nowhere() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    for path in ["/public/..;/admin", "/public%2f../admin", "/public\\..\\admin", "/public%00.txt"] {
        ask(&server, &Request::new("GET", path)).assert_refusal(400, "INVALID_PATH");
    }
    assert_eq!(upstream.begun(), 0);
}

#[test]
fn trailers_and_answers_that_break_are_no_cancelled_streams() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[NO_EJECTION, ("NESSEN_HTTP2_MAX_CANCELLED_STREAMS", "5")]);
    let mut client = H2::open(server.address);
    for number in 0..60 {
        let fault = if number % 2 == 0 { "trailers" } else { "chunk-no-crlf" };
        let fields = [("x-fault", fault), ("x-token", "t"), ("te", "trailers")];
        client.send(&request(2 * number + 1, "GET", "/", &fields, true));
        client.answer(2 * number + 1);
    }
    assert_eq!((client.end, client.goaways.len()), (None, 0), "{}", client.state());
}
