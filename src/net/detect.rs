//! Which protocol a connection speaks, told by its first bytes and under a deadline.

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::context::Context;
use super::http1::headers_timeout;
use super::http2::PREFACE;
use super::state::ConnState;
use super::transport::Transport;
use crate::deadline::within;
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};

/// Reads on until the protocol is certain; what was read stays in `prefix`.
///
/// # Errors
/// The refusal of a client that stopped in the middle of the preface; `None` if it has gone.
pub(crate) async fn protocol<T: Transport>(
    transport: &mut T,
    prefix: &mut Bytes,
    state: &ConnState,
    context: &Context,
) -> Result<Protocol, Option<Refusal>> {
    if context.limits.http2.is_none() {
        return Ok(Protocol::Http1);
    }
    let begun = state.head_since().unwrap_or_else(Instant::now);
    let deadline = begun + context.limits.headers_timeout;
    loop {
        let length = prefix.len().min(PREFACE.len());
        if prefix.get(..length) != PREFACE.get(..length) {
            state.head_begins();
            return Ok(Protocol::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        let mut more = BytesMut::from(prefix.as_ref());
        let left = deadline.saturating_duration_since(Instant::now());
        match within(left, transport.read_buf(&mut more)).await {
            Some(Ok(1..)) => *prefix = more.freeze(),
            Some(Ok(0)) => {
                let detail = "the connection ended within the HTTP/2 preface";
                return Err(Some(Refusal::new(Reason::MalformedRequest, detail)));
            }
            Some(Err(_)) => return Err(None),
            None => return Err(Some(headers_timeout(context))),
        }
    }
}
