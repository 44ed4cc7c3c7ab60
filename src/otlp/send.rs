//! One batch, one attempt: what is sent, and what the collector's answer means
//! ([OTLP](https://opentelemetry.io/docs/specs/otlp/), gRPC over HTTP/2).

use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::encode::{framed, gzip};
use super::{Options, Wire};
use crate::outcall::{Answer, Bounds, CallError, Caller};

const SERVICE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Bytes of a collector's answer.
const MAX_ANSWER: usize = 64 * 1024;
const AGENT: &str = concat!("OTel-OTLP-Exporter-nessen/", env!("CARGO_PKG_VERSION"));
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken, but for so many.
    Taken { rejected: usize },
    /// It may be asked again, after a while that the collector may have named.
    Later { why: String, after: Option<Duration> },
    /// Asking again would change nothing.
    Refused { why: String },
}

/// A batch as it is sent, in each of its attempts.
pub(super) struct Parcel {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Parcel {
    /// Wraps up what [`encode`](super::encode::encode) has made; `None` where it is too much for one.
    pub(super) fn new(options: &Options, message: &[u8]) -> Option<Self> {
        let compressed = if options.gzip { Some(gzip(message)?) } else { None };
        let bytes = compressed.as_deref().unwrap_or(message);
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            headers.insert(name.clone(), value.clone());
        }
        let mut put = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        put(header::USER_AGENT, AGENT);
        let gzip = compressed.is_some();
        let (path, body) = match options.wire {
            Wire::Http => {
                put(header::CONTENT_TYPE, "application/x-protobuf");
                if gzip {
                    put(header::CONTENT_ENCODING, "gzip");
                }
                (options.url.path.clone(), Bytes::copy_from_slice(bytes))
            }
            Wire::Grpc => {
                put(header::CONTENT_TYPE, "application/grpc");
                put(header::TE, "trailers");
                if gzip {
                    put(HeaderName::from_static("grpc-encoding"), "gzip");
                }
                (SERVICE.to_owned(), framed(bytes, gzip)?)
            }
        };
        Some(Self { path, headers, body })
    }

    /// Sends it.
    pub(super) async fn send(&self, caller: &Caller, options: &Options) -> Outcome {
        let Ok(mut request) = Request::post(&self.path).body(self.body.clone()) else {
            return Outcome::Refused { why: "the path is none".to_owned() };
        };
        *request.headers_mut() = self.headers.clone();
        if options.wire == Wire::Grpc
            && let Ok(value) =
                HeaderValue::from_str(&format!("{}m", options.timeout.as_millis().min(99_999_999)))
        {
            request.headers_mut().insert("grpc-timeout", value);
        }
        let bounds = Bounds { deadline: options.timeout, max_body: MAX_ANSWER };
        match caller.call(request, bounds).await {
            Ok(answer) => match options.wire {
                Wire::Http => of_http(&answer),
                Wire::Grpc => of_grpc(&answer),
            },
            Err(error @ CallError::Unsayable) => Outcome::Refused { why: error.to_string() },
            Err(error) => Outcome::Later { why: error.to_string(), after: None },
        }
    }
}

fn of_http(answer: &Answer) -> Outcome {
    match answer.status.as_u16() {
        200..=299 => taken(&answer.body),
        429 | 502 | 503 | 504 => Outcome::Later {
            why: format!("the collector answered {}", answer.status),
            after: retry_after(&answer.headers),
        },
        _ => Outcome::Refused { why: format!("the collector answered {}", answer.status) },
    }
}

fn of_grpc(answer: &Answer) -> Outcome {
    if answer.status != StatusCode::OK {
        return of_http(answer);
    }
    // Where there is nothing but trailers they are the head.
    let status = answer.trailers.get(GRPC_STATUS).or(answer.headers.get(GRPC_STATUS));
    let status = status.and_then(|status| status.to_str().ok()).and_then(|status| status.parse::<u32>().ok());
    let why = |status: u32| format!("the collector answered grpc-status {status}");
    match status {
        Some(0) => {
            let mut message = answer.body.as_ref();
            // What was not asked for, compressed answers included, says nothing.
            message.advance(message.len().min(5));
            taken(message)
        }
        // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        Some(status @ (1 | 4 | 8 | 10 | 11 | 14 | 15)) => {
            Outcome::Later { why: why(status), after: retry_after(&answer.headers) }
        }
        Some(status) => Outcome::Refused { why: why(status) },
        None => Outcome::Refused { why: "the collector's answer has no grpc-status".to_owned() },
    }
}

fn taken(message: &[u8]) -> Outcome {
    // Some collectors answer with a text, or with nothing; what was taken is taken.
    let response = ExportTraceServiceResponse::decode(message).unwrap_or_default();
    let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    Outcome::Taken { rejected: usize::try_from(rejected).unwrap_or(0) }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u32>() {
        Ok(seconds) => Some(Duration::from_secs(seconds.into())),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn answer(
        status: u16,
        headers: &[(&'static str, &str)],
        trailers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let map = |fields: &[(&'static str, &str)]| {
            fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect()
        };
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            body: Bytes::copy_from_slice(body),
            trailers: map(trailers),
        }
    }

    fn is_later(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Later { .. })
    }

    fn partial(rejected_spans: i64) -> Vec<u8> {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: "no".to_owned() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    #[test]
    fn what_can_be_asked_again_is() {
        for status in [429, 502, 503, 504] {
            assert!(is_later(&of_http(&answer(status, &[], &[], b""))), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert!(matches!(of_http(&answer(status, &[], &[], b"")), Outcome::Refused { .. }), "{status}");
        }
        for status in ["1", "4", "8", "10", "11", "14", "15"] {
            assert!(is_later(&of_grpc(&answer(200, &[], &[("grpc-status", status)], b""))), "{status}");
            assert!(is_later(&of_grpc(&answer(200, &[("grpc-status", status)], &[], b""))), "{status}");
        }
        for status in ["2", "3", "5", "7", "12", "16", "99", "x", "-1"] {
            let outcome = of_grpc(&answer(200, &[], &[("grpc-status", status)], b""));
            assert!(matches!(outcome, Outcome::Refused { .. }), "{status}");
        }
        assert!(matches!(of_grpc(&answer(200, &[], &[], b"")), Outcome::Refused { .. }));
        assert!(is_later(&of_grpc(&answer(503, &[], &[("grpc-status", "0")], b""))));
    }

    #[test]
    fn what_was_taken_is_told_from_what_was_rejected() {
        for (body, rejected) in
            [(partial(3), 3), (partial(0), 0), (partial(-1), 0), (vec![], 0), (b"<html>".to_vec(), 0)]
        {
            assert_eq!(of_http(&answer(200, &[], &[], &body)), Outcome::Taken { rejected });
            let grpc = framed(&body, false).unwrap();
            let grpc = answer(200, &[], &[("grpc-status", "0")], &grpc);
            assert_eq!(of_grpc(&grpc), Outcome::Taken { rejected });
        }
    }

    #[test]
    fn a_collector_may_say_when() {
        let after = |text: &str| match of_http(&answer(503, &[("retry-after", text)], &[], b"")) {
            Outcome::Later { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("-7"), None);
        assert_eq!(after("soon"), None);
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(after(&date).is_some_and(|after| (90..=100).contains(&after.as_secs())), "{date}");
    }
}
