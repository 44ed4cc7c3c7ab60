//! The shape of whatever a request and its answer go through: looked at in place, and moved along once.
//!
//! A `tower` layer for each concern would take the request and give it on, wrap the future and wrap the
//! body: two dozen layers then cost more than what they do. A [`Stage`] is shown the request, then the
//! head of the answer, then its body, piece by piece, and keeps what it needs in one place for all
//! stages. [`Staged`] is the service that leads through a list of them. Each stage is a layer as well
//! ([`alone!`](crate::stage)), and works without the others.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};

use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::refusal::Refusal;

mod inbound;
mod outbound;
mod service;
#[cfg(test)]
mod tests;

pub use inbound::{Inbound, Watch};
pub use outbound::{Outbound, OutboundBody};
pub use service::{Asked, Passed, Passing, Staged, Stages};

/// Fields that are looked through one by one, which is less work then than a search by hash.
const FEW: usize = 8;

/// The first value of a field.
pub fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.keys_len() <= FEW {
        headers.iter().find(|(one, _)| *one == name).map(|(_, value)| value)
    } else {
        headers.get(name)
    }
}

/// Why a request goes no further in.
#[derive(Debug)]
pub enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// It is answered here.
    Answered(Box<Response<Bytes>>),
    /// Not for long: it goes on once [`Stage::resume`] says so. Of the stages that refuse alone.
    Later,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What came of a body when it was asked for more.
pub type Came = Option<Result<Frame<Bytes>, BoxError>>;

/// What the stages share of a request: its exchange, or nothing outside the server.
pub type Shared<'a> = Option<&'a Arc<Exchange>>;

/// One concern on the way of a request and of its answer.
///
/// Inwards the stages are entered one after the other; outwards those that were entered are left, the
/// last of them first. One that stops a request has not been entered.
pub trait Stage: Send + Sync + 'static {
    /// What it keeps of a request, up to the end of the answer.
    type Held: Default + Send + 'static;

    /// The request comes in.
    ///
    /// # Errors
    /// It goes no further.
    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop>;

    /// Polled where [`enter`](Self::enter) stopped the request with [`Stop::Later`], until it goes on.
    /// Nothing further in has seen it meanwhile.
    ///
    /// # Errors
    /// It goes no further. [`Stop::Later`] is none: for that there is `Pending`.
    fn resume<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        let _ = (held, exchange, request, cx);
        Poll::Ready(Ok(()))
    }

    /// The answer is waited for. Asked whenever it is not there yet.
    fn wait(&self, held: &mut Self::Held, cx: &mut Context<'_>) -> Poll<Refusal> {
        let _ = (held, cx);
        Poll::Pending
    }

    /// The head of the answer goes out, its body behind it.
    ///
    /// # Errors
    /// A refusal takes its place.
    fn leave<B>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let _ = (held, exchange, response);
        Ok(())
    }

    /// A refusal from further in goes out.
    fn refused(&self, held: &mut Self::Held, refusal: &mut Refusal) {
        let _ = (held, refusal);
    }

    /// A piece of the answer goes out, or its end.
    fn frame(&self, held: &mut Self::Held, frame: &mut Came) {
        let _ = (held, frame);
    }

    /// Whether a body that says it is at its end may be taken at its word.
    fn may_end(&self, held: &Self::Held) -> bool {
        let _ = held;
        true
    }

    /// The answer has been handed over, or was given up.
    fn over(&self, held: &mut Self::Held, exchange: Shared<'_>) {
        let _ = (held, exchange);
    }
}

/// No stage at all.
impl Stage for () {
    type Held = ();

    fn enter<B: Body>(&self, (): &mut (), _: Shared<'_>, _: &mut Request<Inbound<B>>) -> Result<(), Stop> {
        Ok(())
    }
}

/// What the stages of a list hold, and how many of them a request has entered.
#[derive(Debug, Default)]
pub struct InTurn<H> {
    each: H,
    entered: u8,
}

