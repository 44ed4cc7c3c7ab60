//! The access log and the metrics of a request. One layer, since both are due at the same moment:
//! when the last byte of the answer has been handed over, or the answer was given up.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::BoxError;
use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::metrics::ADMIN_ROUTES;
use crate::telemetry::{AccessLog, AccessRecord, Finished, Metrics, RouteId};

/// Reports every request.
#[derive(Debug, Clone)]
pub struct ObserveLayer(Arc<Observer>);

#[derive(Debug)]
struct Observer {
    metrics: Arc<Metrics>,
    access_log: AccessLog,
}

impl ObserveLayer {
    /// Reports to both.
    pub fn new(metrics: Arc<Metrics>, access_log: AccessLog) -> Self {
        Self(Arc::new(Observer { metrics, access_log }))
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe { inner, observer: self.0.clone() }
    }
}

/// A service whose requests are reported.
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    observer: Arc<Observer>,
}

/// A request that is being reported; the report is made when this is dropped.
#[derive(Debug)]
struct Report {
    observer: Arc<Observer>,
    exchange: Arc<Exchange>,
    method: Method,
    /// `None` where nothing is logged anyhow.
    target: Option<PathAndQuery>,
    status: Option<StatusCode>,
    reason: Option<Reason>,
    bytes_out: u64,
}

impl Drop for Report {
    fn drop(&mut self) {
        let Observer { metrics, access_log } = &*self.observer;
        let exchange = &self.exchange;
        let route = RouteId::from_index(exchange.route());
        let probe = (1..=ADMIN_ROUTES.len()).contains(&(route.index() as usize));
        let duration = exchange.started.elapsed();
        metrics.request_finished(&Finished {
            method: &self.method,
            status: self.status,
            route,
            duration,
            bytes_in: exchange.bytes_in(),
            bytes_out: self.bytes_out,
            probe,
        });
        let status = self.status.map(|status| status.as_u16());
        let wanted = match probe {
            true => access_log.enabled_for_probe(status, self.reason),
            false => access_log.enabled_for(status, self.reason),
        };
        if !wanted {
            return;
        }
        access_log.write(&AccessRecord {
            request_id: exchange.id(),
            method: self.method.as_str(),
            target: self.target.as_ref().map_or("", PathAndQuery::as_str),
            status,
            duration,
            client: exchange.client,
            route: metrics.route_label(route),
            bytes_in: exchange.bytes_in(),
            bytes_out: self.bytes_out,
            protocol: exchange.protocol,
            reason: self.reason,
            upstream: exchange.upstream().as_deref(),
        });
    }
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    type Response = Response<ObservedBody<R>>;
    type Error = Infallible;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A request outside an exchange is nobody's to report.
        let report = Exchange::of(&request).map(|exchange| {
            self.observer.metrics.request_started();
            let off = self.observer.access_log.is_off();
            Report {
                observer: self.observer.clone(),
                exchange: exchange.clone(),
                method: request.method().clone(),
                target: if off { None } else { request.uri().path_and_query().cloned() },
                status: None,
                reason: None,
                bytes_out: 0,
            }
        });
        ObserveFuture { inner: self.inner.call(request), report }
    }
}

pin_project! {
    /// The answer, which takes its report along.
    #[derive(Debug)]
    pub struct ObserveFuture<F> {
        #[pin]
        inner: F,
        report: Option<Report>,
    }
}

impl<F, R> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<R>, Infallible>>,
{
    type Output = Result<Response<ObservedBody<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let mut report = this.report.take();
        if let Some(report) = &mut report {
            report.status = Some(response.status());
            report.reason = response.extensions_mut().remove::<Reason>();
        }
        Poll::Ready(Ok(response.map(|body| ObservedBody { body, report })))
    }
}

pin_project! {
    /// A response body that is counted, and reported when it is over.
    #[derive(Debug)]
    pub struct ObservedBody<B> {
        #[pin]
        body: B,
        report: Option<Report>,
    }
}

impl<B> Body for ObservedBody<B>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(report) = this.report {
            match &frame {
                Some(Ok(frame)) => report.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64,
                Some(Err(error)) => {
                    // The answer was under way when it was refused: it is cut off.
                    if let Some(refusal) = error.downcast_ref::<Refusal>() {
                        report.reason = Some(refusal.reason);
                        report.observer.metrics.rejected(refusal.reason);
                    }
                }
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
