//! One request through each layer alone, in front of a service that answers at once.
//!
//! `nothing` is that service without a layer: what a layer costs is what is over it. A browser's ten fields are
//! on the request, so that what looks at fields has some to look at.

use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::{Empty, Full};
use nessen::check::CheckLayer;
use nessen::exchange::Exchange;
use nessen::limits::body::BodyLimitsLayer;
use nessen::limits::framing::Framing;
use nessen::limits::headers::HeaderLimits;
use nessen::limits::host::AllowedHosts;
use nessen::limits::in_flight::InFlightLayer;
use nessen::limits::method::AllowedMethods;
use nessen::limits::rate::{Backend, Policy, RateLimitLayer, RateLimiter, RouteLimiters};
use nessen::limits::request_timeout::RequestTimeoutLayer;
use nessen::limits::response_size::ResponseSizeLayer;
use nessen::limits::url_length::MaxUrlLength;
use nessen::memory::MemoryAccount;
use nessen::middleware::request_id::RequestIdLayer;
use nessen::middleware::security_headers::SecurityHeadersLayer;
use nessen::places::Places;
use nessen::protocol::Protocol;
use nessen::refusal::Refusal;
use tower::{Layer, Service};

type Answer = Result<Response<Full<Bytes>>, Refusal>;

/// Answers at once.
#[derive(Debug, Clone, Copy)]
struct Hello;

impl<B> Service<Request<B>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Refusal;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"Hello, World!")))))
    }
}

/// What a browser asks, as one exchange.
fn request() -> Request<Empty<Bytes>> {
    let fields = [
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "session=0123456789abcdef"),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("priority", "u=0, i"),
    ];
    let mut request = Request::builder().version(Version::HTTP_11).uri("/a/b?c=d");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.body(Empty::new()).expect("it is a request")
}

fn exchange() -> Arc<Exchange> {
    let peer = ([203, 0, 113, 7], 5000).into();
    let mut exchange =
        Exchange::new(peer, [203, 0, 113, 7].into(), Protocol::Http1, tokio::time::Instant::now());
    exchange.takes_beside = true;
    Arc::new(exchange)
}

fn ask<S, R, E>(criterion: &mut Criterion, name: &str, mut service: S)
where
    S: Service<Request<Empty<Bytes>>, Response = R, Error = E>,
    E: Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    let template = request();
    let asked = || {
        let mut request = template.clone();
        request.extensions_mut().insert(exchange());
        request
    };
    criterion.bench_function(name, |bencher| {
        let served = |request| {
            let mut answer = pin!(service.call(request));
            let Poll::Ready(answer) = answer.as_mut().poll(&mut cx) else { panic!("it waits") };
            // Dropped here: what a layer holds for it, it gives back with it, and a batch would hold thousands.
            drop(black_box(answer.expect("it is served")));
        };
        bencher.iter_batched(asked, served, BatchSize::SmallInput);
    });
}

fn layers(criterion: &mut Criterion) {
    let methods = [Method::GET, Method::HEAD, Method::POST];
    let policy = Policy {
        max_requests: u64::MAX / 2,
        window: Duration::from_secs(60),
        burst: u64::MAX / 2,
        block: Duration::ZERO,
        max_keys: 10_000,
    };
    let nosniff = (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    let memory = MemoryAccount::new(1 << 30);
    let body = BodyLimitsLayer {
        max_size: 1 << 20,
        timeout: Duration::from_secs(10),
        min_rate: None,
        memory: Some(memory.clone()),
    };
    ask(criterion, "nothing", Hello);
    ask(criterion, "request id", RequestIdLayer::new("x-request-id").layer(Hello));
    ask(criterion, "framing", CheckLayer(Framing).layer(Hello));
    ask(criterion, "methods", CheckLayer(AllowedMethods::new(&methods)).layer(Hello));
    ask(criterion, "hosts", CheckLayer(AllowedHosts::new(vec!["www.example.com".into()])).layer(Hello));
    ask(criterion, "URL length", CheckLayer(MaxUrlLength(8192)).layer(Hello));
    ask(criterion, "headers", CheckLayer(HeaderLimits { count: 100, size: 16 * 1024 }).layer(Hello));
    let limiter = RateLimiter::new(Some(policy));
    let rate =
        RateLimitLayer { common: limiter, routes: RouteLimiters::default(), backend: Backend::default() };
    ask(criterion, "rate limit", rate.layer(Hello));
    let in_flight = InFlightLayer::new(Places::new(1024)).charging(memory, 4096);
    ask(criterion, "in flight", in_flight.layer(Hello));
    ask(criterion, "request timeout", RequestTimeoutLayer(Duration::from_secs(30)).layer(Hello));
    ask(criterion, "body limits", body.layer(Hello));
    ask(criterion, "security headers", SecurityHeadersLayer::new([nosniff]).layer(Hello));
    ask(criterion, "response size", ResponseSizeLayer(Some(10 << 20)).layer(Hello));
}

criterion_group!(benches, layers);
criterion_main!(benches);
