//! A hundred keep-alive connections of POSTs, none of them ever sent twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Backend, Tally, assert_nothing_lost, replace, rounds, runtime};
use crate::support::PATIENCE;

/// One answer, or why it did not come whole.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, body: &str) -> Result<bool, String> {
    let request =
        format!("POST /echo HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("sending: {error}"))?;
    let mut answer = Vec::new();
    loop {
        if let Some(close) = whole(&answer, body)? {
            return Ok(close);
        }
        let count = stream.read_buf(&mut answer).await.map_err(|error| format!("reading: {error}"))?;
        if count == 0 {
            return Err(format!("closed after {:?}", String::from_utf8_lossy(&answer)));
        }
    }
}

/// Whether a whole answer says that the connection closes; nothing while it is not whole.
fn whole(answer: &[u8], body: &str) -> Result<Option<bool>, String> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, rest)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let refused = !head.starts_with("HTTP/1.1 200");
    let head = head.to_ascii_lowercase();
    if refused {
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        // Its reason stands in its body.
        return if rest.len() < length.unwrap_or(0) { Ok(None) } else { Err(format!("answered {text:?}")) };
    }
    if !head.contains(&format!("content-length: {}", body.len())) {
        return Err(format!("an answer of another length: {head:?}"));
    }
    if rest.len() < body.len() {
        return Ok(None);
    }
    if rest != body {
        return Err(format!("another answer: {rest:?}"));
    }
    Ok(Some(head.contains("connection: close")))
}

/// Whether the connection was ended in order while nothing was asked for `pause`.
async fn ended_while_idle<S: AsyncRead + Unpin>(
    stream: &mut S,
    pause: Duration,
    tally: &Tally,
) -> Result<bool, String> {
    let mut byte = [0];
    let until = tokio::time::Instant::now() + pause;
    let read = loop {
        let step = until.min(tokio::time::Instant::now() + Duration::from_millis(200));
        let read = tokio::time::timeout_at(step, stream.read(&mut byte)).await;
        if read.is_ok() || step == until || tally.stopped() {
            break read;
        }
    };
    match read {
        Err(_) => Ok(false),
        Ok(Ok(0)) => Ok(true),
        Ok(Ok(_)) => Err("an answer to nothing".to_owned()),
        Ok(Err(error)) => Err(format!("idle, and {error}")),
    }
}

pub(super) async fn client(number: usize, address: SocketAddr, tally: Arc<Tally>) {
    client_by(number, || TcpStream::connect(address), tally).await;
}

/// The same, with connections that are opened so.
pub(super) async fn client_by<S, F>(number: usize, connect: impl Fn() -> F, tally: Arc<Tally>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = std::io::Result<S>>,
{
    let mut stream: Option<S> = None;
    let mut request = 0u64;
    while !tally.stopped() {
        // Some ask without a pause, some think, and some ask once and fall asleep. What lies
        // between, a thought as long as the drain, no server can tell from sleep: its request may
        // cross the end of the connection on the way.
        let think = match number % 8 {
            7 => PATIENCE,
            awake => Duration::from_millis([0, 1, 5, 10, 20, 50, 100][awake]),
        };
        if let Some(open) = &mut stream {
            match ended_while_idle(open, think, &tally).await {
                Ok(false) => {}
                Ok(true) => stream = None,
                Err(why) => {
                    tally.failed(&why);
                    stream = None;
                }
            }
            // Whoever was asleep is woken by the end, and its connection may be ending too.
            if tally.stopped() {
                return;
            }
        }
        let mut open = match stream.take() {
            Some(open) => open,
            None => match connect().await {
                Ok(open) => open,
                Err(error) => {
                    tally.failed(&format!("connecting: {error}"));
                    continue;
                }
            },
        };
        request += 1;
        let body = format!("client {number} request {request}");
        match tokio::time::timeout(Duration::from_secs(15), exchange(&mut open, &body)).await {
            Ok(Ok(close)) => {
                tally.answered();
                stream = (!close).then_some(open);
            }
            Ok(Err(why)) => tally.failed(&why),
            Err(_) => tally.failed("no answer for 15 s"),
        }
        if think.is_zero() {
            // A hundred tight loops on two cores would measure the scheduler.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn no_request_is_lost_in_a_replacement() {
    let rounds = rounds(20);
    let (tally, codes) = runtime().block_on(replace(rounds, Signal::TERM, Backend::alone, 100, client));
    assert_nothing_lost("http1", &tally, &codes, rounds as u64 * 100);
}

#[test]
fn a_backend_that_is_killed_does_lose_requests() {
    // The test itself on trial: if this passed unnoticed, the one above would prove nothing.
    let (tally, _) = runtime().block_on(replace(2, Signal::KILL, Backend::alone, 100, client));
    assert!(!tally.failures.lock().unwrap().is_empty(), "two kills under load, and nobody noticed");
}
