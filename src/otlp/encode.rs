//! Spans as OTLP's messages (opentelemetry-proto 1.x).

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Message, Status};
use prost::Message as _;

use crate::random;
use crate::trace::context::Parent;
use crate::trace::span::{Kind, Span, Value};

/// Spans that are encoded in one go: a worker that serves requests as well is to come to them in between.
const AT_A_TIME: usize = 64;

/// Which conventions the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";

/// Bits of OTLP's `flags` beside those of the context: whether it is known that the parent is another
/// process's, and whether it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Who says it all.
#[derive(Debug, Clone)]
pub struct Service(Resource);

fn pair(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    key_value(key.into(), Any::StringValue(value.into()))
}

fn key_value(key: String, value: Any) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

impl Service {
    /// A service of this name, with what else is said of it.
    pub fn new(name: &str, attributes: &[(String, String)]) -> Self {
        let id = random::hex_id();
        let ours = [
            ("service.name", "nessen"),
            ("service.instance.id", std::str::from_utf8(&id).unwrap_or_default()),
            ("telemetry.sdk.name", "nessen"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        let mut all: Vec<(String, String)> =
            ours.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let named = (!name.is_empty()).then(|| ("service.name".to_owned(), name.to_owned()));
        for (key, value) in attributes.iter().cloned().chain(named) {
            match all.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value,
                None => all.push((key, value)),
            }
        }
        let attributes = all.into_iter().map(|(key, value)| pair(key, value)).collect();
        Self(Resource { attributes, ..Resource::default() })
    }
}

/// A request that exports these spans, as it is sent.
pub(super) async fn encode(service: &Service, spans: Vec<Span>) -> BytesMut {
    let mut out = BytesMut::new();
    let mut spans = spans.into_iter();
    loop {
        let some: Vec<Message> = spans.by_ref().take(AT_A_TIME).map(message).collect();
        if some.is_empty() {
            return out;
        }
        let scope = InstrumentationScope {
            name: "nessen".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        // What repeats may be said in parts: messages one after the other are one with all their spans.
        let part = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(service.0.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: some,
                    schema_url: SCHEMA.to_owned(),
                }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        out.reserve(part.encoded_len());
        // A BytesMut grows: there is always room.
        let _ = part.encode(&mut out);
        tokio::task::yield_now().await;
    }
}

fn message(span: Span) -> Message {
    let remote = if span.remote_parent { IS_REMOTE } else { 0 };
    let attributes = span.attributes.into_iter().map(|(key, value)| {
        let value = match value {
            Value::Word(word) => Any::StringValue(word.to_owned()),
            Value::Text(text) => Any::StringValue(text.into()),
            Value::Shared(text) => Any::StringValue(text.to_string()),
            Value::Number(number) => Any::IntValue(number),
        };
        key_value(key.to_owned(), value)
    });
    let link = |parent: Parent| Link {
        trace_id: parent.trace_id.bytes().to_vec(),
        span_id: parent.span_id.bytes().to_vec(),
        flags: u32::from(parent.flags) | KNOWS_REMOTE | IS_REMOTE,
        ..Link::default()
    };
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let code = if span.failed { StatusCode::Error } else { StatusCode::Unset };
    Message {
        trace_id: span.trace_id.bytes().to_vec(),
        span_id: span.span_id.bytes().to_vec(),
        trace_state: span.state.map(Into::into).unwrap_or_default(),
        parent_span_id: span.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(span.flags) | KNOWS_REMOTE | remote,
        name: span.name.into(),
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes.collect(),
        links: span.link.into_iter().map(link).collect(),
        status: span.failed.then(|| Status { code: code.into(), ..Status::default() }),
        ..Message::default()
    }
}

/// Compressed.
pub(super) fn gzip(bytes: &[u8]) -> Option<BytesMut> {
    let mut encoder = GzEncoder::new(BytesMut::new().writer(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    Some(encoder.finish().ok()?.into_inner())
}

/// With gRPC's prefix: whether it is compressed, and how long it is.
pub(super) fn framed(bytes: &[u8], compressed: bool) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(bytes.len() + 5);
    out.put_u8(u8::from(compressed));
    out.put_u32(u32::try_from(bytes.len()).ok()?);
    out.extend_from_slice(bytes);
    Some(out.freeze())
}
