//! `limits.max_body_size`, `limits.body_timeout`, `limits.min_body_rate` and the bodies' part of
//! `limits.memory`: how much of a request body, how long a gap, how slow, how much in all.
//!
//! They are one layer since they watch the same bytes go by. What the watch finds goes two ways:
//! to the handler, as an error of the body; and into a [`Verdict`], which overrules whatever the
//! handler answers, so that half a body never ends in a 200. An answer that is already under way
//! is cut off instead.

mod verdict;
mod watched;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::body::BoxError;
use crate::memory::MemoryAccount;
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Came, Inbound, Outbound, Shared, Stage, Stop, alone};
use crate::units::Rate;

pub use verdict::Verdict;
use watched::BodyWatch;

/// What a request body may cost.
#[derive(Debug, Clone)]
pub struct BodyLimitsLayer {
    /// Bytes.
    pub max_size: u64,
    /// Longest gap between two of them.
    pub timeout: Duration,
    /// Slowest pace; `None` is off.
    pub min_rate: Option<Rate>,
    /// What all bodies together may take; `None` is off.
    pub memory: Option<MemoryAccount>,
}

impl BodyLimitsLayer {
    /// What a route asks for. A body that is only passed on is not held, and charged to nobody.
    fn of(&self, policy: &Policy) -> Self {
        Self {
            max_size: policy.max_body_size,
            timeout: policy.body_timeout,
            min_rate: policy.min_body_rate,
            memory: self.memory.clone().filter(|_| policy.holds_bodies),
        }
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(Reason::BodyTooLarge, format!("the request body is over {} bytes", self.max_size))
            .limit("limits.max_body_size")
    }
}

alone!(BodyLimitsLayer);

impl Stage for BodyLimitsLayer {
    /// Nothing where the body is known to be empty.
    type Held = Option<Verdict>;

    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        if request.body().inner().is_end_stream() {
            return Ok(());
        }
        // The declared length is judged before a byte of the body is read, and so before a
        // client that expects 100 Continue is told to send it.
        let policy = exchange.and_then(|exchange| exchange.policy());
        let limits = policy.map_or_else(|| self.clone(), |policy| self.of(policy));
        if request.body().inner().size_hint().lower() > limits.max_size {
            return Err(limits.too_large().into());
        }
        let share = exchange.and_then(|exchange| exchange.share.clone());
        let verdict = Verdict::new(limits.memory.as_ref().map(|memory| memory.open(share)));
        *held = Some(verdict.clone());
        request.body_mut().watched(Box::new(BodyWatch::new(limits, verdict, exchange.cloned())));
        Ok(())
    }

    fn leave<B>(
        &self,
        held: &mut Self::Held,
        _: Shared<'_>,
        _: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        held.as_ref().and_then(Verdict::get).map_or(Ok(()), |refusal| Err(refusal.clone()))
    }

    fn refused(&self, held: &mut Self::Held, refusal: &mut Refusal) {
        if let Some(found) = held.as_ref().and_then(Verdict::get) {
            *refusal = found.clone();
        }
    }

    /// A response body is cut off once the request body turns out bad: a client must never take an
    /// answer to half its request for a whole one.
    fn frame(&self, held: &mut Self::Held, frame: &mut Came) {
        if let Some(refusal) = held.as_ref().and_then(Verdict::get) {
            *frame = Some(Err(refusal.clone().into()));
        }
    }

    fn may_end(&self, held: &Self::Held) -> bool {
        // The last piece may not be announced as the last while it could still be overruled.
        held.as_ref().is_none_or(|verdict| verdict.get().is_none())
    }
}

#[cfg(test)]
mod tests;
