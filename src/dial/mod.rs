//! Connections that the process opens for itself: to Redis, a collector, an object store.
//!
//! Names are looked up by [`Resolver`], since `getaddrinfo` has no place in a static binary.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::resolve::Resolver;

#[cfg(test)]
mod tests;

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What TLS has agreed on (ALPN, RFC 7301).
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

/// Opens connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    resolver: Resolver,
}

impl Dialer {
    /// Looks names up by `resolver`.
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver }
    }

    /// Connects to the first address of `host` that takes it, and speaks TLS where there is a configuration
    /// for it. Without a deadline: that is for the caller, whose wait it is.
    ///
    /// # Errors
    /// The name has no address, nobody listens there, or the handshake failed.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Stream> {
        let found = self.resolver.lookup(host).await.map_err(io::Error::other)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in found.addresses {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return handshake(stream, host, tls).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn handshake(stream: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let Some(config) = tls else { return Ok(Stream::Plain(stream)) };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "not a name that a certificate can be for")
    })?;
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// The same call on whatever it is.
macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Plain($io) => $call,
            Stream::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut *self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, io => Pin::new(io).poll_shutdown(cx))
    }
}
