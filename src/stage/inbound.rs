//! A request body on its way in.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Came;
use crate::body::BoxError;
use crate::exchange::Exchange;

/// Watches a request body go by.
pub trait Watch: fmt::Debug + Send {
    /// What was found earlier, which takes the place of all that could still come.
    fn found(&self) -> Option<BoxError>;

    /// What to make of what the body said, with whether that was its last word.
    fn came(&mut self, came: Poll<Came>, is_last: bool, cx: &mut Context<'_>) -> Poll<Came>;
}

pin_project! {
    /// The body of a request on its way to the handler, with the exchange that it belongs to.
    #[derive(Debug)]
    pub struct Inbound<B> {
        #[pin]
        body: B,
        exchange: Option<Arc<Exchange>>,
        watch: Option<Box<dyn Watch>>,
    }
}

impl<B> Inbound<B> {
    /// A body that nobody watches.
    pub fn new(body: B, exchange: Option<Arc<Exchange>>) -> Self {
        Self { body, exchange, watch: None }
    }

    /// Has it watched from now on.
    pub fn watched(&mut self, watch: Box<dyn Watch>) {
        self.watch = Some(watch);
    }

    /// The body itself.
    pub fn inner(&self) -> &B {
        &self.body
    }

    /// What it belongs to; `None` outside the server.
    pub fn exchange(&self) -> Option<&Arc<Exchange>> {
        self.exchange.as_ref()
    }
}

impl<B> Body for Inbound<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        // What was found once stays found, however often the handler asks again.
        if let Some(error) = this.watch.as_ref().and_then(|watch| watch.found()) {
            return Poll::Ready(Some(Err(error)));
        }
        let came =
            this.body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        match this.watch {
            None => came,
            Some(watch) => watch.came(came, this.body.is_end_stream(), cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
