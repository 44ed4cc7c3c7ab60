//! The same over HTTP/2: a client that honours GOAWAY, and repeats nothing that may have been served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::{Backend, Tally, assert_nothing_lost, replace, rounds, runtime};

/// What became of a request.
enum Fate {
    Answered,
    /// It was certainly not served (RFC 9113 section 8.7): another connection may be asked.
    Unserved,
    Failed(String),
}

/// Whether the server said that it did not and will not serve this stream.
fn unserved(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    // Streams up to the last one of a GOAWAY go on; only those above it end with this error.
    let went_away = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    refused || went_away
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (send, connection) =
        h2::client::handshake(stream).await.map_err(|error| format!("shaking hands: {error}"))?;
    tokio::spawn(connection);
    Ok(send)
}

async fn exchange(send: SendRequest<Bytes>, body: String) -> Fate {
    let judge = |what: &str, error: h2::Error| {
        if unserved(&error) { Fate::Unserved } else { Fate::Failed(format!("{what}: {error:?}")) }
    };
    let mut send = match send.ready().await {
        Ok(send) => send,
        // Nothing was sent yet: a connection that ended in order is no loss.
        Err(_) => return Fate::Unserved,
    };
    let request = Request::post("http://nessen.test/echo").body(()).unwrap();
    let (answer, mut upload) = match send.send_request(request, false) {
        Ok(sent) => sent,
        Err(error) => return judge("asking", error),
    };
    if let Err(error) = upload.send_data(Bytes::from(body.clone()), true) {
        // The answer's own error says whether the stream was served.
        return match answer.await {
            Err(error) => judge("asking", error),
            Ok(_) => Fate::Failed(format!("sending: {error:?}")),
        };
    }
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return judge("waiting", error),
    };
    if answer.status() != 200 {
        return Fate::Failed(format!("answered {}", answer.status()));
    }
    let mut echo = answer.into_body();
    let mut read = Vec::new();
    while let Some(part) = echo.data().await {
        match part {
            Ok(part) => {
                let _ = echo.flow_control().release_capacity(part.len());
                read.extend_from_slice(&part);
            }
            // A head came: the request was served, and half an answer is a failure.
            Err(error) => return Fate::Failed(format!("reading: {error:?}")),
        }
    }
    if read == body.as_bytes() { Fate::Answered } else { Fate::Failed(format!("another answer: {read:?}")) }
}

/// One connection at a time, and several requests at a time on it.
async fn client(number: usize, address: SocketAddr, tally: Arc<Tally>) {
    let think = Duration::from_millis([1, 5, 20, 50, 100, 2_000][number % 6]);
    let mut request = 0u64;
    let mut open: Option<SendRequest<Bytes>> = None;
    while !tally.stopped() {
        let send = match open.clone() {
            Some(send) => send,
            None => match connect(address).await {
                Ok(send) => open.insert(send).clone(),
                Err(why) => {
                    tally.failed(&why);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            },
        };
        let batch: Vec<_> = (0..4)
            .map(|_| {
                request += 1;
                tokio::spawn(exchange(send.clone(), format!("client {number} request {request}")))
            })
            .collect();
        drop(send);
        for exchange in batch {
            match tokio::time::timeout(Duration::from_secs(15), exchange).await {
                Ok(Ok(Fate::Answered)) => tally.answered(),
                Ok(Ok(Fate::Unserved)) => open = None,
                Ok(Ok(Fate::Failed(why))) => {
                    tally.failed(&why);
                    open = None;
                }
                Ok(Err(panic)) => tally.failed(&panic.to_string()),
                Err(_) => tally.failed("no answer for 15 s"),
            }
        }
        tokio::time::sleep(think).await;
    }
}

#[test]
fn no_stream_is_lost_in_a_replacement() {
    let rounds = rounds(20);
    let (tally, codes) = runtime().block_on(replace(rounds, Signal::TERM, Backend::alone, 25, client));
    assert_nothing_lost("http2", &tally, &codes, rounds as u64 * 100);
}

#[test]
fn a_backend_that_is_killed_does_lose_streams() {
    let (tally, _) = runtime().block_on(replace(2, Signal::KILL, Backend::alone, 25, client));
    assert!(!tally.failures.lock().unwrap().is_empty(), "two kills under load, and nobody noticed");
}
