//! What evidence costs a refusal, on the thread that refuses.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nessen::evidence::{Eviction, Evidence, Options, Why};
use nessen::exchange::Exchange;
use nessen::protocol::Protocol;
use nessen::refusal::Reason;
use nessen::seen::Seen;
use nessen::telemetry::{BuildInfo, Metrics};

/// A browser's head.
const HEAD: &str = "GET /wp-login.php?a=1 HTTP/1.1\r\nHost: a.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nConnection: keep-alive\r\n\r\n";

fn evidence() -> Evidence {
    let options = Options {
        max_count: 10_000,
        max_bytes: 16 << 20,
        eviction: Eviction::Priority,
        body_bytes: 1024,
        panic_threshold: 10,
        panic_window: Duration::from_secs(60),
    };
    Evidence::new(options, Metrics::new(&[], BuildInfo::current()), false)
}

fn exchange(client: u32) -> Exchange {
    let client = Ipv4Addr::from_bits(client).into();
    let mut exchange =
        Exchange::new((client, 1).into(), client, Protocol::Http1, tokio::time::Instant::now());
    exchange.seen = Some(Box::new(Seen::sent(HEAD.into(), 1024)));
    exchange
}

const WHY: Why<'_> = Why { reason: Reason::InvalidPath, detail: "the path leaves its root", limit: None };

fn refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evidence of a refusal");
    let same = exchange(1);
    let known = evidence();
    group.bench_function("that is known", |bench| {
        bench.iter(|| known.request(WHY, black_box(&same), Some(400)))
    });
    let others: Arc<Vec<Exchange>> = Arc::new((0..1000).map(exchange).collect());
    group.bench_function("that is new, by the thousand", |bench| {
        bench.iter_batched(
            evidence,
            |evidence| {
                for other in others.iter() {
                    evidence.request(WHY, black_box(other), Some(400));
                }
                evidence
            },
            BatchSize::PerIteration,
        );
    });
    let full = evidence();
    (0..2000).for_each(|client| full.request(WHY, &exchange(client), Some(400)));
    let late = exchange(5000);
    group.bench_function("that finds no room", |bench| {
        bench.iter(|| full.request(WHY, black_box(&late), Some(400)))
    });
    // Not the refusal's own thread, and at most 1 280 times a second.
    group.bench_function("read, without secrets, by the thousand", |bench| {
        bench.iter_batched(
            || {
                let evidence = evidence();
                others.iter().for_each(|other| evidence.request(WHY, other, Some(400)));
                evidence
            },
            |evidence| evidence.remove(""),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, refusals);
criterion_main!(benches);
