//! A connection over a pipe in memory, through the server's own layers to handlers of a test's own.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use axum::{Router, response::Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

use crate::config::{AccessLog, Config, LogLevel};
use crate::exchange::Scarce;
use crate::net::admission::Permits;
use crate::net::connection;
use crate::net::head;
use crate::net::registry::Registry;
use crate::net::send_watch::SendLimits;
use crate::net::state::{ConnState, Order};
use crate::net::transport::Transport;
use crate::protocol::Protocol;

const GET: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const MOMENT: Duration = Duration::from_millis(100);

fn state() -> Arc<ConnState> {
    Registry::default().enter(|entry| ConnState::new(([127, 0, 0, 1], 1).into(), Permits::none(), entry))
}

fn config() -> Config {
    let mut config = Config::default();
    (config.server.host, config.server.port) = ([127, 0, 0, 1].into(), 0);
    (config.log.level, config.log.access) = (LogLevel::Off, AccessLog::Off);
    config
}

/// Serves one connection while `talk` lasts, on a clock that does not wait.
fn with<T: Transport>(router: Router, near: T, state: Arc<ConnState>, talk: impl AsyncFnOnce()) {
    let router = router.route("/hello", get(|| async { "hello" }));
    let (stack, context) = crate::server::fuzzing::running(config(), router);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let serves = tokio::spawn(connection::serve(near, state, context, Arc::new(stack)));
        talk().await;
        serves.abort();
    });
}

/// What comes until nothing has come for a moment, and whether it was the end.
async fn read(far: &mut DuplexStream) -> (String, bool) {
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(MOMENT, far.read_buf(&mut all)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return (String::from_utf8(all).unwrap(), true),
            Err(_) => return (String::from_utf8(all).unwrap(), false),
        }
    }
}

#[test]
fn a_client_that_waits_for_a_word_takes_the_answer_for_it() {
    let echo = |request: Request| async { Response::new(request.into_body()) };
    let (near, mut far) = duplex(1 << 16);
    with(Router::new().route("/", post(echo)), near, state(), async || {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        far.write_all(head).await.unwrap();
        let (said, _) = read(&mut far).await;
        // Behind this head there is the body, and nothing else.
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\n"), "{said}");
        // It may send its body or not: nothing can follow.
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
        far.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut far).await, ("hello".to_owned(), true));
    });
}

/// Answers at once; a task reads up to so many pieces and tells of them.
fn reads_behind(most: usize) -> (Router, mpsc::Receiver<usize>) {
    let (tell, told) = mpsc::channel(8);
    let handler = move |request: Request| async move {
        tokio::spawn(async move {
            let mut body: Body = request.into_body();
            for _ in 0..most {
                match body.frame().await {
                    Some(Ok(frame)) => tell.send(frame.into_data().unwrap().len()).await.unwrap(),
                    Some(Err(_)) => return tell.send(usize::MAX).await.unwrap(),
                    None => return tell.send(0).await.unwrap(),
                }
            }
        });
        StatusCode::ACCEPTED
    };
    (Router::new().route("/", post(handler)), told)
}

#[test]
fn a_body_is_read_on_behind_its_answer() {
    let (router, mut told) = reads_behind(usize::MAX);
    let (near, mut far) = duplex(1 << 16);
    let state = state();
    with(router, near, state.clone(), async || {
        far.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst").await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.starts_with("HTTP/1.1 202 ") && !said.contains("connection: close") && !over, "{said}");
        // Longer than a connection is kept from its rest, and still one request.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(state.in_flight(), 1);
        far.write_all(b"then").await.unwrap();
        far.write_all(GET).await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("hello") && !over, "{said}");
        assert_eq!((told.recv().await, told.recv().await, told.recv().await), (Some(5), Some(4), Some(0)));
        assert_eq!(state.in_flight(), 0);
    });
}

#[test]
fn a_body_that_is_given_up_behind_its_answer_ends_the_connection() {
    let (router, mut told) = reads_behind(1);
    let (near, mut far) = duplex(1 << 16);
    let state = state();
    with(router, near, state.clone(), async || {
        far.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nfirst").await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.starts_with("HTTP/1.1 202 ") && over, "{said}");
        assert_eq!(told.recv().await, Some(5));
        assert_eq!(state.in_flight(), 0);
        // What is no body any more is no request either.
        far.write_all(GET).await.unwrap();
        assert_eq!(read(&mut far).await, (String::new(), true));
    });
}

#[test]
fn a_head_behind_a_body_that_nobody_wants_begins_when_it_comes() {
    let (near, mut far) = duplex(1 << 16);
    let state = state();
    with(Router::new().route("/", post(|| async { "unread" })), near, state.clone(), async || {
        far.write_all(GET).await.unwrap();
        assert!(read(&mut far).await.0.ends_with("hello"));
        // Longer than a head may take.
        tokio::time::sleep(config().limits.headers_timeout + MOMENT).await;
        let (begin, rest) = GET.split_at(7);
        let body = vec![b'x'; 6000];
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        far.write_all(&[head.as_bytes(), &body, begin].concat()).await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.ends_with("unread") && !over, "{said}");
        far.write_all(rest).await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.ends_with("hello") && !over, "{said}");
    });
}

