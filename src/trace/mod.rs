//! Traces: what context a request came with, whether it is recorded, and what of it is.
//!
//! A [`Tracer`] looks at the head of a request and makes its [`Trace`], which travels in the exchange. Of one
//! that is not recorded, that is two ids and a few flags, made without an allocation; they go out to upstreams,
//! so that whoever comes next decides the same. Of one that is recorded, a [`Recording`] keeps what the spans
//! will need; texts are made when it is over, with secrets [redacted](crate::redact), and go into [`Spans`].
//!
//! SECURITY: a client that may say "record this" makes the server do work, and its collector store it. The
//! context of a request counts only if whoever sent it is [trusted](Trust); of others it is kept as a link of
//! the trace that begins here, if that is recorded anyway.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Version};
use tokio::time::Instant;

mod attempt;
pub mod context;
mod sampler;
mod server;
pub mod span;
mod spans;
#[cfg(test)]
mod tests;

pub use attempt::{Attempt, Peer};
pub use sampler::{Ratio, Root, Sampler};
pub use server::Ended;
pub use spans::{Counts, Lost, Room, SPAN_COST, Spans};

use context::{Parent, SAMPLED, SpanId, TraceId};

/// The field of the context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What other systems have to say about the same.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whose context is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// That of trusted proxies.
    Trusted,
    /// Everybody's.
    All,
    /// Nobody's.
    None,
}

/// Decides about requests, and takes their spans.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// Whose context counts.
    pub trust: Trust,
    /// Whether contexts are read and told on (`OTEL_PROPAGATORS`).
    pub propagates: bool,
    /// Where spans go.
    pub spans: Arc<Spans>,
}

/// What a request is a part of.
#[derive(Debug)]
pub struct Trace {
    /// The trace.
    pub trace_id: TraceId,
    /// The span of the request here.
    pub span_id: SpanId,
    flags: u8,
    propagates: bool,
    keeps_state: bool,
    recording: Option<Box<Recording>>,
}

/// What is kept of a request that is recorded. Shares the memory of its head.
#[derive(Debug)]
struct Recording {
    spans: Arc<Spans>,
    parent: Option<SpanId>,
    link: Option<Parent>,
    state: Option<Box<str>>,
    method: Method,
    target: Option<PathAndQuery>,
    host: Option<Host>,
    user_agent: Option<HeaderValue>,
    scheme: &'static str,
    version: Version,
    /// On two clocks.
    began: (SystemTime, Instant),
}

/// Whom the client asked for.
#[derive(Debug)]
enum Host {
    Field(HeaderValue),
    Target(Authority),
}

impl Host {
    fn as_str(&self) -> &str {
        match self {
            Self::Field(value) => value.to_str().unwrap_or_default(),
            Self::Target(authority) => authority.as_str(),
        }
    }
}

impl Tracer {
    /// The trace of a request whose first byte came at `started`, over TLS or not; from a peer that may speak
    /// for others or not.
    pub fn begin<B>(
        &self,
        request: &Request<B>,
        trusted_peer: bool,
        secure: bool,
        started: Instant,
    ) -> Trace {
        let headers = request.headers();
        let sent = if self.propagates { sent(headers) } else { None };
        let believed = match self.trust {
            Trust::Trusted => trusted_peer,
            Trust::All => true,
            Trust::None => false,
        };
        let parent = sent.filter(|_| believed);
        let trace_id = parent.map_or_else(TraceId::random, |parent| parent.trace_id);
        let sampled = self.sampler.samples(parent.as_ref(), trace_id);
        let keeps_state = parent.is_some()
            && headers.contains_key(TRACESTATE)
            && context::is_state(headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes));
        let flags = parent.map_or(0, |parent| parent.flags & !SAMPLED) | u8::from(sampled);
        let recording = sampled.then(|| {
            let proto = headers.get("x-forwarded-proto").filter(|_| trusted_peer);
            let host = headers.get("x-forwarded-host").filter(|_| trusted_peer).or(headers.get(header::HOST));
            Box::new(Recording {
                spans: self.spans.clone(),
                parent: parent.map(|parent| parent.span_id),
                link: sent.filter(|_| !believed),
                state: keeps_state.then(|| state(headers)),
                method: request.method().clone(),
                target: request.uri().path_and_query().cloned(),
                host: match request.uri().authority() {
                    Some(authority) => Some(Host::Target(authority.clone())),
                    None => host.cloned().map(Host::Field),
                },
                user_agent: headers.get(header::USER_AGENT).cloned(),
                scheme: match proto {
                    Some(proto) if proto == "https" => "https",
                    Some(_) => "http",
                    None if secure => "https",
                    None => "http",
                },
                version: request.version(),
                began: (SystemTime::now() - started.elapsed(), started),
            })
        });
        let span_id = SpanId::random();
        Trace { trace_id, span_id, flags, propagates: self.propagates, keeps_state, recording }
    }
}

/// The context that a request came with. Two of them are none.
fn sent(headers: &HeaderMap) -> Option<Parent> {
    let mut found = headers.get_all(TRACEPARENT).iter();
    let parent = found.next()?;
    if found.next().is_some() { None } else { Parent::parse(parent.as_bytes()) }
}

/// A `tracestate` that [is one](context::is_state), as one text.
fn state(headers: &HeaderMap) -> Box<str> {
    let fields: Vec<&str> =
        headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    fields.join(",").into()
}

impl Trace {
    /// Whether it is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What it is called in logs.
    pub fn ids(&self) -> (TraceId, SpanId) {
        (self.trace_id, self.span_id)
    }

    /// Whether a field that the client sent is left out on the way to an upstream: in place of `traceparent`
    /// there is another, and a `tracestate` belongs to the trace that it came with.
    pub fn replaces(&self, name: &HeaderName) -> bool {
        self.propagates && (*name == TRACEPARENT || (!self.keeps_state && *name == TRACESTATE))
    }

    /// The `traceparent` that an upstream is sent in the attempt of this span; `None` where none is.
    pub fn parent_of(&self, attempt: Option<SpanId>) -> Option<[u8; 55]> {
        let span_id = attempt.unwrap_or(self.span_id);
        let parent = Parent { trace_id: self.trace_id, span_id, flags: self.flags };
        self.propagates.then(|| parent.text())
    }
}
