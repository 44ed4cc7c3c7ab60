//! `server.request_id_header`: every request has an id, and every answer tells it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;

use crate::body::BoxError;
use crate::exchange::{Id, RequestId};
use crate::random;
use crate::refusal::Refusal;
use crate::stage::{Inbound, Outbound, Shared, Stage, Stop, alone, field};

/// Longest id that is taken over from a proxy.
const LONGEST: usize = 128;

/// Gives every request an id: that of a trusted peer if it sent one, else a new one.
#[derive(Debug, Clone)]
pub struct RequestIdLayer {
    name: HeaderName,
    text: &'static str,
}

impl RequestIdLayer {
    /// Tells ids in the field of this name, in lower case.
    pub fn new(name: &'static str) -> Self {
        Self { name: HeaderName::from_static(name), text: name }
    }
}

alone!(RequestIdLayer);

/// Letters, digits and what UUIDs, trace ids and ULIDs use besides; nothing that a log, a header
/// or a shell could trip over.
fn is_id(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    let fits =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'=' | b'+');
    !text.is_empty() && text.len() <= LONGEST && text.iter().all(fits)
}

impl Stage for RequestIdLayer {
    /// The id, where there is no exchange to keep it.
    type Held = Option<Box<HeaderValue>>;

    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        let trusted = exchange.is_some_and(|exchange| exchange.trusted_peer);
        let sent = field(request.headers(), &self.name);
        let id = match sent.filter(|id| trusted && is_id(id)) {
            Some(id) => Id::Theirs(id.clone()),
            None => Id::Ours(random::hex_id()),
        };
        // SECURITY: the handler sees this id alone, never what an untrusted client sent. Where the
        // client sent none, none is added, which would count as the client's: it is in the exchange.
        if sent.is_some() {
            request.headers_mut().insert(self.name.clone(), id.to_value());
        }
        match exchange {
            Some(exchange) => _ = exchange.request_id.set(RequestId { name: self.text, id }),
            None => *held = Some(Box::new(id.to_value())),
        }
        Ok(())
    }

    fn leave<B>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let headers = response.headers_mut();
        match exchange {
            None => {
                if let Some(id) = held.take() {
                    headers.insert(self.name.clone(), *id);
                }
            }
            Some(exchange) if field(headers, &self.name).is_none() && exchange.put_id_beside() => {}
            Some(exchange) => {
                if let Some(id) = exchange.request_id.get() {
                    headers.insert(self.name.clone(), id.id.to_value());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use http_body_util::Empty;
    use tokio::time::Instant;
    use tower::{Layer, Service};

    use super::*;
    use crate::exchange::Exchange;
    use crate::protocol::Protocol;
    use crate::stage::Asked;

    #[tokio::test]
    async fn every_answer_tells_the_id_once_whatever_the_app_says() {
        let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for (takes_beside, set, in_map) in [(true, "x-a", false), (true, "x-id", true), (false, "x-a", true)]
        {
            let mut exchange =
                Exchange::new(SocketAddr::new(nobody, 1), nobody, Protocol::Http1, Instant::now());
            exchange.takes_beside = takes_beside;
            let exchange = Arc::new(exchange);
            let app = tower::service_fn(move |_: Request<Inbound<Empty<Bytes>>>| async move {
                Ok::<_, Refusal>(Response::builder().header(set, "app").body(Empty::<Bytes>::new()).unwrap())
            });
            let asked = Asked { request: Request::new(Empty::new()), exchange: exchange.clone() };
            let response = RequestIdLayer::new("x-id").layer(app).call(asked).await.unwrap();
            let told: Vec<_> = response.headers().get_all("x-id").iter().collect();
            let beside = exchange.beside().request_id.map(|id| (id.name, id.as_bytes().to_vec()));
            let id = exchange.id().as_bytes();
            assert_eq!(told, if in_map { vec![id] } else { vec![] }, "{set}");
            assert_eq!(beside, (!in_map).then(|| ("x-id", id.to_vec())), "{set}");
        }
    }

    #[test]
    fn an_id_is_short_and_plain() {
        for id in ["0af7651916cd43dd8448eb211c80319c", "a.b-c_d:1=+", &"x".repeat(128)] {
            assert!(is_id(&HeaderValue::from_str(id).unwrap()), "{id}");
        }
        for id in ["", "a b", "a\"b", "a/b", &"x".repeat(129)] {
            assert!(!is_id(&HeaderValue::from_str(id).unwrap()), "{id}");
        }
        assert!(is_id(&Id::Ours(random::hex_id()).to_value()));
    }
}
