//! Answers through the compressor, and back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http_body::{Body as _, Frame};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;
use tower_http::decompression::Decompression;

use super::*;

type Stream = Channel<Bytes, BoxError>;

fn compressor(permits: usize) -> Compressor {
    Compressor::new(CompressionOptions {
        algorithms: Algorithm::ALL.to_vec(),
        min_size: 1024,
        permits: Arc::new(Semaphore::new(permits)),
    })
}

/// Words in no order: as compressible as text is.
fn text(size: usize) -> Bytes {
    let (mut text, mut state) = (Vec::with_capacity(size + 16), 1_u64);
    while text.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(format!("{:x} ", (state >> 33) % 50_000).as_bytes());
    }
    text.truncate(size);
    text.into()
}

fn answer<B>(body: B) -> Response<B> {
    Response::builder().header("content-type", "text/plain").body(body).unwrap()
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// As the client reads it.
async fn decode(response: Response<Body>) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin {
    let mut there = Some(response);
    let service = service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(there.take().unwrap())));
    let body = Decompression::new(service).oneshot(Request::new(())).await.unwrap().into_body();
    Box::pin(body.map_err(|error| -> BoxError { error }))
}

async fn stream(algorithm: Algorithm, compressor: &Compressor) -> (Sender<Bytes, BoxError>, Response<Body>) {
    let (sender, body) = Stream::new(1);
    let response = compressor.compress(Some(algorithm), answer(body)).await;
    assert_eq!(field(&response, "content-encoding"), algorithm.as_str());
    (sender, response)
}

#[tokio::test]
async fn what_is_compressed_is_read_back() {
    for algorithm in Algorithm::ALL {
        for size in [1024, 100 * 1024, 2 << 20] {
            let text = text(size);
            let mut response = answer(Full::new(text.clone()));
            let fields =
                [("etag", "\"x\""), ("accept-ranges", "bytes"), ("vary", "Origin"), ("x-own", "kept")];
            for (name, value) in fields {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response.headers_mut().insert("content-length", size.into());
            let response = compressor(1).compress(Some(algorithm), response).await;
            assert_eq!(field(&response, "content-encoding"), algorithm.as_str());
            assert_eq!(field(&response, "etag"), "W/\"x\"");
            assert_eq!(field(&response, "x-own"), "kept");
            for gone in ["content-length", "accept-ranges"] {
                assert!(!response.headers().contains_key(gone), "{gone}");
            }
            let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
            assert_eq!(vary, ["Origin", "Accept-Encoding"]);
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            assert!(bytes.len() < size * 3 / 4, "{algorithm:?}: {} of {size}", bytes.len());
            let decoded = decode(Response::from_parts(parts, Body::from(bytes))).await;
            assert!(decoded.collect().await.unwrap().to_bytes() == text, "{algorithm:?} {size}");
        }
    }
}

#[tokio::test]
async fn what_is_not_compressed_goes_as_it_is() {
    let compressor = compressor(1);
    let large = || answer(Full::new(text(2048)));
    let with = |name: &'static str, value: &str| {
        let mut response = large();
        response.headers_mut().insert(name, value.parse().unwrap());
        response
    };
    for (wanted, response, vary) in [
        (None, large(), "Accept-Encoding"),
        (None, with("vary", "accept-encoding"), "accept-encoding"),
        (None, with("vary", "*"), "*"),
        (Some(Algorithm::Gzip), answer(Full::new(text(1023))), ""),
        (Some(Algorithm::Gzip), with("content-encoding", "br"), ""),
        (Some(Algorithm::Gzip), with("content-type", "image/png"), ""),
        (Some(Algorithm::Gzip), with("content-type", "text/event-stream"), ""),
        (Some(Algorithm::Gzip), with("cache-control", "no-transform"), ""),
    ] {
        let encoding = field(&response, "content-encoding").to_owned();
        let before = response.body().clone().collect().await.unwrap().to_bytes();
        let response = compressor.compress(wanted, response).await;
        assert_eq!((field(&response, "content-encoding"), field(&response, "vary")), (&*encoding, vary));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), before);
    }
    // As a HEAD is answered: the fields of a body that is not there.
    let mut head = answer(Full::new(Bytes::new()));
    head.headers_mut().insert("content-length", 5000.into());
    let head = compressor.compress(Some(Algorithm::Gzip), head).await;
    assert_eq!(
        ["content-length", "content-encoding", "vary"].map(|name| field(&head, name)),
        ["5000", "", "Accept-Encoding"]
    );
}

#[test]
fn it_can_be_awaited_on_any_worker() {
    fn travels<T: Send>(_: T) {}
    travels(compressor(1).compress(None, Response::new(Body::empty())));
}

