//! The shape of every refusal that needs nothing but the head: look at it, pass it on or refuse it.

use http::Request;
use http_body::Body;

use crate::refusal::Refusal;
use crate::stage::{Inbound, Shared, Stage, Stop};

/// A question about a request head that needs nothing but the head.
pub trait Check {
    /// Refuses the request, or lets it pass. Its exchange goes with it; outside the server it has none.
    ///
    /// # Errors
    /// The refusal, where there is one.
    fn check<B>(&self, request: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal>;
}

/// Checks one after the other: the first that refuses decides.
macro_rules! in_turn {
    ($($check:ident $place:tt),+) => {
        impl<$($check: Check),+> Check for ($($check,)+) {
            fn check<B>(&self, request: &Request<B>, exchange: Shared<'_>) -> Result<(), Refusal> {
                $(self.$place.check(request, exchange)?;)+
                Ok(())
            }
        }
    };
}
in_turn!(A 0, C 1);
in_turn!(A 0, C 1, D 2, E 3);
in_turn!(A 0, C 1, D 2, E 3, F 4, G 5);

/// Puts a [`Check`] in front of a service.
#[derive(Debug, Clone, Copy)]
pub struct CheckLayer<C>(pub C);

impl<C: Check + Send + Sync + 'static> Stage for CheckLayer<C> {
    type Held = ();

    fn enter<B: Body>(
        &self,
        (): &mut (),
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        self.0.check(request, exchange).map_err(Stop::Refused)
    }
}

impl<S, C: Clone + Check + Send + Sync + 'static> tower::Layer<S> for CheckLayer<C> {
    type Service = crate::stage::Staged<(), (), Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        crate::stage::Stages { outer: (), answer: (), inner: self.clone() }.before(inner)
    }
}
