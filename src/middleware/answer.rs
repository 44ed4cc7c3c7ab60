//! Turns refusals into answers. Everything further in refuses by its error; this is where the one
//! table of [`Reason`](crate::refusal::Reason)s becomes HTTP, and where each is counted.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::evidence::{Evidence, Why};
use crate::exchange::Exchange;
use crate::refusal::{Fate, Refusal};
use crate::stage::{Answering, Shared};
use crate::telemetry::Metrics;

/// Answers what the service refuses.
#[derive(Debug, Clone)]
pub struct AnswerLayer {
    metrics: Arc<Metrics>,
    evidence: Option<Evidence>,
}

impl AnswerLayer {
    /// Counts what it answers, and keeps it as evidence where that is collected.
    pub fn new(metrics: Arc<Metrics>, evidence: Option<Evidence>) -> Self {
        Self { metrics, evidence }
    }
}

impl Answering for AnswerLayer {
    type Error = Infallible;

    /// The answer to a refusal, which says so to the stages further out.
    fn answer(&self, refusal: Refusal, exchange: Shared<'_>) -> Result<Response<Bytes>, Infallible> {
        let reason = refusal.reason;
        self.metrics.rejected(reason);
        if let Some(exchange) = exchange {
            exchange.clear_beside();
            exchange.refused(reason);
            if let Some(evidence) = &self.evidence {
                let why = Why { reason, detail: &refusal.detail, limit: refusal.limit };
                evidence.request(why, exchange, reason.status().map(|status| status.as_u16()));
            }
        }
        if reason.fate() != Fate::Keep
            && let Some(exchange) = exchange
        {
            exchange.close_after();
        }
        let id = exchange.map_or("", |exchange| Exchange::id(exchange));
        Ok(refusal.into_response(id))
    }

    /// A handler can refuse as well, by leaving the refusal beside its answer.
    fn left_beside<B>(&self, response: &mut Response<B>) -> Option<Refusal> {
        response.extensions_mut().remove::<Refusal>()
    }
}
