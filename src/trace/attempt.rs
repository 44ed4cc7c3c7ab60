//! The span of one attempt to have a request answered by an upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::server::{put_method, redacted, span_name};
use super::span::{Kind, Span, Value};
use super::spans::Spans;
use super::{SAMPLED, Trace};
use crate::trace::context::{SpanId, TraceId};

/// An upstream, as spans tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port, as in a URL.
    pub authority: Box<str>,
    /// The host, IPv6 without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// `1.1` or `2`.
    pub version: &'static str,
}

/// An attempt that is being recorded. Its span is over when this is dropped; whoever drops it without a word
/// has given it up.
#[derive(Debug)]
pub struct Attempt {
    spans: Arc<Spans>,
    trace_id: TraceId,
    span_id: SpanId,
    parent: SpanId,
    flags: u8,
    state: Option<Box<str>>,
    method: Method,
    target: Option<PathAndQuery>,
    peer: Arc<Peer>,
    address: SocketAddr,
    /// Of how many.
    resent: u32,
    /// Nanoseconds since 1970, and on the clock that is never set.
    began: (u64, Instant),
    status: Option<u16>,
    error: Option<&'static str>,
    ended: bool,
}

impl Trace {
    /// The span of the attempt that begins now, at this address of `peer`, after `resent` others; `None` where
    /// nothing is recorded.
    pub fn attempt(&self, peer: &Arc<Peer>, address: SocketAddr, resent: u32) -> Option<Box<Attempt>> {
        let recording = self.recording.as_ref()?;
        let now = Instant::now();
        let began = recording.nanos(now.saturating_duration_since(recording.began.1));
        Some(Box::new(Attempt {
            spans: recording.spans.clone(),
            trace_id: self.trace_id,
            span_id: SpanId::random(),
            parent: self.span_id,
            flags: self.flags | SAMPLED,
            state: recording.state.clone(),
            method: recording.method.clone(),
            target: recording.target.clone(),
            peer: peer.clone(),
            address,
            resent,
            began: (began, now),
            status: None,
            error: None,
            ended: false,
        }))
    }
}

impl Attempt {
    /// What an upstream is to be told of it.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// The upstream has answered; its body may still be to come.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// It came to its end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// It failed.
    pub fn fail(&mut self, kind: &'static str) {
        self.error = Some(kind);
        self.ended = true;
    }

    fn span(&mut self) -> Span {
        let error = match (self.error, self.status) {
            (Some(kind), _) => Some(Value::Word(kind)),
            (None, Some(status)) if status >= 400 => Some(Value::Text(status.to_string().into())),
            (None, _) if !self.ended => Some(Value::Word("aborted")),
            (None, _) => None,
        };
        let peer = &self.peer;
        let (path, query) = redacted(self.target.as_ref().map_or("/", |target| target.as_str()));
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let url = format!("{}://{}{path}{query}", peer.scheme, peer.authority);
        let failed = error.is_some();
        let mut attributes = Vec::with_capacity(11);
        let mut put = |name, value| attributes.push((name, value));
        put("url.full", Value::Text(url.into()));
        put("server.address", Value::Shared(peer.host.clone()));
        put("server.port", Value::Number(peer.port.into()));
        put("network.peer.address", Value::Text(self.address.ip().to_canonical().to_string().into()));
        put("network.peer.port", Value::Number(self.address.port().into()));
        put("network.protocol.version", Value::Word(peer.version));
        if self.resent > 0 {
            put("http.request.resend_count", Value::Number(self.resent.into()));
        }
        if let Some(status) = self.status {
            put("http.response.status_code", Value::Number(status.into()));
        }
        if let Some(error) = error {
            put("error.type", error);
        }
        put_method(&mut attributes, &self.method);
        let took = u64::try_from(self.began.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: Some(self.parent),
            remote_parent: false,
            flags: self.flags,
            state: self.state.take(),
            kind: Kind::Client,
            name: span_name(&self.method, None),
            start: self.began.0,
            end: self.began.0.saturating_add(took),
            attributes,
            link: None,
            failed,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let span = self.span();
        self.spans.push(span);
    }
}
