//! What takes longer than the drain's delay: uploads, answers that trickle, and WebSockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Backend, Tally, assert_nothing_lost, replace, rounds, runtime};
use crate::support::upstream::Digest;
use crate::support::websocket::Frame;

/// What one waits at most for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the head of an answer, and returns it in lower case.
async fn head(stream: &mut TcpStream) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => return Err(format!("{error} in the head {:?}", String::from_utf8_lossy(&head))),
        }
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// The body of a whole answer of the upstream to this token.
async fn answer(stream: &mut TcpStream, token: &str) -> Result<serde_json::Value, String> {
    let head = head(stream).await?;
    if !head.starts_with("http/1.1 200") || field(&head, "x-token") != token {
        return Err(format!("{token} was answered {head:?}"));
    }
    let length = field(&head, "content-length").parse().map_err(|_| format!("no length in {head:?}"))?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(|error| format!("in the body of {token}: {error}"))?;
    serde_json::from_slice(&body).map_err(|error| format!("{token}: {error}"))
}

/// A body in twelve parts, over about a second.
async fn upload(address: SocketAddr, token: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    let part = format!("{token} ").repeat(100);
    let parts = 12;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: {token}\r\nContent-Length: {}\r\n\r\n",
        part.len() * parts
    );
    let sending = |error| format!("sending {token}: {error}");
    stream.write_all(head.as_bytes()).await.map_err(sending)?;
    for _ in 0..parts {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(part.as_bytes()).await.map_err(sending)?;
    }
    let told = answer(&mut stream, token).await?;
    let sent = Digest::of(part.repeat(parts).as_bytes());
    if told["length"] != sent.length || told["hash"] != format!("{:016x}", sent.hash) {
        return Err(format!("{token} became {told}"));
    }
    Ok(())
}

/// An answer that comes byte by byte, over about a second.
async fn download(address: SocketAddr, token: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: {token}\r\nX-Fault: dribble=1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("asking: {error}"))?;
    let told = answer(&mut stream, token).await?;
    if told["token"] == token { Ok(()) } else { Err(format!("{token} became {told}")) }
}

/// How a conversation ended.
enum Ended {
    /// The server was told to go, and ended it in order.
    InOrder,
    /// The test is over.
    Stopped,
}

/// Messages there and back until one side ends it.
async fn converse(address: SocketAddr, token: &str, tally: &Tally) -> Result<Ended, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: {token}\r\nX-Fault: upgrade\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("asking: {error}"))?;
    let head = head(&mut stream).await?;
    if !head.starts_with("http/1.1 101") {
        return Err(format!("{token} was answered {head:?}"));
    }
    let server = field(&head, "x-upstream").to_owned();
    if server.is_empty() {
        return Err(format!("nobody says who serves {token}: {head:?}"));
    }
    for number in 0u64.. {
        if tally.stopped() {
            return Ok(Ended::Stopped);
        }
        let message = Frame::binary(format!("{token} {number}").into_bytes());
        let expected = message.bytes(None);
        let mut echo = vec![0; expected.len()];
        let exchanged = async {
            stream.write_all(&message.bytes(Some([3, 1, 4, 1]))).await?;
            stream.read_exact(&mut echo).await
        };
        match exchanged.await {
            Ok(_) if echo == expected => tally.answered(),
            Ok(_) => return Err(format!("another message than {token} {number}: {echo:?}")),
            // A message on its way when the end came was not taken any more: that is how a WebSocket ends
            // that nobody closes. Only who was told to go may do that.
            Err(_) if tally.was_told(&server) => return Ok(Ended::InOrder),
            Err(error) => {
                return Err(format!("{token} was cut off by server {server}, which stays: {error}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Ended::Stopped)
}

async fn client(number: usize, address: SocketAddr, tally: Arc<Tally>) {
    // Not all at the same time, so that each moment of a drain finds one at each stage.
    tokio::time::sleep(Duration::from_millis(number as u64 * 37)).await;
    let mut request = 0u64;
    while !tally.stopped() {
        request += 1;
        let token = format!("client-{number}-{request}");
        let outcome = match number % 3 {
            0 => timely(upload(address, &token)).await.map(|()| tally.answered()),
            1 => timely(download(address, &token)).await.map(|()| tally.answered()),
            _ => converse(address, &token, &tally).await.map(|end| {
                if matches!(end, Ended::InOrder) {
                    tally.ended.fetch_add(1, Ordering::Relaxed);
                }
            }),
        };
        if let Err(why) = outcome {
            tally.failed(&why);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn timely(act: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, act).await.unwrap_or_else(|_| Err("no answer for 20 s".to_owned()))
}

#[test]
fn nothing_in_flight_is_lost_in_a_replacement() {
    let rounds = rounds(6);
    let replaced = replace(rounds, Signal::TERM, Backend::before_upstream, 60, client);
    let (tally, codes) = runtime().block_on(replaced);
    assert_nothing_lost("in-flight", &tally, &codes, rounds as u64 * 40);
    let ended = tally.ended.load(Ordering::Relaxed);
    assert!(ended >= rounds as u64, "only {ended} WebSockets met a drain");
}

#[test]
fn a_server_that_is_killed_does_lose_what_is_in_flight() {
    let (tally, _) = runtime().block_on(replace(2, Signal::KILL, Backend::before_upstream, 60, client));
    let failures = tally.failures.lock().unwrap();
    for what in ["sending", "in the"] {
        assert!(failures.iter().any(|why| why.contains(what)), "no failure with {what:?} in {failures:#?}");
    }
}
