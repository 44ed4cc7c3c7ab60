//! One request on its way to an upstream, over as many attempts as it takes and may take.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, response};
use http_body::{Body, Frame};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Carrier, UpstreamBody};
use super::balance::{self, Lease, Unavailable};
use super::failure::Failure;
use super::head::{self, Ask, Length};
use super::http1::{Outgoing, Sending};
use super::options::{HostHeader, ProxyOptions};
use super::pool::{Counted, Pool};
use super::series::Series;
use super::tls::Secured;
use super::tunnel::{self, Held, Tunnels};
use super::upload::{Source, Upload};
use super::{Inner, Upstream};
use crate::body::BoxError;
use crate::deadline::{Deadline, within};
use crate::exchange::Exchange;
use crate::handler::body::AnswerBody;
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};
use crate::trace::Attempt;
use crate::trace::context::SpanId;

/// How long a client that waits for `100 Continue` is let wait for an upstream that says neither yes
/// nor no (RFC 9110 section 10.1.1: not for ever).
const EXPECT_PATIENCE: Duration = Duration::from_secs(1);

/// A request that is being passed on.
pub(super) struct Journey {
    proxy: Arc<Inner>,
    sent: Parts,
    exchange: Arc<Exchange>,
    /// `None`: the request has no body.
    source: Option<Arc<Source>>,
    expects: bool,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

/// The head of an answer, and what brings the rest.
type Answered = (response::Parts, Carrier);

impl Journey {
    /// In a box of its own: what a future takes along when it begins, it holds twice.
    pub(super) fn new<B>(proxy: Arc<Inner>, mut sent: Parts, body: B, exchange: Arc<Exchange>) -> Box<Self>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let has_body = !body.is_end_stream();
        // Only on HTTP/1.1 is a client told to go on by the first look at its body.
        let expects =
            has_body && exchange.protocol == Protocol::Http1 && sent.headers.contains_key(header::EXPECT);
        let upgrade = head::upgrade(&sent, has_body).cloned();
        let upgrade = upgrade.and_then(|to| Some((to, sent.extensions.remove::<OnUpgrade>()?)));
        let source = has_body.then(|| Source::new(body, expects));
        Box::new(Self { proxy, sent, exchange, source, expects, upgrade })
    }

    /// Asks one address after the other until one answers, or there is no more to be tried.
    pub(super) async fn run(self: Box<Self>) -> Result<Response<AnswerBody>, Refusal> {
        let proxy = self.proxy.clone();
        let mut begun = Instant::now();
        let mut clock = pin!(Deadline::at(begun + proxy.options.request_timeout));
        let mut tried = Vec::new();
        let mut retries = proxy.options.upstream.retries;
        let mut resent = 0;
        loop {
            let lease = match proxy.group.pick(&tried) {
                Err(Unavailable::NoAddress(_)) if !proxy.group.is_resolved() => {
                    Box::pin(self.first_names(&tried)).await
                }
                picked => picked,
            };
            let lease = lease.map_err(unavailable)?;
            let Some(upstream) = proxy.upstream(&lease) else {
                return Err(unavailable(Unavailable::AllDown));
            };
            self.exchange.set_upstream(&upstream.label);
            let active = Counted::new(upstream.series.clone());
            let series = &upstream.series.0;
            let mut span = self.span(upstream, &lease, resent);
            let answered = {
                let id = span.as_ref().map(|span| span.span_id());
                let attempt = pin!(self.attempt(&lease, id));
                self.within(clock.as_mut(), attempt).await
            };
            let failure = match answered {
                Ok((parts, _)) if switches(&parts) && !self.is_switch(&parts) => {
                    Failure::unasked_switch(self.upgrade.is_some())
                }
                Ok((mut parts, carrier)) => {
                    lease.succeeded();
                    series.answered(parts.status, begun.elapsed());
                    if let Some(span) = &mut span {
                        span.answered(parts.status.as_u16());
                    }
                    head::answer(&mut parts, &self.sent.method, carrier.left());
                    if switches(&parts) {
                        end(span);
                        return self.tunnel(parts, carrier, lease, active);
                    }
                    // Nothing has been said to the client yet: what is wrong with the answer right
                    // from its beginning can still be told.
                    let mut carrier = carrier;
                    let ahead = poll_fn(|cx| Poll::Ready(carrier.look_ahead(cx))).await;
                    let ahead = ahead.inspect_err(|refusal| fail(&mut span, refusal.reason.label()))?;
                    let whole = carrier.is_end() && ahead.as_ref().is_none_or(Frame::is_data);
                    let body = if whole {
                        end(span);
                        proxy.give_back(carrier, &lease);
                        AnswerBody::Whole { bytes: ahead.and_then(|frame| frame.into_data().ok()) }
                    } else {
                        let body = UpstreamBody::new(carrier, ahead, proxy.clone(), lease, active, span);
                        AnswerBody::Upstream { body }
                    };
                    return Ok(Response::from_parts(parts, body));
                }
                Err(_) if self.source.as_ref().is_some_and(|source| source.has_failed()) => {
                    Failure::of_body()
                }
                Err(failure) => failure,
            };
            fail(&mut span, failure.label());
            drop(span);
            series.failed(failure.kind(), begun.elapsed());
            if let Some(blame) = failure.blame.filter(|_| !failure.stale) {
                lease.failed(blame);
            }
            // What was never seen costs no upstream anything; nor does a connection that was closed
            // while it was idle.
            let free = !failure.sent || (failure.stale && tried.is_empty());
            // Once the request's time is over, whoever is asked next fails at once and is blamed for it.
            let over = clock.as_ref().is_over();
            if over || retries == 0 || !self.may_retry(&failure) || !(free || proxy.group.take_retry()) {
                return Err(failure.into_refusal());
            }
            retries -= 1;
            resent += 1;
            series.retried();
            begun = Instant::now();
            // One whose kept connection had ended may well serve the next; one that takes nothing new
            // is on its way out.
            if !failure.stale || !failure.sent {
                tried.push(lease.endpoint().address);
            }
        }
    }