/// Takes what is written, and does not come to an end with it.
#[derive(Debug)]
struct Keeps(DuplexStream, bool);

impl AsyncRead for Keeps {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Keeps {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1 = true;
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.1 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Transport for Keeps {
    fn reset_on_drop(&self) {}

    fn has_input(&self) -> bool {
        false
    }
}

#[test]
fn what_is_encrypted_and_not_taken_is_not_taken() {
    for wish in ["", "Connection: upgrade\r\nUpgrade: other\r\n"] {
        let (near, mut far) = duplex(1 << 16);
        let state = state();
        with(Router::new(), Keeps(near, false), state.clone(), async || {
            let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{wish}\r\n");
            far.write_all(request.as_bytes()).await.unwrap();
            read(&mut far).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(state.blocked_since().is_some() && state.is_answering(), "{wish:?}");
            tokio::time::sleep(Duration::from_secs(40)).await;
            assert!(read(&mut far).await.1, "it is endured: {wish:?}");
        });
    }
}

#[test]
fn the_bounds_of_a_route_end_with_its_connections_next_request() {
    let (near, mut far) = duplex(1 << 16);
    let state = state();
    with(Router::new(), near, state.clone(), async || {
        // As left by a request before the connection's rest.
        state.hold_to(Some(SendLimits { timeout: Duration::from_millis(1), min_rate: None }));
        far.write_all(GET).await.unwrap();
        assert!(read(&mut far).await.0.ends_with("hello"));
        assert_eq!(state.send_limits(), None);
    });
}

#[test]
fn an_empty_line_behind_a_refused_wish_is_no_head() {
    let (near, mut far) = duplex(1 << 16);
    let state = state();
    with(Router::new(), near, state.clone(), async || {
        let wish = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n\r\n";
        far.write_all(wish).await.unwrap();
        assert!(read(&mut far).await.0.ends_with("hello"));
        assert_eq!(state.head_since(), None);
        far.write_all(GET).await.unwrap();
        let (said, over) = read(&mut far).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && !over, "{said}");
    });
}

#[test]
fn a_part_of_a_head_holds_no_more_than_itself() {
    let (_, context) = crate::server::fuzzing::running(config(), Router::new());
    let state = state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut near, _far) = duplex(10);
        let mut read = vec![b'x'; 32 * 1024];
        read.extend_from_slice(b"GET /");
        let mut prefix = Bytes::from(read);
        drop(prefix.split_to(32 * 1024));
        let mut gathers = Box::pin(head::gather(&mut near, &mut prefix, &state, &context));
        assert!(poll_fn(|cx| Poll::Ready(gathers.as_mut().poll(cx).is_pending())).await);
        drop(gathers);
        assert_eq!(prefix, "GET /");
        assert!(prefix.try_into_mut().unwrap().capacity() < 1024);
    });
}

#[test]
fn who_makes_room_is_answered_what_it_has_asked() {
    for (asked, answered) in
        [("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"), ("", "HTTP/1.1 503 ")]
    {
        let (near, mut far) = duplex(1 << 16);
        let state = state();
        with(Router::new(), near, state.clone(), async || {
            state.probes_only(Scarce::Memory, Protocol::Unknown);
            far.write_all(asked.as_bytes()).await.unwrap();
            // So many came at once that it has to go before it had a turn.
            state.order(Order::MakeRoom);
            let (said, over) = read(&mut far).await;
            assert!(
                said.starts_with(answered) && said.matches("HTTP/1.1").count() == 1 && over,
                "{asked}: {said}"
            );
        });
    }
}

#[test]
fn one_who_takes_all_at_once_has_others_served_in_between() {
    let chunks = || (0..256).map(|_| Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 32 * 1024])));
    let big = get(move || async move { Body::from_stream(tokio_stream::iter(chunks())) });
    let (near, mut far) = duplex(32 << 20);
    let state = state();
    with(Router::new().route("/big", big), near, state.clone(), async || {
        far.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // A task among others: each of them has a turn, and then it has one.
        let (mut sent, mut most) = (0, 0);
        let looks = poll_fn(move |cx| {
            most = most.max(state.sent_bytes() - sent);
            sent = state.sent_bytes();
            cx.waker().wake_by_ref();
            if sent > 8 << 20 { Poll::Ready(most) } else { Poll::Pending }
        });
        let most = tokio::spawn(looks).await.unwrap();
        assert!(most <= 768 * 1024, "{most} bytes in a turn");
    });
}

#[test]
fn who_waits_in_between_makes_room_at_once() {
    // HTTP/2 between two requests, a head that has begun, and one that has been answered.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for asked in [&preface[..], b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let (near, mut far) = duplex(1 << 16);
        let state = state();
        with(Router::new(), near, state.clone(), async || {
            state.probes_only(Scarce::Memory, Protocol::Unknown);
            far.write_all(asked).await.unwrap();
            tokio::time::sleep(MOMENT).await;
            assert!(!state.is_to_leave());
            state.order(Order::MakeRoom);
            let mut all = Vec::new();
            tokio::time::timeout(MOMENT, far.read_to_end(&mut all)).await.expect("it goes").unwrap();
        });
    }
}