/// A client that takes nothing of ours is answered, whatever it says of the plain answer.
#[tokio::test]
async fn nobody_is_refused_for_what_it_accepts() {
    for accept in ["identity;q=0", "*;q=0", "deflate, identity;q=0", "gzip;q=0"] {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
        let compressor = compressor(1);
        let response = compressor.compress(compressor.wanted(&headers), answer(Full::new(text(2048)))).await;
        assert_eq!((response.status().as_u16(), field(&response, "content-encoding")), (200, ""), "{accept}");
    }
}

/// The clock is a stopped one: where nothing comes, the time-out is there at once.
#[tokio::test(start_paused = true)]
async fn a_chunk_of_a_stream_does_not_wait_for_the_next() {
    for algorithm in Algorithm::ALL {
        let (mut sender, response) = stream(algorithm, &compressor(1)).await;
        let mut body = decode(response).await;
        for chunk in ["one", "and another", &"long ".repeat(50_000), "end"] {
            sender.send_data(Bytes::from(chunk.to_owned())).await.unwrap();
            let mut read = Vec::new();
            while read.len() < chunk.len() {
                let frame = timeout(Duration::from_secs(5), body.frame()).await;
                let frame = frame
                    .unwrap_or_else(|_| panic!("{algorithm:?} keeps {} bytes", chunk.len() - read.len()));
                read.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
            }
            assert!(read == chunk.as_bytes(), "{algorithm:?}");
        }
        drop(sender);
        let rest = timeout(Duration::from_secs(5), body.collect()).await.unwrap().unwrap();
        assert!(rest.to_bytes().is_empty());
    }
}

#[tokio::test]
async fn a_permit_comes_back_with_the_end_of_the_body() {
    let compressor = compressor(1);
    let permits = &compressor.0.permits;
    for algorithm in Algorithm::ALL {
        let (mut sender, response) = stream(algorithm, &compressor).await;
        assert_eq!(permits.available_permits(), 0);
        let plain = compressor.compress(Some(algorithm), answer(Full::new(text(2048)))).await;
        assert_eq!((field(&plain, "content-encoding"), field(&plain, "vary")), ("", "Accept-Encoding"));
        assert_eq!(plain.into_body().collect().await.unwrap().to_bytes(), text(2048));

        let mut body = response.into_body();
        sender.send_data(text(100)).await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert_eq!(permits.available_permits(), 0);
        drop(sender);
        while body.frame().await.is_some() {}
        // Read to its end, and not dropped yet.
        assert_eq!(permits.available_permits(), 1, "{algorithm:?}");

        let (_sender, given_up) = stream(algorithm, &compressor).await;
        drop(given_up);
        assert_eq!(permits.available_permits(), 1);

        let (sender, response) = stream(algorithm, &compressor).await;
        sender.abort("broken".into());
        let mut body = response.into_body();
        let error = loop {
            match body.frame().await.expect("an error and no end") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("broken"), "{error}");
        assert_eq!(permits.available_permits(), 1);
    }
}

/// Zeros without end, always there.
struct Endless(Arc<std::sync::atomic::AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        self.0.fetch_add(ZEROS.len(), std::sync::atomic::Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS)))))
    }
}

#[tokio::test]
async fn a_body_that_never_pauses_does_not_keep_the_worker() {
    for algorithm in Algorithm::ALL {
        let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let response = compressor(1).compress(Some(algorithm), answer(Endless(taken.clone()))).await;
        let mut body = response.into_body();
        for turn in 1..20 {
            let _ = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_ready())).await;
            let most = turn * 2 * body::PAUSE + (1 << 20);
            let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
            assert!(taken <= most, "{algorithm:?}: {taken} bytes in {turn} polls");
        }
    }
}

/// What one compressor holds in the middle of a long answer.
#[tokio::test]
#[ignore = "it reads the memory of the process, and so runs alone: `just costs`"]
async fn what_one_compressor_costs() {
    const COUNT: usize = 4;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let mut noise = vec![0; 12 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    // All of them stay, so that none gets the memory of another.
    let (contents, mut held) = ([text(3 << 20), Bytes::from(noise)], Vec::new());
    // First a small one of each, so that what the program itself takes by running is not counted.
    let sizes = contents.iter().flat_map(|content| [(content, 1 << 20), (content, content.len())]);
    for (content, size) in std::iter::once((&contents[0], 1 << 10)).chain(sizes) {
        for algorithm in Algorithm::ALL {
            let before = resident();
            for _ in 0..COUNT {
                // It pauses where the content ends.
                let (mut sender, channel) = Stream::new(1);
                let level = algorithm.level(Some(size as u64));
                let mut body = encode(algorithm, level, answer(Pieces::new(channel))).await.into_body();
                sender.send_data(content.slice(..size)).await.unwrap();
                let mut idle = 0;
                while idle < 3 {
                    let frame = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
                    idle = if frame.is_ready() { 0 } else { idle + 1 };
                }
                held.push((body, sender));
            }
            let each = resident().saturating_sub(before) / COUNT;
            println!("{algorithm:?}, {size} bytes: {each} KiB");
            assert!(each <= 4096 || size < 1 << 20, "{algorithm:?}: {each} KiB");
        }
    }
}