    /// An address once the names have been asked for, which they are being just after the start. What
    /// they have come to by the time for a connection decides.
    async fn first_names(&self, tried: &[SocketAddr]) -> Result<Lease<Pool>, Unavailable> {
        let ProxyOptions { upstream, request_timeout, .. } = &self.proxy.options;
        let patience = upstream.connect_timeout.min(*request_timeout);
        let _ = timeout(patience, self.proxy.group.resolved()).await;
        self.proxy.group.pick(tried)
    }

    /// Whether to ask again cannot do a thing twice: the request was never seen, or may be seen twice
    /// (RFC 9110 section 9.2.2); and none of its body is gone. An upstream that answered a request, if only
    /// with nonsense, is not asked again.
    fn may_retry(&self, failure: &Failure) -> bool {
        failure.blame.is_some_and(|blame| blame != balance::Failure::Invalid || !failure.sent)
            && (!failure.sent || self.is_idempotent())
            && self.source.as_ref().is_none_or(|source| match failure.sent {
                true => !source.has_begun(),
                false => source.can_begin_again(),
            })
    }

    fn is_idempotent(&self) -> bool {
        self.sent.method.is_idempotent() || self.sent.method == Method::TRACE
    }

    /// An attempt, within the request's time.
    async fn within(
        &self,
        mut clock: Pin<&mut Deadline>,
        mut attempt: Pin<&mut impl Future<Output = Result<Answered, Failure>>>,
    ) -> Result<Answered, Failure> {
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = attempt.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            clock.as_mut().poll(cx).map(|()| None)
        });
        let limit = self.proxy.options.request_timeout;
        answered.await.unwrap_or_else(|| match &self.source {
            // The client was still to send, rather than the upstream to take it.
            Some(source) if source.is_waiting() => Err(Failure::client_timeout(limit)),
            _ => Err(Failure::timeout(limit, "limits.request_timeout")),
        })
    }

    /// The span of an attempt, where the request is recorded.
    fn span(&self, upstream: &Upstream, lease: &Lease<Pool>, resent: u32) -> Option<Box<Attempt>> {
        self.exchange.trace.get()?.attempt(&upstream.peer, lease.endpoint().address, resent)
    }

    /// Asks one address.
    async fn attempt(&self, lease: &Lease<Pool>, span: Option<SpanId>) -> Result<Answered, Failure> {
        let ProxyOptions { upstream: options, request_id_header, .. } = &self.proxy.options;
        let endpoint = lease.endpoint();
        let (Some(upstream), Some(url)) = (self.proxy.upstream(lease), options.url.get(endpoint.upstream))
        else {
            return Err(Failure::closed(false));
        };
        let http1 = !url.protocol.is_http2();
        let ask = Ask {
            protocol: url.protocol,
            authority: &upstream.authority,
            keep_host: options.host_header == HostHeader::Keep,
            request_id_header,
            upgrade: self.upgrade.as_ref().map(|(to, _)| to).filter(|_| http1),
            expect: self.expects && http1,
            length: match &self.source {
                None => Length::None,
                Some(source) => source.exact().map_or(Length::Open, Length::Exactly),
            },
            span,
        };
        let body = self.source.as_ref().map_or(Upload::Empty, |source| source.lend(!http1));
        // What is rare is boxed, here and below: this future is moved into one box with all that it
        // may ever hold.
        if !http1 {
            let request =
                head::http2(&self.sent, &self.exchange, &ask, body).ok_or_else(Failure::unsayable)?;
            return Box::pin(self.http2(lease, upstream.secured.as_ref(), request)).await;
        }
        // One that may not be sent twice must not be sent into a connection that has ended.
        let certain = self.source.is_some() || !self.is_idempotent();
        let mut connection = match endpoint.pool.take(options.keepalive_timeout, certain) {
            Some(connection) => connection,
            None => Box::pin(self.proxy.opened(endpoint.address, upstream.secured.as_ref())).await?,
        };
        let sending = connection.send(Outgoing {
            head: |out: &mut Vec<u8>| head::write_http1(out, &self.sent, &self.exchange, &ask),
            method: &self.sent.method,
            body,
            length: ask.length,
            source: self.source.as_ref(),
        });
        let parts = if self.expects {
            Box::pin(self.expecting(sending)).await?
        } else if options.first_byte_timeout.is_some() {
            Box::pin(self.first_byte(sending)).await?
        } else {
            sending.await?
        };
        Ok((parts, Carrier::Http1(connection)))
    }

    /// Asks one address that speaks HTTP/2.
    async fn http2(
        &self,
        lease: &Lease<Pool>,
        secured: Option<&Arc<Secured>>,
        request: Request<Upload>,
    ) -> Result<Answered, Failure> {
        self.open();
        let endpoint = lease.endpoint();
        let opening = endpoint.pool.http2.stream(endpoint.address, secured);
        let mut stream = connected(opening, self.proxy.options.upstream.connect_timeout).await?;
        let (parts, body) = self.first_byte(stream.send(request)).await?.into_parts();
        Ok((parts, Carrier::Http2(stream, body)))
    }

    /// Sends a request whose client waits for the upstream's word before it sends its body.
    async fn expecting(&self, sending: Sending<'_>) -> Result<response::Parts, Failure> {
        let mut answer = pin!(self.first_byte(sending));
        tokio::select! {
            answer = &mut answer => return answer,
            () = sleep(EXPECT_PATIENCE) => self.open(),
        }
        answer.await
    }

    fn open(&self) {
        if let Some(source) = &self.source {
            source.open();
        }
    }

    /// Waits for the head of the answer, and from the end of the request on not for too long.
    async fn first_byte<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Some(limit) = self.proxy.options.upstream.first_byte_timeout else { return answer.await };
        let mut answer = pin!(answer);
        let mut clock: Option<Pin<Box<Deadline>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            if self.source.as_ref().is_some_and(|source| !source.poll_ended(cx)) {
                return Poll::Pending;
            }
            let clock = clock.get_or_insert_with(|| Box::pin(Deadline::after(limit)));
            clock.as_mut().poll(cx).map(|()| Err(Failure::timeout(limit, "upstream.first_byte_timeout")))
        })
        .await
    }

    /// Whether an answer changes to the protocol that was asked for.
    fn is_switch(&self, answer: &response::Parts) -> bool {
        let to = answer.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
        self.upgrade
            .as_ref()
            .is_some_and(|(asked, _)| to.is_some_and(|to| to.eq_ignore_ascii_case(asked.as_bytes())))
    }

    /// Lets the connection be what both sides have agreed on.
    fn tunnel(
        mut self: Box<Self>,
        mut parts: response::Parts,
        carrier: Carrier,
        lease: Lease<Pool>,
        active: Counted<Series>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (Carrier::Http1(connection), Some((to, client))) = (carrier, self.upgrade.take()) else {
            return Err(Failure::unasked_switch(false).into_refusal());
        };
        let (socket, said) = connection.leave();
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, to);
        let held = Held {
            lease,
            active,
            permit: self.exchange.permit.get().cloned(),
            tunnels: Counted::new(Arc::new(Tunnels(self.proxy.metrics.clone()))),
        };
        let idle = self.proxy.options.upstream.tunnel_idle_timeout;
        tokio::spawn(tunnel::run(client, socket, said, idle, held));
        Ok(Response::from_parts(parts, AnswerBody::Whole { bytes: None }))
    }
}

