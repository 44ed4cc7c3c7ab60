//! Whether TLS can be spoken, and with whom was meant.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{broken, connect};
use crate::resolve::Resolver;
use crate::tls::client::server_name;
use crate::tls::why;

/// How a question is asked within TLS.
#[derive(Debug, Clone)]
pub struct Within {
    /// Whom to believe, and what is offered.
    pub config: Arc<ClientConfig>,
    /// Whose certificate there has to be.
    pub name: ServerName<'static>,
}

impl Within {
    /// Who answers has to have a certificate for `host`.
    ///
    /// # Errors
    /// No certificate can be for it.
    pub fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, String> {
        let name = server_name(host).map_err(|_| "no certificate can be for its name".to_owned())?;
        Ok(Self { config, name })
    }

    /// Shakes hands.
    pub(super) async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let shaken = TlsConnector::from(self.config.clone()).connect(self.name.clone(), stream).await;
        shaken.map_err(|error| match why(&error) {
            Some(why) => format!("no TLS: {why}"),
            None => broken(&error),
        })
    }
}

/// Whether `host` has a certificate that is believed, and speaks one of the protocols that are offered.
///
/// # Errors
/// It does not.
pub async fn tls(resolver: &Resolver, host: &str, port: u16, within: &Within) -> Result<(), String> {
    let stream = within.handshake(connect(resolver, host, port).await?).await?;
    let offered = &within.config.alpn_protocols;
    match stream.get_ref().1.alpn_protocol() {
        Some(agreed) if offered.iter().any(|known| known == agreed) => Ok(()),
        None if offered.is_empty() => Ok(()),
        _ => Err("no TLS: none of the protocols that are offered (ALPN)".to_owned()),
    }
}
