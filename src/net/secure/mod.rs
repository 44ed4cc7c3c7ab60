//! TLS on the way in: the handshake, and the [`stream`] that connections run over afterwards.
//!
//! The header of a trusted proxy comes before it, in the clear (`server.proxy_protocol`). From the accept to the
//! end of the handshake there is `tls.handshake_timeout`; meanwhile the connection holds a place among
//! `limits.max_connections` and those of its client, is charged, and makes room for others as one does that is slow
//! to send a head.

mod buffer;
mod stream;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use stream::TlsStream;

use super::clock::Clock;
use super::context::Context;
use super::park::{self, Woken};
use super::proxy_protocol;
use super::state::{ConnState, Order};
use crate::exchange::Scarce;
use crate::memory::{HANDSHAKE, Purpose};
use crate::protocol::{Protocol, TlsVersion};
use crate::refusal::{Reason, Refusal};
use crate::telemetry::Handshake;
use crate::tls::certificates;
use crate::tls::server::{HTTP2, ServerTls};
use stream::Fault;

/// Bytes that are kept of a client that has not finished the handshake: its hello, which is one record, and then
/// its certificate with its chain.
const MOST: usize = 20 * 1024;

/// A fatal alert in the clear, `internal_error` (RFC 8446 section 6.2): all that can be told a client before a
/// handshake.
pub const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// What a listener needs to speak TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Its certificates; they change while it runs.
    pub server: Arc<ServerTls>,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// The version of TLS that a connection speaks.
#[derive(Debug, Default)]
pub struct Spoken(AtomicU8);

impl Spoken {
    /// From now on, this.
    fn set(&self, version: TlsVersion) {
        self.0.store(1 + version as u8, Ordering::Relaxed);
    }

    /// Which, if any.
    pub fn version(&self) -> Option<TlsVersion> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(TlsVersion::V12),
            _ => Some(TlsVersion::V13),
        }
    }
}

/// Why there is no hello.
pub(super) enum NoHello {
    /// To be answered, and what came.
    Answered(Refusal, Bytes),
    /// To be counted.
    Silent(Reason),
    /// The client closed, or nothing of it is missed.
    Closed,
}

/// Why there is no session.
pub(super) enum End {
    /// For this; what there is to say is still to be sent.
    Refused(Option<TlsStream>, Reason),
    /// The client closed, or it was to go.
    Closed,
}

/// Waits for the first bytes of the handshake, behind the header of a proxy. Answers until when the rest may take.
pub(super) async fn first(
    socket: &mut TcpStream,
    state: &ConnState,
    context: &Context,
    tls: &Tls,
) -> Result<(Bytes, Instant), NoHello> {
    let mut deadline = state.accepted() + tls.handshake_timeout;
    let mut bytes = match park::read(socket, state, deadline, true).await {
        Woken::Bytes(bytes) => bytes,
        Woken::Closed | Woken::CloseIdle => return Err(NoHello::Closed),
        Woken::Idle => {
            context.metrics.handshake(Handshake::Timeout);
            return Err(NoHello::Silent(Reason::TlsHandshakeTimeout));
        }
        Woken::Abort => return Err(leaves(state)),
    };
    if context.expects_header_of(state.socket_peer.ip()) {
        match proxy_protocol::read(socket, &mut bytes, state, context).await {
            Ok(()) => deadline = Instant::now() + tls.handshake_timeout,
            // SECURITY: whom a refusal is for has not said hello, and would not understand another answer.
            Err(proxy_protocol::End::Refused(refusal) | proxy_protocol::End::TooMany(refusal)) => {
                return Err(NoHello::Silent(refusal.reason));
            }
            Err(proxy_protocol::End::Silent(reason)) => return Err(NoHello::Silent(reason)),
            Err(proxy_protocol::End::Closed) => return Err(NoHello::Closed),
            Err(proxy_protocol::End::Abort) => return Err(leaves(state)),
        }
    }
    state.head_begins();
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        context.metrics.handshake(Handshake::PlainHttp);
        let refusal =
            Refusal::new(Reason::PlainHttp, "this port speaks HTTPS, and the request came by plain HTTP");
        return Err(NoHello::Answered(refusal, bytes));
    }
    Ok((bytes, deadline))
}