/// An attempt is over, and all is well.
fn end(span: Option<Box<Attempt>>) {
    if let Some(mut span) = span {
        span.end();
    }
}

/// An attempt failed.
fn fail(span: &mut Option<Box<Attempt>>, kind: &'static str) {
    if let Some(span) = span {
        span.fail(kind);
    }
}

/// Whether an answer says that the protocol changes.
fn switches(answer: &response::Parts) -> bool {
    answer.status == StatusCode::SWITCHING_PROTOCOLS
}

/// Waits for a connection, and not for too long.
pub(super) async fn connected<T>(
    connecting: impl Future<Output = std::io::Result<T>>,
    limit: Duration,
) -> Result<T, Failure> {
    match within(limit, connecting).await {
        Some(connected) => connected.map_err(|error| Failure::connect(&error)),
        None => Err(Failure::connect_timeout(limit)),
    }
}

fn unavailable(why: Unavailable) -> Refusal {
    let detail = match why {
        // What does not resolve is of the operator's making, and for the log alone.
        Unavailable::NoAddress(why) => {
            tracing::debug!(%why, "no upstream has an address");
            "the upstream's name does not resolve"
        }
        Unavailable::AllDown => "no upstream is well",
    };
    Refusal::new(Reason::UpstreamUnreachable, detail)
}
