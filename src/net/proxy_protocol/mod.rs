//! The header with which a proxy says whose connection it passes on, before anything else
//! ([the PROXY protocol](https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt)).
//!
//! It is looked for on connections of trusted peers alone, and only once. The address in it takes the
//! socket's place: forwarding fields are believed if that one is trusted, and what one client may
//! have is counted for that one.

mod v1;
mod v2;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use super::context::{Context, ProxyProtocol};
use super::http1::headers_timeout;
use super::park::{self, Woken};
use super::state::ConnState;
use super::transport::Transport;
use crate::refusal::{Reason, Refusal};

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// No header begins like this.
    Absent,
    /// Too little to tell.
    Undecided,
    /// The beginning of a header.
    Part,
    /// A header of so many bytes; the client it names, or `None` where the socket's own end counts.
    Whole(usize, Option<SocketAddr>),
    /// A header that is wrong, and how.
    Broken(&'static str),
}

/// Looks for a header at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if bytes.starts_with(v1::BEGINNING) {
        v1::parse(bytes)
    } else if bytes.starts_with(v2::SIGNATURE) {
        v2::parse(bytes)
    } else if v1::BEGINNING.starts_with(bytes) || v2::SIGNATURE.starts_with(bytes) {
        Parsed::Undecided
    } else {
        Parsed::Absent
    }
}

/// Why no request follows.
#[derive(Debug)]
pub(crate) enum End {
    /// To be answered.
    Refused(Refusal),
    /// The client has its connections already: to be answered in passing.
    TooMany(Refusal),
    /// To be counted; nothing was asked, and so nothing is answered.
    Silent(Reason),
    /// The client closed, or the drain closes what is idle.
    Closed,
    /// It is to go at once.
    Abort,
}

/// Takes the header off a connection whose first bytes are in `prefix`, where those of its first
/// request are afterwards. Both have come within `limits.headers_timeout` of the first byte.
///
/// # Errors
/// There is no header, and there must be; it is wrong or not whole in time; the client that it
/// names has all its connections; or no request comes.
pub(crate) async fn read<T: Transport>(
    transport: &mut T,
    prefix: &mut Bytes,
    state: &ConnState,
    context: &Context,
) -> Result<(), End> {
    // Where there is no header, this is a request's head, and has begun just now.
    state.head_begins();
    let deadline = Instant::now() + context.limits.headers_timeout;
    let mut buffer = BytesMut::from(std::mem::take(prefix));
    let source = loop {
        let parsed = parse(&buffer);
        match parsed {
            Parsed::Whole(length, source) => {
                buffer.advance(length);
                break source;
            }
            Parsed::Broken(detail) => return Err(malformed(detail)),
            Parsed::Absent => return without(prefix, buffer, context),
            Parsed::Undecided | Parsed::Part => {}
        }
        // A header that is half here is no more idle than half a head.
        match park::read(transport, state, deadline, false).await {
            Woken::Bytes(more) => buffer.extend_from_slice(&more),
            Woken::Closed if parsed == Parsed::Undecided => return without(prefix, buffer, context),
            Woken::Closed => return Err(malformed("the connection ended within the PROXY header")),
            Woken::Idle | Woken::CloseIdle => return Err(End::Refused(headers_timeout(context))),
            Woken::Abort => return Err(End::Abort),
        }
    };
    state.head_ends();
    if let Some(source) = source {
        state.announce(source).map_err(End::TooMany)?;
    }
    // A proxy passes the request on with the header or right behind it: a drain waits that long.
    state.idles();
    *prefix = buffer.freeze();
    if prefix.is_empty() {
        match park::read(transport, state, deadline, true).await {
            Woken::Bytes(bytes) => *prefix = bytes,
            // An answer that nobody asked for would be taken for that to a request just sent.
            Woken::Idle => return Err(End::Silent(Reason::HeadersTimeout)),
            Woken::Closed | Woken::CloseIdle => return Err(End::Closed),
            Woken::Abort => return Err(End::Abort),
        }
    }
    Ok(())
}

/// There is no header: a request begins in `bytes`, if it may.
fn without(prefix: &mut Bytes, bytes: BytesMut, context: &Context) -> Result<(), End> {
    if context.proxy_protocol == ProxyProtocol::Required {
        return Err(malformed("a trusted proxy must begin with a PROXY header (server.proxy_protocol)"));
    }
    *prefix = bytes.freeze();
    Ok(())
}

fn malformed(detail: &'static str) -> End {
    End::Refused(Refusal::new(Reason::MalformedRequest, detail))
}
