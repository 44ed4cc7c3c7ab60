//! `security_headers.*`: fields that tell browsers to be careful, on answers that do not set them
//! themselves.

use std::sync::Arc;

use bytes::Bytes;
use http::header::Entry;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;

use crate::body::BoxError;
use crate::policy::Fields;
use crate::refusal::Refusal;
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone};

/// Adds fields to answers.
#[derive(Debug, Clone)]
pub struct SecurityHeadersLayer(Arc<Fields>);

impl SecurityHeadersLayer {
    /// Adds these.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        Self(Arc::new(fields.into_iter().collect()))
    }
}

alone!(SecurityHeadersLayer);

impl Stage for SecurityHeadersLayer {
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
        let fields = policy.map_or(&self.0, |policy| &policy.fields);
        let headers = response.headers_mut();
        if exchange.is_some_and(|exchange| exchange.takes_beside)
            && !fields.is_any_in(headers)
            && exchange.is_some_and(|exchange| exchange.put_fields_beside())
        {
            return Ok(());
        }
        // Room for these and for what is added further out, at once.
        headers.reserve(fields.iter().len() + 4);
        for (name, value) in fields.iter() {
            if let Entry::Vacant(place) = headers.entry(name) {
                place.insert(value.clone());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use http_body_util::Empty;
    use tokio::time::Instant;
    use tower::{Layer, Service};

    use super::*;
    use crate::exchange::Exchange;
    use crate::policy::Policy;
    use crate::protocol::Protocol;
    use crate::stage::Asked;

    /// The fields of a route's answer in its map and beside it, for an app that sets this one.
    async fn told(takes_beside: bool, set: &'static str) -> (Vec<String>, String) {
        let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(nobody, 1);
        let mut exchange = Exchange::new(address, nobody, Protocol::Http1, Instant::now());
        exchange.takes_beside = takes_beside;
        let ours = [(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"))];
        let fields = Arc::new(ours.into_iter().collect());
        exchange.choose(Arc::new(Policy { fields, ..Policy::nothing(1) }), Arc::new(()));
        let exchange = Arc::new(exchange);
        let app = tower::service_fn(move |_: Request<Inbound<Empty<Bytes>>>| async move {
            let answer = Response::builder().header(set, "app");
            Ok::<_, Refusal>(answer.body(Empty::<Bytes>::new()).unwrap())
        });
        let asked = Asked { request: Request::new(Empty::new()), exchange: exchange.clone() };
        let response = SecurityHeadersLayer::new([]).layer(app).call(asked).await.unwrap();
        let field =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let beside = exchange.beside().fields.map_or(&b""[..], Fields::text);
        (response.headers().iter().map(field).collect(), String::from_utf8_lossy(beside).into_owned())
    }

    #[tokio::test]
    async fn a_connection_that_takes_them_is_left_fields_that_the_app_did_not_set() {
        let (map, beside) = told(true, "x-a").await;
        assert_eq!((map, beside.as_str()), (vec!["x-a: app".to_owned()], "x-frame-options: DENY\r\n"));
        let (map, beside) = told(true, "x-frame-options").await;
        assert_eq!((map, beside.as_str()), (vec!["x-frame-options: app".to_owned()], ""));
        let (map, beside) = told(false, "x-a").await;
        let both = ["x-a: app", "x-frame-options: DENY"].map(str::to_owned);
        assert_eq!((map, beside.as_str()), (both.into(), ""));
    }

    #[tokio::test]
    async fn what_the_app_set_stays() {
        let app = tower::service_fn(|_: Request<Inbound<Empty<Bytes>>>| async {
            let answer = Response::builder().header("x-frame-options", "SAMEORIGIN");
            Ok::<_, Refusal>(answer.body(Empty::<Bytes>::new()).unwrap())
        });
        let fields = ["x-frame-options", "referrer-policy"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("ours")));
        let request = Request::new(Empty::new());
        let response = SecurityHeadersLayer::new(fields).layer(app).call(request).await.unwrap();
        assert_eq!(response.headers()["x-frame-options"], "SAMEORIGIN");
        assert_eq!(response.headers()["referrer-policy"], "ours");
    }
}
