//! `limits.max_response_size`: 502 where the size is known ahead, an answer cut off where it is not.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::body::BoxError;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

/// Bounds the bytes of an answer; `None` is off.
#[derive(Debug, Clone, Copy)]
pub struct ResponseSizeLayer(pub Option<u64>);

alone!(ResponseSizeLayer);

fn too_large(max: u64) -> Refusal {
    Refusal::new(Reason::ResponseTooLarge, format!("the answer is over {max} bytes"))
        .limit("limits.max_response_size")
}

impl Stage for ResponseSizeLayer {
    type Held = ();

    fn enter<B: Body>(&self, (): &mut (), _: Shared<'_>, _: &mut Request<Inbound<B>>) -> Result<(), Stop> {
        Ok(())
    }

    fn leave<B>(
        &self,
        (): &mut (),
        exchange: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let policy = exchange.and_then(|exchange| exchange.policy());
        let Some(max) = policy.map_or(self.0, |policy| policy.max_response_size) else { return Ok(()) };
        if response.body().size_hint().lower() > max {
            return Err(too_large(max));
        }
        // The body counts by itself: what it is made into further out has another size.
        response.body_mut().bound(max, too_large);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full, channel::Channel};
    use tower::{Layer, Service};

    use super::*;

    #[tokio::test]
    async fn a_size_known_ahead_is_refused_and_a_stream_is_cut_off() {
        let full = tower::service_fn(|request: Request<Inbound<Full<Bytes>>>| async move {
            Ok(Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes())))
        });
        let mut service = ResponseSizeLayer(Some(8)).layer(full);
        let request = |size| Request::new(Full::new(Bytes::from(vec![0; size])));
        assert!(service.call(request(8)).await.is_ok());
        let refusal = service.call(request(9)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ResponseTooLarge);

        let stream = tower::service_fn(|_: Request<Inbound<Full<Bytes>>>| async move {
            let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
            sender.send_data(Bytes::from_static(b"12345")).await.unwrap();
            sender.send_data(Bytes::from_static(b"67890")).await.unwrap();
            Ok(Response::new(body))
        });
        let response = ResponseSizeLayer(Some(8)).layer(stream).call(request(0)).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
    }
}
