//! The access log and the metrics of a request. One layer, since both are due at the same moment:
//! when the last byte of the answer has been handed over, or the answer was given up.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

use crate::body::BoxError;
use crate::evidence::{Evidence, Why};
use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Came, Inbound, Outbound, Shared, Stage, Stop, alone};
use crate::telemetry::metrics::ADMIN_ROUTES;
use crate::telemetry::{AccessLog, AccessRecord, Finished, Metrics, RouteId, Spoken};
use crate::trace::{Ended, Trace, Tracer};

/// Reports every request.
#[derive(Debug, Clone)]
pub struct ObserveLayer {
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    evidence: Option<Evidence>,
    tracer: Option<Tracer>,
    conventions: bool,
}

impl ObserveLayer {
    /// Reports to both.
    pub fn new(metrics: Arc<Metrics>, access_log: AccessLog) -> Self {
        Self { metrics, access_log, evidence: None, tracer: None, conventions: false }
    }

    /// Keeps evidence of answers that were cut off.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Option<Evidence>) -> Self {
        self.evidence = evidence;
        self
    }

    /// Counts durations as OpenTelemetry's conventions have them as well.
    #[must_use]
    pub fn by_conventions(mut self, wanted: bool) -> Self {
        self.conventions = wanted;
        self
    }

    /// Traces requests as well.
    #[must_use]
    pub fn tracing(mut self, tracer: Option<Tracer>) -> Self {
        self.tracer = tracer;
        self
    }
}

alone!(ObserveLayer);

/// A request that is being reported.
#[derive(Debug, Default)]
pub struct Report {
    method: Method,
    /// `None` where nothing is logged anyhow.
    target: Option<PathAndQuery>,
    status: Option<StatusCode>,
    reason: Option<Reason>,
    /// The answer was under way when it was refused.
    cut_off: bool,
    bytes_out: u64,
    /// Where it is wanted.
    spoken: Option<Spoken>,
}

impl ObserveLayer {
    fn report(&self, report: &Report, exchange: &Exchange) {
        let Self { metrics, access_log, .. } = self;
        let route = RouteId::from_index(exchange.route());
        let probe = (1..=ADMIN_ROUTES.len()).contains(&(route.index() as usize));
        let duration = exchange.ended().saturating_duration_since(exchange.started);
        metrics.request_finished(&Finished {
            method: &report.method,
            status: report.status,
            route,
            duration,
            bytes_in: exchange.bytes_in(),
            bytes_out: report.bytes_out,
            spoken: report.spoken,
            probe,
        });
        let status = report.status.map(|status| status.as_u16());
        let trace = exchange.trace.get();
        // A probe's span would say what /metrics says.
        if let Some(trace) = trace.filter(|trace| trace.is_sampled() && !probe) {
            trace.end(&Ended {
                status,
                reason: report.reason,
                route: (route != RouteId::NONE).then(|| metrics.route_label(route)),
                request_id: exchange.id(),
                client: exchange.client,
                peer: exchange.peer,
                duration,
            });
        }
        let wanted = match probe {
            true => access_log.enabled_for_probe(status, report.reason),
            false => access_log.enabled_for(status, report.reason),
        };
        if !wanted {
            return;
        }
        access_log.write(&AccessRecord {
            request_id: exchange.id(),
            method: report.method.as_str(),
            target: report.target.as_ref().map_or("", PathAndQuery::as_str),
            status,
            duration,
            client: exchange.client,
            route: metrics.route_label(route),
            bytes_in: exchange.bytes_in(),
            bytes_out: report.bytes_out,
            tls: exchange.tls,
            protocol: exchange.protocol,
            reason: report.reason,
            upstream: exchange.upstream().as_deref(),
            trace: trace.map(Trace::ids),
        });
    }
}

impl Stage for ObserveLayer {
    type Held = Report;

    fn enter<B: Body>(
        &self,
        held: &mut Report,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        // A request outside an exchange is nobody's to report.
        if let Some(exchange) = exchange {
            if let Some(tracer) = &self.tracer {
                let secure = exchange.tls.is_some();
                let trace = tracer.begin(request, exchange.trusted_peer, secure, exchange.started);
                let _ = exchange.trace.set(trace);
            }
            if self.conventions {
                let proto = request.headers().get("x-forwarded-proto").filter(|_| exchange.trusted_peer);
                let secure = proto.map_or(exchange.tls.is_some(), |proto| proto == "https");
                held.spoken = Some(Spoken { version: request.version(), secure });
            }
            self.metrics.request_started();
            held.method = request.method().clone();
            if !self.access_log.is_off() {
                held.target = request.uri().path_and_query().cloned();
            }
        }
        Ok(())
    }

    fn leave<B>(
        &self,
        held: &mut Report,
        exchange: Shared<'_>,
        response: &mut Response<Outbound<B>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        held.status = Some(response.status());
        held.reason = exchange.and_then(|exchange| exchange.reason());
        Ok(())
    }

    fn frame(&self, held: &mut Report, frame: &mut Came) {
        match frame {
            Some(Ok(frame)) => held.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(error)) => {
                // The answer was under way when it was refused: it is cut off.
                if let Some(refusal) = error.downcast_ref::<Refusal>() {
                    (held.reason, held.cut_off) = (Some(refusal.reason), true);
                    self.metrics.rejected(refusal.reason);
                }
            }
            None => {}
        }
    }

    fn over(&self, held: &mut Report, exchange: Shared<'_>) {
        if let Some(exchange) = exchange {
            if let (true, Some(evidence), Some(reason)) = (held.cut_off, &self.evidence, held.reason) {
                evidence.request(Why::plain(reason), exchange, held.status.map(|status| status.as_u16()));
            }
            self.report(held, exchange);
        }
    }
}