/// One that makes room for others is counted where it was let in for probes alone.
fn leaves(state: &ConnState) -> NoHello {
    match state.probe_only() {
        Some(Scarce::Memory) => NoHello::Silent(Reason::Overloaded),
        Some(Scarce::Connections) => NoHello::Silent(Reason::TooManyConnections),
        None => NoHello::Closed,
    }
}

enum How {
    Over(Result<(), Fault>),
    Late,
    Leaves,
}

/// Goes through the handshake that begins with `first`; what was agreed to be spoken is known afterwards, or
/// `Unknown` where the client did not ask.
pub(super) async fn handshake(
    socket: TcpStream,
    (first, deadline): &(Bytes, Instant),
    state: &ConnState,
    context: &Context,
    tls: &Tls,
) -> Result<(TlsStream, Protocol), End> {
    // What is kept of a handshake is charged while it lasts, and of it a chain of certificates for longer.
    let held = context.memory.open(state.share().cloned());
    if state.probe_only().is_none()
        && let Err(refusal) = held.add(HANDSHAKE, Purpose::Waiting)
    {
        context.metrics.handshake(Handshake::Closed);
        return Err(End::Refused(None, refusal.reason));
    }
    let mut stream = match TlsStream::new(socket, tls.server.config(), first, MOST) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "no TLS session can be made");
            context.metrics.handshake(Handshake::Failed);
            return Err(End::Refused(None, Reason::InternalError));
        }
    };
    let how = {
        let mut clock = pin!(Clock::default());
        poll_fn(|cx| {
            state.register(cx.waker());
            if state.ordered(Order::Abort) {
                return Poll::Ready(How::Leaves);
            }
            if let Poll::Ready(result) = stream.poll_handshake(cx) {
                return Poll::Ready(How::Over(result));
            }
            if state.is_to_leave() {
                return Poll::Ready(How::Leaves);
            }
            clock.as_mut().wait_until(*deadline, cx).map(|()| How::Late)
        })
        .await
    };
    let (counts, end) = match how {
        How::Over(Ok(())) => {
            let is_resumed = stream.session().handshake_kind() == Some(HandshakeKind::Resumed);
            context.metrics.handshake(if is_resumed { Handshake::Resumed } else { Handshake::Full });
            state.tls.set(stream.version());
            let chain = stream.session().peer_certificates().unwrap_or_default();
            if let Some(certificate) = chain.first() {
                let _ = state.rare().certificate.set(certificates::told(certificate).into());
                held.keep(chain.iter().map(|certificate| certificate.len() as u64).sum());
                let _ = state.rare().chain.set(held);
            }
            // The first request has a clock of its own, and a drain waits for it as for any.
            state.head_ends();
            state.idles();
            let protocol = match stream.session().alpn_protocol() {
                Some(HTTP2) => Protocol::Http2,
                Some(_) => Protocol::Http1,
                None => Protocol::Unknown,
            };
            return Ok((stream, protocol));
        }
        How::Over(Err(Fault::Tls(error))) => {
            tracing::debug!(%error, client = %state.peer().ip(), "TLS handshake failed");
            (result_of(&error), End::Refused(Some(stream), Reason::TlsHandshakeFailed))
        }
        How::Over(Err(Fault::Closed)) => (Handshake::Closed, End::Closed),
        How::Late => (Handshake::Timeout, End::Refused(None, Reason::TlsHandshakeTimeout)),
        How::Leaves => (Handshake::Closed, End::Closed),
    };
    context.metrics.handshake(counts);
    Err(end)
}

/// What upstreams are told of the client's certificate, if it has shown one.
pub(super) fn certificate(state: &ConnState) -> Option<Arc<str>> {
    state.rare.get()?.certificate.get().cloned()
}

/// What a failure counts as.
fn result_of(error: &rustls::Error) -> Handshake {
    use rustls::Error;
    match error {
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Handshake::ClientCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Handshake::Unsupported,
        Error::AlertReceived(_) => Handshake::Rejected,
        _ => Handshake::Failed,
    }
}

#[cfg(test)]
mod tests;