/// A list of stages is one: the first is the outermost. The places are told twice, forwards and
/// backwards.
macro_rules! in_turn {
    ($($stage:ident $place:tt)+; $($back:tt)+) => {
        impl<$($stage: Stage),+> Stage for ($($stage,)+) {
            type Held = InTurn<($($stage::Held,)+)>;

            #[inline]
            fn enter<B: Body>(
                &self,
                held: &mut Self::Held,
                exchange: Shared<'_>,
                request: &mut Request<Inbound<B>>,
            ) -> Result<(), Stop> {
                $(
                    self.$place.enter(&mut held.each.$place, exchange, request)?;
                    held.entered = $place + 1;
                )+
                Ok(())
            }

            fn resume<B: Body>(
                &self,
                held: &mut Self::Held,
                exchange: Shared<'_>,
                request: &mut Request<Inbound<B>>,
                cx: &mut Context<'_>,
            ) -> Poll<Result<(), Stop>> {
                let mut waits = true;
                $(
                    if held.entered == $place {
                        let stage = &self.$place;
                        if !waits {
                            match stage.enter(&mut held.each.$place, exchange, request) {
                                Ok(()) => {}
                                Err(Stop::Later) => waits = true,
                                Err(stop) => return Poll::Ready(Err(stop)),
                            }
                        }
                        if waits {
                            ready!(stage.resume(&mut held.each.$place, exchange, request, cx))?;
                            waits = false;
                        }
                        held.entered = $place + 1;
                    }
                )+
                // Read by the last of them alone.
                let _ = waits;
                Poll::Ready(Ok(()))
            }

            #[inline]
            fn wait(&self, held: &mut Self::Held, cx: &mut Context<'_>) -> Poll<Refusal> {
                $(
                    if held.entered > $back
                        && let Poll::Ready(refusal) = self.$back.wait(&mut held.each.$back, cx)
                    {
                        // It goes out from there.
                        held.entered = $back;
                        return Poll::Ready(refusal);
                    }
                )+
                Poll::Pending
            }

            #[inline]
            fn leave<B>(
                &self,
                held: &mut Self::Held,
                exchange: Shared<'_>,
                response: &mut Response<Outbound<B>>,
            ) -> Result<(), Refusal>
            where
                B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
            {
                $(
                    if held.entered > $back
                        && let Err(mut refusal) = self.$back.leave(&mut held.each.$back, exchange, response)
                    {
                        held.entered = $back;
                        self.refused(held, &mut refusal);
                        return Err(refusal);
                    }
                )+
                Ok(())
            }

            fn refused(&self, held: &mut Self::Held, refusal: &mut Refusal) {
                $(
                    if held.entered > $back {
                        self.$back.refused(&mut held.each.$back, refusal);
                    }
                )+
            }

            #[inline]
            fn frame(&self, held: &mut Self::Held, frame: &mut Came) {
                $(
                    if held.entered > $back {
                        self.$back.frame(&mut held.each.$back, frame);
                    }
                )+
            }

            #[inline]
            fn may_end(&self, held: &Self::Held) -> bool {
                $((held.entered <= $back || self.$back.may_end(&held.each.$back)))&&+
            }

            #[inline]
            fn over(&self, held: &mut Self::Held, exchange: Shared<'_>) {
                $(
                    if held.entered > $back {
                        self.$back.over(&mut held.each.$back, exchange);
                    }
                )+
            }
        }
    };
}
in_turn!(A 0 C 1; 1 0);
in_turn!(A 0 C 1 D 2 E 3; 3 2 1 0);
in_turn!(A 0 C 1 D 2 E 3 F 4; 4 3 2 1 0);
in_turn!(A 0 C 1 D 2 E 3 F 4 G 5 H 6 I 7 J 8 K 9 L 10; 10 9 8 7 6 5 4 3 2 1 0);

/// What becomes of a refusal behind all the stages that refuse.
pub trait Answering: Send + Sync + 'static {
    /// What is left where it is not answered.
    type Error;

    /// The answer to `refusal`.
    ///
    /// # Errors
    /// There is none here.
    fn answer(&self, refusal: Refusal, exchange: Shared<'_>) -> Result<Response<Bytes>, Self::Error>;

    /// The refusal that a handler left beside its answer.
    fn left_beside<B>(&self, response: &mut Response<B>) -> Option<Refusal> {
        let _ = response;
        None
    }
}

/// Refusals stay what they are, for whoever is further out.
impl Answering for () {
    type Error = Refusal;

    fn answer(&self, refusal: Refusal, _: Shared<'_>) -> Result<Response<Bytes>, Refusal> {
        Err(refusal)
    }
}

/// Makes a layer of each of these stages, so that it can stand in front of a service without the others.
macro_rules! alone {
    ($($stage:ty),+) => {$(
        impl<S> tower::Layer<S> for $stage {
            type Service = $crate::stage::Staged<(), (), Self, S>;

            fn layer(&self, inner: S) -> Self::Service {
                $crate::stage::Stages { outer: (), answer: (), inner: self.clone() }.before(inner)
            }
        }
    )+};
}
pub(crate) use alone;
