//! Which protocol a connection speaks, told by its first bytes and under a deadline.

use bytes::{Bytes, BytesMut};

use super::context::Context;
use super::head::End;
use super::http1::headers_timeout;
use super::http2::PREFACE;
use super::park::{self, Woken};
use super::state::ConnState;
use super::transport::Transport;
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};

/// Reads on until the protocol is certain; what was read stays in `prefix`.
///
/// # Errors
/// The client stopped in the middle of the preface, or the connection is to go.
pub(crate) async fn protocol<T: Transport>(
    transport: &mut T,
    prefix: &mut Bytes,
    state: &ConnState,
    context: &Context,
) -> Result<Protocol, End> {
    if context.limits.http2.is_none() {
        return Ok(Protocol::Http1);
    }
    loop {
        let length = prefix.len().min(PREFACE.len());
        if prefix.get(..length) != PREFACE.get(..length) {
            state.head_begins();
            return Ok(Protocol::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        // Of whichever protocol, a request has begun.
        state.head_begins();
        let since = state.head_since().unwrap_or_else(|| state.idle_since());
        match park::read(transport, state, since + context.limits.headers_timeout, false).await {
            Woken::Bytes(more) => {
                let mut whole = BytesMut::from(prefix.as_ref());
                whole.extend_from_slice(&more);
                *prefix = whole.freeze();
            }
            Woken::Closed | Woken::CloseIdle => {
                let detail = "the connection ended within the HTTP/2 preface";
                return Err(End::Refused(Refusal::new(Reason::MalformedRequest, detail)));
            }
            Woken::Idle => return Err(End::Refused(headers_timeout(context))),
            Woken::Abort => return Err(End::Abort),
        }
    }
}
