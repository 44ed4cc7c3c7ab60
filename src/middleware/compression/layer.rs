//! Compression as a layer, route by route.

use std::collections::HashMap;
use std::future::Future;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;

use super::{Algorithm, Compressor};
use crate::body::BoxError;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

/// The compressors of the routes that have one, by the route's index in the metrics. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub struct RouteCompressors(Arc<ArcSwap<HashMap<u32, Compressor>>>);

impl RouteCompressors {
    /// Compresses with these from now on.
    pub fn replace(&self, compressors: impl IntoIterator<Item = (u32, Compressor)>) {
        self.0.store(Arc::new(compressors.into_iter().collect()));
    }
}

/// Compresses the answers of routes that ask for it.
#[derive(Debug, Clone)]
pub struct CompressionLayer(pub RouteCompressors);

alone!(CompressionLayer);

/// The compressor of the route, and what the client takes of what it has.
#[derive(Debug)]
pub struct Wanted {
    compressor: Compressor,
    algorithm: Option<Algorithm>,
}

impl Stage for CompressionLayer {
    type Held = Option<Wanted>;

    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        if let Some(exchange) = exchange
            && exchange.policy().is_some_and(|policy| policy.compressed)
            && let Some(compressor) = self.0.0.load().get(&exchange.route())
        {
            let algorithm = compressor.wanted(request.headers());
            *held = Some(Wanted { compressor: compressor.clone(), algorithm });
        }
        Ok(())
    }

    fn leave<B>(
        &self,
        held: &mut Self::Held,
        _: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Some(Wanted { compressor, algorithm }) = held.take() else { return Ok(()) };
        let plain = replace(response, Response::new(Outbound::own(Bytes::new())));
        // The answer is there already, and what compresses it begins with its first piece: nothing waits.
        let compressed = at_once(compressor.compress(algorithm, plain));
        let compressed = compressed
            .ok_or_else(|| Refusal::new(Reason::InternalError, "the answer could not be compressed"))?;
        // A refusal is looked for in the error itself, not in what wraps it.
        *response =
            compressed.map(|body| Outbound::boxed(body.map_err(axum::Error::into_inner).boxed_unsync()));
        Ok(())
    }
}

/// What a future has to say when it is first asked.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(said) => Some(said),
        Poll::Pending => None,
    }
}
