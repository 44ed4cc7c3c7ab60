//! How an attempt to ask an upstream fails.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper::client::conn::TrySendError;
use rustix::io::Errno;

use super::balance;
use super::tls::Unsecured;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::UpstreamFailure;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    reason: Reason,
    detail: String,
    limit: Option<&'static str>,
    /// For the balancer; `None`: the upstream is not to blame.
    pub(super) blame: Option<balance::Failure>,
    /// Whether the upstream may have seen the request.
    pub(super) sent: bool,
    /// It had been kept open, and was closed before anything of an answer: that is the upstream's
    /// right, and no fault.
    pub(super) stale: bool,
}

impl Failure {
    fn new(reason: Reason, blame: balance::Failure, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), limit: None, blame: Some(blame), sent: true, stale: false }
    }

    /// The connection ended before an answer.
    pub(super) fn closed(used: bool) -> Self {
        let mut failure = Self::new(
            Reason::UpstreamUnreachable,
            balance::Failure::Fast,
            "the upstream closed the connection without an answer",
        );
        failure.stale = used;
        failure
    }

    /// No connection.
    pub(super) fn connect(error: &io::Error) -> Self {
        if is_exhaustion(error) {
            let detail = "no connection to an upstream can be opened for now";
            let failure = Self::new(Reason::Overloaded, balance::Failure::Fast, detail);
            return Self { blame: None, sent: false, ..failure };
        }
        let unsecured = error.get_ref().and_then(|error| error.downcast_ref::<Unsecured>());
        if let Some(unsecured) = unsecured {
            // Why is of the operator's making, and for the log alone.
            let failure = match unsecured {
                Unsecured::Invalid => Self::invalid("the upstream cannot be trusted to be the right one"),
                Unsecured::Ended => Self::closed(false),
            };
            return Self { sent: false, ..failure };
        }
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        let detail =
            if refused { "the upstream refused the connection" } else { "the upstream cannot be reached" };
        let slow = error.kind() == io::ErrorKind::TimedOut;
        let blame = if slow { balance::Failure::Slow } else { balance::Failure::Fast };
        Self { sent: false, ..Self::new(Reason::UpstreamUnreachable, blame, detail) }
    }

    /// No connection within the time for one.
    pub(super) fn connect_timeout(after: Duration) -> Self {
        let detail = format!("the upstream took no connection within {} ms", after.as_millis());
        Self {
            sent: false,
            limit: Some("upstream.connect_timeout"),
            ..Self::new(Reason::UpstreamUnreachable, balance::Failure::Slow, detail)
        }
    }

    /// No answer within the time for one.
    pub(super) fn timeout(after: Duration, limit: &'static str) -> Self {
        let detail = format!("the upstream did not answer within {} ms", after.as_millis());
        Self { limit: Some(limit), ..Self::new(Reason::UpstreamTimeout, balance::Failure::Slow, detail) }
    }

    /// The client took too long with its request: the upstream is not to blame.
    pub(super) fn client_timeout(after: Duration) -> Self {
        let detail = format!("no answer within {} ms", after.as_millis());
        Self {
            limit: Some("limits.request_timeout"),
            blame: None,
            ..Self::new(Reason::RequestTimeout, balance::Failure::Slow, detail)
        }
    }

    /// What came is not HTTP.
    pub(super) fn invalid(detail: &'static str) -> Self {
        Self::new(Reason::UpstreamInvalid, balance::Failure::Invalid, detail)
    }

    /// The fields of the answer are none that can be passed on.
    ///
    /// SECURITY: what a client sent may stand in them, as where an application says it back, and must not be able
    /// to put the upstream aside.
    pub(super) fn of_fields() -> Self {
        Self { blame: None, ..Self::invalid("the fields of the upstream's answer are not HTTP") }
    }

    /// The protocol changed, and nobody asked for it; or for another one, which is up to what the client `asked`.
    pub(super) fn unasked_switch(asked: bool) -> Self {
        let failure = Self::invalid("the upstream changed to a protocol that nobody asked for");
        Self { blame: failure.blame.filter(|_| !asked), ..failure }
    }

    /// The head of the answer is more than is taken.
    ///
    /// SECURITY: a client may well choose how much is answered, as with cookies that come back, and
    /// must not be able to put the upstream aside with it.
    pub(super) fn too_large() -> Self {
        Self { blame: None, ..Self::invalid("the head of the upstream's answer is too large") }
    }

    /// The request cannot be said in the upstream's protocol, and was not: `*` in HTTP/2.
    pub(super) fn unsayable() -> Self {
        let detail = "the request cannot be put in HTTP/2";
        Self { blame: None, sent: false, ..Self::new(Reason::InvalidPath, balance::Failure::Fast, detail) }
    }

    /// The client's body failed: whoever watches over it says why.
    pub(super) fn of_body() -> Self {
        let detail = "the request body ended before its end";
        Self { blame: None, ..Self::new(Reason::MalformedRequest, balance::Failure::Fast, detail) }
    }

    pub(super) fn of_http2<T>(error: &TrySendError<T>) -> Self {
        // A stream that was refused, or came after the last one that counts, was not looked at
        // (RFC 9113 sections 6.8 and 8.7).
        let refused = |error: &h2::Error| error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let unseen = error.message().is_some()
            || is_leaving(error.error())
            || cause(error.error()).is_some_and(refused);
        Self { sent: !unseen, stale: unseen, ..Self::of(error.error()) }
    }

    /// The same, of a request of which nothing was sent on a connection that had been in use.
    pub(super) fn unsent(self) -> Self {
        Self { sent: false, stale: true, ..self }
    }

    fn of(error: &hyper::Error) -> Self {
        if cause::<h2::Error>(error).is_some_and(|it| it.is_reset() && it.is_remote() && is_breach(it)) {
            // SECURITY: what it takes offence at is what the client sent, who must not be able to
            // put the upstream aside with it.
            let detail = "the upstream took the request for malformed";
            return Self { blame: None, ..Self::invalid(detail) };
        }
        if breaks_http2(error) {
            return Self::invalid("the upstream broke the HTTP/2 protocol");
        }
        // All else is one of the ways in which a connection ends.
        Self::closed(false)
    }

    /// Whether it is ourselves who had nothing left to connect with.
    pub(super) fn is_exhaustion(&self) -> bool {
        self.reason == Reason::Overloaded
    }

    /// For traces.
    pub(super) fn label(&self) -> &'static str {
        self.reason.label()
    }

    /// For the metrics.
    pub(super) fn kind(&self) -> UpstreamFailure {
        match self.reason {
            Reason::UpstreamInvalid => UpstreamFailure::Invalid,
            Reason::UpstreamTimeout => UpstreamFailure::Timeout,
            Reason::UpstreamUnreachable => UpstreamFailure::Unreachable,
            _ => UpstreamFailure::Aborted,
        }
    }

    /// What the client is told.
    pub(super) fn into_refusal(self) -> Refusal {
        let exhausted = self.is_exhaustion();
        let refusal = Refusal::new(self.reason, self.detail);
        let refusal = if exhausted { refusal.retry_after(Duration::from_secs(1)) } else { refusal };
        match self.limit {
            Some(limit) => refusal.limit(limit),
            None => refusal,
        }
    }
}

/// Whether this process or this machine has no descriptors, memory or ports left: no upstream is to
/// blame for that.
fn is_exhaustion(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether the connection ended, whoever ended it.
pub(super) fn is_end(error: &hyper::Error) -> bool {
    cause::<io::Error>(error).is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether the upstream said GOAWAY in order: it takes no further request on this connection.
pub(super) fn is_leaving(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error)
        .is_some_and(|it| it.is_go_away() && it.is_remote() && it.reason() == Some(h2::Reason::NO_ERROR))
}

/// Whether it ended because what came from the upstream does not keep to HTTP/2. That the upstream
/// says so of us is an end like others: a client may have made it say so.
pub(super) fn breaks_http2(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(|error| !error.is_remote() && is_breach(error))
}

fn is_breach(error: &h2::Error) -> bool {
    use h2::Reason;
    error.reason().is_some_and(|reason| {
        [
            Reason::PROTOCOL_ERROR,
            Reason::FRAME_SIZE_ERROR,
            Reason::FLOW_CONTROL_ERROR,
            Reason::COMPRESSION_ERROR,
        ]
        .contains(&reason)
    })
}

fn cause<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut link = error.source();
    while let Some(error) = link {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        link = error.source();
    }
    None
}
