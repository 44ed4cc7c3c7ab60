use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::time::Instant;

use super::*;
use crate::resolve::Resolver;
use crate::trace::{Ended, Room, Root, Sampler, Tracer, Trust};

fn tracer(spans: &Arc<Spans>) -> Tracer {
    let sampler = Sampler::new(Root::On, false);
    Tracer { sampler, trust: Trust::None, propagates: true, spans: spans.clone() }
}

/// So many spans of requests.
fn give(spans: &Arc<Spans>, count: usize) {
    let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for _ in 0..count {
        let trace = tracer(spans).begin(&Request::new(()), false, false, Instant::now());
        trace.end(&Ended {
            status: Some(200),
            reason: None,
            route: None,
            request_id: "",
            client: nobody,
            peer: SocketAddr::new(nobody, 1),
            duration: Duration::ZERO,
        });
    }
}

#[tokio::test]
async fn what_is_encoded_in_parts_is_one_message() {
    let spans = Arc::new(Spans::new(Room { spans: 1000, batch: 1000 }));
    give(&spans, 200);
    let bytes = encode::encode(&Service::new("", &[]), spans.take()).await;
    let message = ExportTraceServiceRequest::decode(bytes.freeze()).unwrap();
    let count: usize =
        message.resource_spans.iter().flat_map(|of| &of.scope_spans).map(|scope| scope.spans.len()).sum();
    assert_eq!(count, 200);
    assert!(encode::encode(&Service::new("", &[]), Vec::new()).await.is_empty());
}

#[tokio::test]
async fn a_service_is_called_by_what_is_most_special() {
    let attributes = |name: &str| vec![("service.name".to_owned(), name.to_owned())];
    for (name, attributes, expected) in
        [("", vec![], "nessen"), ("", attributes("theirs"), "theirs"), ("mine", attributes("theirs"), "mine")]
    {
        let spans = Arc::new(Spans::new(Room { spans: 1, batch: 1 }));
        give(&spans, 1);
        let bytes = encode::encode(&Service::new(name, &attributes), spans.take()).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.contains("theirs"), expected == "theirs");
    }
}

fn exporter(port: u16, spans: &Arc<Spans>) -> Exporter {
    let url = Url { tls: false, host: "127.0.0.1".to_owned(), port, path: "/v1/traces".to_owned() };
    let options = Options {
        url,
        wire: Wire::Http,
        tls: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(60),
        gzip: false,
        delay: Duration::from_millis(1),
        service: Service::new("", &[]),
    };
    Exporter::start(options, spans.clone(), Dialer::new(Resolver::system()))
}

fn lost(spans: &Spans) -> u64 {
    spans.counts().dropped.iter().map(|(_, count)| count).sum()
}

/// Every span is exported or counted as lost, whatever the collector does and whenever the end comes.
#[tokio::test]
async fn no_span_goes_uncounted() {
    // One that takes connections and answers nothing, and one that nobody listens on.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [silent.local_addr().unwrap().port(), dead] {
        let spans = Arc::new(Spans::new(Room { spans: 50, batch: 20 }));
        let exporter = exporter(port, &spans);
        give(&spans, 30);
        sleep(Duration::from_millis(50)).await;
        give(&spans, 100);
        exporter.finish(Duration::from_millis(100)).await;
        give(&spans, 1);
        assert_eq!((lost(&spans), spans.len()), (131, 0), "{:?}", spans.counts());
    }
}
