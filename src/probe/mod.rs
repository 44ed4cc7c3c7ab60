//! One question to a dependency: is it there, and well?
//!
//! Each function asks once, has no deadline of its own and reads a bounded number of bytes. The
//! error says in a few words what happened; it is shown on `/ready`, so that it names no address.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::resolve::Resolver;

mod http;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;
mod tls;

pub use http::{http, http_at, https};
pub use postgres::postgres;
pub use redis::redis;
pub use tls::{Within, tls};

/// Patience with an address while there is another one to try: one that is gone must not use up
/// the time in which the next would have answered.
const PER_ADDRESS: Duration = Duration::from_millis(500);

/// Whether `host` accepts a connection on `port`.
///
/// # Errors
/// It does not.
pub async fn tcp(resolver: &Resolver, host: &str, port: u16) -> Result<(), String> {
    connect(resolver, host, port).await.map(drop)
}

/// A connection to the first address that accepts one.
async fn connect(resolver: &Resolver, host: &str, port: u16) -> Result<TcpStream, String> {
    let found = resolver.lookup(host).await.map_err(|error| error.to_string())?;
    let mut refused = String::new();
    let last = found.addresses.len().saturating_sub(1);
    for (place, address) in found.addresses.into_iter().enumerate() {
        let connecting = TcpStream::connect((address, port));
        let connected = if place == last {
            connecting.await
        } else {
            timeout(PER_ADDRESS, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = format!("cannot connect: {}", error.kind()),
        }
    }
    Err(refused)
}

/// What to say of a connection that broke.
fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed the connection without an answer".into(),
        kind => format!("the connection broke: {kind}"),
    }
}

/// Fills `buffer`, or says why not.
async fn read_exact(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<(), String> {
    stream.read_exact(buffer).await.map(drop).map_err(|error| broken(&error))
}

/// Text of a dependency, fit to be shown: some of it, printable, on one line.
fn quoted(text: &[u8]) -> String {
    const LONGEST: usize = 100;
    let shown = String::from_utf8_lossy(text.get(..text.len().min(LONGEST)).unwrap_or_default());
    shown.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { ' ' }).collect()
}
