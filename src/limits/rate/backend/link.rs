//! One connection to Redis, on which all questions travel.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Options;
use super::script::{self, Ask, SCRIPT};
use crate::dial::Dialer;
use crate::limits::rate::bucket::Allowance;
use crate::telemetry::BackendFailure;

/// Errors in a row that a connection is given up for; one that is lost or does not answer is at once.
const PATIENCE: u32 = 3;

/// Questions handed over at a time; the others wait for their turn, which is theirs within a poll or two.
const PIPELINE: usize = 256;

/// What went wrong, and in what words. They come from us and from the system, and hold no secret.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: BackendFailure,
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn new(kind: BackendFailure, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        let kind = match code {
            "WRONGPASS" | "NOAUTH" => BackendFailure::Auth,
            _ if error.kind() == ErrorKind::AuthenticationFailed => BackendFailure::Auth,
            _ if error.is_io_error() || error.is_connection_dropped() => BackendFailure::Closed,
            _ => BackendFailure::Error,
        };
        // SECURITY: of what the server says, the code alone: the rest may quote what it was sent.
        let detail = if code.is_empty() { error.category() } else { code };
        Self::new(kind, detail)
    }
}

/// What has to be polled for there to be answers. It ends with the connection.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Bytes that may come since something was last asked. An answer has less than a hundred.
const UNASKED: usize = 256 * 1024;

/// A stream that ends where the other side says more than anybody can have asked for.
///
/// SECURITY: what reads it keeps a value until it is whole, however long it says that it is.
struct Bounded<S> {
    stream: S,
    unasked: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.unasked += buffer.filled().len() - before;
        if self.unasked > UNASKED {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unasked = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection on which the script has been heard to answer.
#[derive(Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// In a row.
    errors: AtomicU32,
}

impl Link {
    /// Connects, says who we are, and hands over what has to be polled for there to be answers.
    pub(super) async fn open(dialer: &Dialer, options: &Options) -> Result<(Self, Driver), Failure> {
        let url = &options.url;
        let stream = dialer
            .connect(&url.host, url.port, options.tls.as_ref())
            .await
            .map_err(|error| Failure::new(BackendFailure::Connect, error.to_string()))?;
        let mut info = RedisConnectionInfo::default()
            .set_db(url.database.into())
            .set_lib_name("nessen", env!("CARGO_PKG_VERSION"));
        if let Some(user) = url.user() {
            info = info.set_username(user);
        }
        if let Some(password) = url.password() {
            info = info.set_password(password);
        }
        // Whoever asks has a deadline.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE);
        let stream = Bounded { stream, unasked: 0 };
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok((Self { connection, errors: AtomicU32::new(0) }, Box::pin(driver)))
    }

    /// What Redis says.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Allowance, Failure> {
        let answer = match self.send(&ask.by_hash(&SCRIPT)).await {
            // Restarted, flushed, or another server behind the same name.
            Err(error) if script::is_unknown(&error) => self.send(&ask.by_text(&SCRIPT)).await?,
            answer => answer?,
        };
        let answer = script::read(&answer)
            .ok_or_else(|| Failure::new(BackendFailure::Error, "an answer of another kind"))?;
        if self.errors.load(Ordering::Relaxed) != 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.clone().send_packed_command(command).await?.extract_error()
    }

    /// Whether it is to be given up for this failure.
    pub(super) fn is_lost(&self, kind: BackendFailure) -> bool {
        match kind {
            BackendFailure::Overflow => false,
            BackendFailure::Error => self.errors.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_says_more_than_was_asked_for_is_not_listened_to() {
        let (stream, mut other) = tokio::io::duplex(64 * 1024);
        let mut bounded = Bounded { stream, unasked: 0 };
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            while other.write_all(&[b'x'; 1024]).await.is_ok() {
                sent += 1024;
            }
            sent
        });
        let mut piece = vec![0; 16 * 1024];
        for _ in 0..8 {
            // Each question makes room for its answer.
            for _ in 0..8 {
                bounded.read_exact(&mut piece).await.unwrap();
            }
            bounded.unasked = 0;
        }
        let mut held = Vec::new();
        assert!(bounded.read_to_end(&mut held).await.is_err());
        assert!(held.len() <= UNASKED);
        drop(bounded);
        assert!(flood.await.unwrap() < 3 * 1024 * 1024);
    }
}
