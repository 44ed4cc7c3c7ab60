//! `limits.request_timeout`: from the request head to the response head, 504 beyond it.
//!
//! The clock is only made once the answer is not there at once: most are.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use http_body::Body;

use crate::deadline::Deadline;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Inbound, Shared, Stage, Stop, alone};

/// Gives a service so long to begin its answer.
#[derive(Debug, Clone, Copy)]
pub struct RequestTimeoutLayer(pub Duration);

alone!(RequestTimeoutLayer);

/// How long an answer may take, and the clock, once it has taken some time.
#[derive(Debug, Default)]
pub struct Patience {
    timeout: Option<Duration>,
    clock: Option<Pin<Box<Deadline>>>,
}

impl Stage for RequestTimeoutLayer {
    type Held = Patience;

    fn enter<B: Body>(
        &self,
        held: &mut Patience,
        exchange: Shared<'_>,
        _: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        let policy = exchange.and_then(|exchange| exchange.policy());
        held.timeout = policy.map_or(Some(self.0), |policy| policy.request_timeout);
        Ok(())
    }

    fn wait(&self, held: &mut Patience, cx: &mut Context<'_>) -> Poll<Refusal> {
        let Some(timeout) = held.timeout else { return Poll::Pending };
        let clock = held.clock.get_or_insert_with(|| Box::pin(Deadline::after(timeout)));
        ready!(clock.as_mut().poll(cx));
        let detail = format!("no answer within {} ms", timeout.as_millis());
        Poll::Ready(Refusal::new(Reason::RequestTimeout, detail).limit("limits.request_timeout"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Response;
    use http_body_util::{Empty, Full};
    use tokio::time::sleep;
    use tower::{Layer, Service};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_passes_and_a_late_one_is_refused() {
        let service = tower::service_fn(|request: Request<Inbound<Full<Bytes>>>| async move {
            sleep(Duration::from_millis(request.body().size_hint().lower())).await;
            Ok(Response::new(Empty::<Bytes>::new()))
        });
        let mut service = RequestTimeoutLayer(Duration::from_millis(100)).layer(service);
        let takes = |millis: usize| Request::new(Full::new(Bytes::from(vec![0; millis])));
        assert!(service.call(takes(99)).await.is_ok());
        let refusal = service.call(takes(101)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RequestTimeout);
    }
}
