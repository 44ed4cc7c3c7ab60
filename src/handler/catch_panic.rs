//! A handler that panics costs its own request: 500, counted, and the process lives on.

use std::any::Any;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower_http::catch_panic::CatchPanicLayer;

use crate::refusal::{Reason, Refusal};

/// What answers in place of the handler. The panic's message stays in the log: it may hold
/// anything.
pub(crate) type OnPanic = fn(Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>>;

/// Catches panics of the service further in.
pub(crate) fn layer() -> CatchPanicLayer<OnPanic> {
    CatchPanicLayer::custom(answer as OnPanic)
}

fn answer(panic: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked");
    let mut response = Response::new(Full::new(Bytes::new()));
    response.extensions_mut().insert(Refusal::new(Reason::InternalError, "the handler failed"));
    response
}
