//! A collector that speaks the real protocol, OTLP over HTTP or gRPC, and does what it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::{PATIENCE, assert_eventually};

/// What it does with what it is sent.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Takes it.
    Take,
    /// Takes it, but for so many.
    Reject(i64),
    /// Answers with this status, and maybe says when to come again.
    Status(u16, Option<&'static str>),
    /// Answers with this status of gRPC, in trailers.
    Grpc(u32),
    /// The same with nothing but a head.
    GrpcAtOnce(u32),
    /// Never answers.
    Hang,
    /// Answers with something that is not asked for, without end.
    Flood,
    /// Answers with what is no message.
    Garbage,
}

/// One span, easy to look at.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) remote: bool,
    pub(crate) state: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) failed: bool,
    /// Trace and span.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) resource: BTreeMap<String, String>,
}

pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;

impl Span {
    /// An attribute, or nothing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Received {
    manner: Option<Manner>,
    heads: Vec<(String, String, HeaderMap)>,
    bytes: Vec<Bytes>,
    taken: Vec<ExportTraceServiceRequest>,
}

/// A running collector.
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    grpc: bool,
    received: Arc<Mutex<Received>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Collector {
    /// OTLP/HTTP.
    pub(crate) fn http() -> Self {
        Self::start(false, None)
    }

    /// OTLP/gRPC.
    pub(crate) fn grpc() -> Self {
        Self::start(true, None)
    }

    /// Either within TLS; and the PEM of the certificate.
    pub(crate) fn tls(grpc: bool) -> (Self, String) {
        let made =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![if grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        (Self::start(grpc, Some(TlsAcceptor::from(Arc::new(config)))), made.cert.pem())
    }

    fn start(grpc: bool, tls: Option<TlsAcceptor>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Received>>::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let of_task = received.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (received, tls) = (of_task.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, grpc, received).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, grpc, received).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, grpc, received, runtime: Some(runtime) }
    }

    /// Which of the two it speaks.
    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// For the variable of the endpoint.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Does this from now on.
    pub(crate) fn will(&self, manner: Manner) {
        self.received.lock().unwrap().manner = Some(manner);
    }

    /// Method, path and fields of each request so far.
    pub(crate) fn heads(&self) -> Vec<(String, String, HeaderMap)> {
        self.received.lock().unwrap().heads.clone()
    }

    /// All bytes of bodies so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().bytes.concat()
    }

    /// The spans that it has taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().taken.iter().flat_map(spans).collect()
    }

    /// The same, once there are so many.
    #[track_caller]
    pub(crate) fn wait(&self, count: usize) -> Vec<Span> {
        assert_eventually(PATIENCE, "spans come", || self.spans().len() >= count);
        self.spans()
    }

    /// The spans of the trace that begins here with this attribute, the server's first, once so many are there.
    #[track_caller]
    pub(crate) fn trace_of(&self, name: &str, value: &str, count: usize) -> Vec<Span> {
        let mut found = Vec::new();
        assert_eventually(PATIENCE, &format!("{count} spans of {name} = {value}"), || {
            let all = self.spans();
            let server = all.iter().find(|span| span.kind == SERVER && span.get(name) == value);
            let Some(server) = server else { return false };
            found = all.iter().filter(|span| span.trace == server.trace).cloned().collect();
            found.sort_by_key(|span| (span.kind, span.start));
            found.len() >= count
        });
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    grpc: bool,
    received: Arc<Mutex<Received>>,
) {
    let service = service_fn(move |request| answer(request, grpc, received.clone()));
    let io = TokioIo::new(io);
    let _ = match grpc {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => http1::Builder::new().serve_connection(io, service).await,
    };
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn frames(frames: Vec<Frame<Bytes>>) -> BoxBody<Bytes, Infallible> {
    BoxBody::new(StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok))))
}

async fn answer(
    request: Request<Incoming>,
    grpc: bool,
    received: Arc<Mutex<Received>>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::new(frames(vec![]))) };
    let body = body.to_bytes();
    let manner = {
        let mut received = received.lock().unwrap();
        received.heads.push((parts.method.to_string(), parts.uri.path().to_owned(), parts.headers.clone()));
        received.bytes.push(body.clone());
        received.manner.clone().unwrap_or(Manner::Take)
    };
    let take = |rejected: i64| {
        let mut message = body.clone();
        let coding = if grpc { "grpc-encoding" } else { "content-encoding" };
        let mut zipped = parts.headers.contains_key(coding);
        if grpc {
            let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
            assert_eq!(length, body.len() - 5, "the length of a message is told");
            assert_eq!(body[0] == 1, zipped);
            message = body.slice(5..);
        }
        if std::mem::take(&mut zipped) {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*message), &mut plain).unwrap();
            message = plain.into();
        }
        let message = ExportTraceServiceRequest::decode(message).expect("what is sent is OTLP");
        received.lock().unwrap().taken.push(message);
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: String::new() };
        ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }.encode_to_vec()
    };
    let trailers = |status: u32| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.into());
        Frame::trailers(trailers)
    };
    let whole = |message: Vec<u8>| match grpc {
        true => {
            let mut framed = vec![0];
            framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
            framed.extend(message);
            Response::new(frames(vec![Frame::data(framed.into()), trailers(0)]))
        }
        false => Response::new(frames(vec![Frame::data(message.into())])),
    };
    Ok(match manner {
        Manner::Take => whole(take(0)),
        Manner::Reject(count) => whole(take(count)),
        Manner::Status(status, after) => {
            let mut response = Response::builder().status(status);
            if let Some(after) = after {
                response = response.header("retry-after", after);
            }
            response.body(frames(vec![])).unwrap()
        }
        Manner::Grpc(status) => Response::new(frames(vec![trailers(status)])),
        Manner::GrpcAtOnce(status) => {
            Response::builder().header("grpc-status", status).body(frames(vec![])).unwrap()
        }
        Manner::Hang => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Response::new(frames(vec![]))
        }
        Manner::Flood => {
            let endless = std::iter::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[7; 16 * 1024]))));
            Response::new(BoxBody::new(StreamBody::new(tokio_stream::iter(endless))))
        }
        Manner::Garbage => Response::new(frames(vec![Frame::data(Bytes::from_static(b"<html>no</html>"))])),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("no value that is expected: {other:?}"),
    }
}

fn map(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let map: BTreeMap<_, _> =
        attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect();
    assert_eq!(map.len(), attributes.len(), "an attribute is said once: {attributes:?}");
    map
}

fn spans(message: &ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in &message.resource_spans {
        let of = map(&resource.resource.as_ref().unwrap().attributes);
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            spans.push(one(span, &of));
        }
    }
    spans
}

fn one(span: &otlp::Span, resource: &BTreeMap<String, String>) -> Span {
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert!([0, 8].contains(&span.parent_span_id.len()));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let code = span.status.as_ref().map_or(0, |status| status.code);
    Span {
        name: span.name.clone(),
        kind: span.kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        remote: span.flags & 0x200 != 0,
        state: span.trace_state.clone(),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: map(&span.attributes),
        failed: code == 2,
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        resource: resource.clone(),
    }
}
