//! Reading a request head as far as it goes without a parser: a client that sends one slowly holds the
//! bytes it has sent, and no buffers.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::context::Context;
use super::http1::headers_timeout;
use super::park::{self, Woken};
use super::state::ConnState;
use super::transport::Transport;
use crate::refusal::Refusal;

/// Bytes of a head that are kept so; a longer one goes to the parser as it comes.
const KEPT: usize = 4096;
/// Fields that are looked at: a head with more goes to the parser, which counts them.
const FIELDS: usize = 100;

/// Why a connection ends before its head is whole.
#[derive(Debug)]
pub(crate) enum End {
    /// It was too slow.
    Refused(Refusal),
    /// The client closed, or the socket failed.
    Closed,
    /// It is to go at once.
    Abort,
}

/// Reads on until `prefix` holds what a parser should see: a whole head, a fault, or very much.
pub(crate) async fn gather<T: Transport>(
    transport: &mut T,
    prefix: &mut Bytes,
    state: &ConnState,
    context: &Context,
) -> Result<(), End> {
    let mut is_small = false;
    while is_worth_gathering(prefix) {
        if !std::mem::replace(&mut is_small, true) {
            // SECURITY: it is a part of what it was read into, and would hold all of that, which nobody counts
            // while it waits.
            *prefix = Bytes::copy_from_slice(prefix);
        }
        state.head_begins();
        let since = state.head_since().unwrap_or_else(|| state.idle_since());
        let deadline = since + context.limits.headers_timeout;
        match park::read(transport, state, deadline, false).await {
            Woken::Bytes(more) => {
                let mut whole = BytesMut::with_capacity(prefix.len() + more.len());
                whole.extend_from_slice(prefix);
                whole.extend_from_slice(&more);
                *prefix = whole.freeze();
            }
            Woken::Closed | Woken::CloseIdle => return Err(End::Closed),
            Woken::Idle => return Err(End::Refused(headers_timeout(context))),
            Woken::Abort => return Err(End::Abort),
        }
    }
    Ok(())
}

/// Whether what is missing of these bytes can be waited for without a parser.
pub(super) fn is_worth_gathering(bytes: &[u8]) -> bool {
    bytes.len() < KEPT && is_partial(bytes)
}

/// Whether the bytes are the beginning of a head without fault, and no more.
fn is_partial(bytes: &[u8]) -> bool {
    // An empty line before a request is no head yet (RFC 9112 section 2.2), and moves no clock.
    let Some(start) = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else { return false };
    // Mostly whole, which is told without a look at what it says, or at a body behind it.
    if bytes.get(start..).is_some_and(|head| memmem::find(head, b"\r\n\r\n").is_some()) {
        return false;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let parsed = httparse::Request::new(&mut fields).parse(bytes);
    matches!(parsed, Ok(httparse::Status::Partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_partial_until_its_end_or_its_fault() {
        let head = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 3..head.len() {
            assert!(is_partial(&head[..end]), "{end}");
        }
        assert!(!is_partial(head) && !is_partial(b"\r\n") && !is_partial(b"\r"));
        // Empty lines in front are no end of it.
        assert!(is_partial(b"\r\n\r\nGET /a"));
        for behind in ["a", "\r\n", "GET /b HTT"] {
            assert!(!is_partial(&[head, behind.as_bytes()].concat()));
        }
        // The parser says what is wrong, without waiting for the rest.
        for fault in ["\x16\x03\x01", "GET /a HTTP/1.1\r\nHost a\r\n", "GET /\0", "GET / HTTP/3.0\r\n"] {
            assert!(!is_partial(fault.as_bytes()), "{fault:?}");
        }
        let many = "GET / HTTP/1.1\r\n".to_owned() + &"a: b\r\n".repeat(FIELDS + 1);
        assert!(!is_partial(many.as_bytes()));
    }
}
