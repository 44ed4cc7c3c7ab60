//! Whole connections that begin with a header, or do not.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::bench::{Bench, HEADERS_TIMEOUT, PER_CLIENT, PROXY, STRANGER};
use super::v2;
use crate::net::connection::CLOSE_AFTER;
use crate::net::context::ProxyProtocol::{self, Off, Optional, Required};
use crate::net::state::Order;
use crate::refusal::Reason;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n";
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// The same client as in [`V1`].
fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 220, 4, 1, 187];
    [v2::SIGNATURE.as_slice(), &[0x21, 0x11, 0, 16], &addresses, &[4, 0, 1, 0]].concat()
}

fn local() -> Vec<u8> {
    [v2::SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat()
}

const CLIENT: &str = "/a peer=192.0.2.1:56324 client=192.0.2.1 trusted=false body=";
const ITSELF: &str = "/a peer=10.0.0.1:5000 client=10.0.0.1 trusted=true body=";

#[tokio::test(start_paused = true)]
async fn the_announced_client_takes_the_peers_place_for_all_requests() {
    for setting in [Required, Optional] {
        for header in [V1.to_vec(), v2()] {
            let bench = Bench::new(setting);
            let mut conn = bench.connect(PROXY);
            conn.send(&[&header, GET, POST].concat()).await;
            assert_eq!(conn.answer().await, (200, CLIENT.to_owned()));
            let posted = CLIENT.replace("/a", "/b") + "hello";
            assert_eq!(conn.answer().await, (200, posted));
            // Parked, and woken: nothing is expected a second time.
            sleep(Duration::from_secs(30)).await;
            conn.send(GET).await;
            assert_eq!(conn.answer().await, (200, CLIENT.to_owned()));
            assert_eq!(conn.state.socket_peer.to_string(), PROXY);
            assert_eq!(bench.refusals(), []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_may_be_cut_anywhere() {
    for header in [V1.to_vec(), v2()] {
        let bytes = [&header, GET].concat();
        for cut in 1..bytes.len() {
            let bench = Bench::new(Required);
            let mut conn = bench.connect(PROXY);
            conn.send(&bytes[..cut]).await;
            sleep(Duration::from_secs(1)).await;
            conn.send(&bytes[cut..]).await;
            assert_eq!(conn.answer().await, (200, CLIENT.to_owned()), "cut at {cut}");
        }
        // And everywhere.
        let bench = Bench::new(Required);
        let mut conn = bench.connect(PROXY);
        for byte in &bytes {
            conn.send(&[*byte]).await;
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(conn.answer().await, (200, CLIENT.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_names_nobody_leaves_the_sockets_address() {
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local()] {
        let bench = Bench::new(Required);
        // Such connections are the proxy's own, of which it may have any number.
        let mut conns: Vec<_> = (0..2 * PER_CLIENT).map(|_| bench.connect(PROXY)).collect();
        for conn in &mut conns {
            conn.send(&[&header, GET].concat()).await;
            assert_eq!(conn.answer().await, (200, ITSELF.to_owned()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forwarding_fields_are_believed_from_an_announced_peer_that_is_trusted() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
    let bench = Bench::new(Required);
    let mut conn = bench.connect(PROXY);
    conn.send(&[V1, get].concat()).await;
    assert_eq!(conn.answer().await, (200, CLIENT.to_owned()));
    let mut conn = bench.connect(PROXY);
    conn.send(&[b"PROXY TCP4 10.9.9.9 10.0.0.1 1 443\r\n", get.as_slice()].concat()).await;
    let behind = "/a peer=10.9.9.9:1 client=198.51.100.7 trusted=true body=";
    assert_eq!(conn.answer().await, (200, behind.to_owned()));
}

/// What a connection that sends `bytes` and closes its side is answered: the status, if any.
async fn status(bench: &Bench, peer: &str, bytes: &[u8]) -> Option<u16> {
    let mut conn = bench.connect(peer);
    conn.send(bytes).await;
    conn.io.shutdown().await.unwrap();
    let rest = conn.rest().await;
    conn.served.await.unwrap();
    rest.get(9..12).map(|status| status.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_asked_for_a_header() {
    let cases: [(ProxyProtocol, &str); 4] =
        [(Off, PROXY), (Off, STRANGER), (Required, STRANGER), (Optional, STRANGER)];
    for (setting, peer) in cases {
        for header in [V1.to_vec(), v2()] {
            let bench = Bench::new(setting);
            assert_eq!(status(&bench, peer, &[&header, GET].concat()).await, Some(400), "{setting:?} {peer}");
            assert_eq!(bench.refusals(), [(Reason::MalformedRequest, 1)]);
            assert_eq!(bench.refused_clients(), [peer.split(':').next().unwrap()]);
            assert_eq!(status(&bench, peer, GET).await, Some(200), "{setting:?} {peer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_required_must_be_there() {
    // Some that differ from a header in the first byte, some later, one that ends too soon.
    let preface = crate::net::http2::PREFACE.as_slice();
    for bytes in [GET, b"PUT / HTTP/1.1\r\n", preface, b"\r\n\r\nGET / HTTP/1.1\r\n", b"P", b"\r\n"] {
        let bench = Bench::new(Required);
        assert_eq!(status(&bench, PROXY, bytes).await, Some(400), "{bytes:?}");
        assert_eq!(bench.refusals(), [(Reason::MalformedRequest, 1)]);
        assert_eq!(bench.refused_clients(), ["10.0.0.1"]);
    }
    // One that only looks whether the port is open.
    let bench = Bench::new(Required);
    assert_eq!(status(&bench, PROXY, b"").await, None);
    assert_eq!(bench.refusals(), []);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_optional_may_be_missing() {
    let put = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let blank = [b"\r\n\r\n", GET].concat();
    for bytes in [GET, put, &blank] {
        for cut in 1..bytes.len() {
            let bench = Bench::new(Optional);
            let mut conn = bench.connect(PROXY);
            conn.send(&bytes[..cut]).await;
            conn.settle().await;
            conn.send(&bytes[cut..]).await;
            assert_eq!(conn.answer().await, (200, ITSELF.to_owned()), "cut at {cut}");
        }
    }
    let bench = Bench::new(Optional);
    assert_eq!(status(&bench, PROXY, b"\r\n").await, None);
    assert_eq!(bench.refusals(), []);
}

#[tokio::test(start_paused = true)]
async fn a_broken_header_is_refused_and_so_is_a_second_one() {
    for setting in [Required, Optional] {
        let cut = &v2()[..20];
        for bytes in [b"PROXY TCP4 a b c d\r\n".as_slice(), b"PROXY / HTTP/1.1\r\n", b"PROXY TCP4", cut] {
            let bench = Bench::new(setting);
            assert_eq!(status(&bench, PROXY, bytes).await, Some(400), "{bytes:?}");
            assert_eq!(bench.refusals(), [(Reason::MalformedRequest, 1)]);
            assert_eq!(bench.refused_clients(), ["10.0.0.1"]);
        }
        let bench = Bench::new(setting);
        assert_eq!(status(&bench, PROXY, &[V1, V1, GET].concat()).await, Some(400));
        // By then it is the client who speaks.
        assert_eq!(bench.refused_clients(), ["192.0.2.1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_header_times_out_like_half_a_head() {
    for bytes in [&V1[..1], &V1[..20], &v2()[..13]] {
        let bench = Bench::new(Required);
        let mut conn = bench.connect(PROXY);
        sleep(Duration::from_secs(5)).await;
        let began = Instant::now();
        conn.send(bytes).await;
        assert_eq!(conn.answer().await.0, 408);
        let took = began.elapsed();
        assert!(took >= HEADERS_TIMEOUT && took < HEADERS_TIMEOUT + Duration::from_secs(1), "{took:?}");
        assert_eq!(bench.refusals(), [(Reason::HeadersTimeout, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_drips_has_no_more_time_than_one_that_stops() {
    let bench = Bench::new(Required);
    let mut conn = bench.connect(PROXY);
    let began = Instant::now();
    for byte in V1 {
        if conn.io.write_all(&[*byte]).await.is_err() || !bench.refusals().is_empty() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(conn.answer().await.0, 408);
    assert!(began.elapsed() < HEADERS_TIMEOUT + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_header_without_a_request_is_closed_in_silence() {
    let bench = Bench::new(Required);
    let mut conn = bench.connect(PROXY);
    let began = Instant::now();
    conn.send(&V1[..9]).await;
    sleep(Duration::from_secs(4)).await;
    conn.send(&V1[9..]).await;
    assert_eq!(conn.rest().await, "");
    let took = began.elapsed();
    assert!(took >= HEADERS_TIMEOUT && took < HEADERS_TIMEOUT + Duration::from_secs(1), "{took:?}");
    assert_eq!(bench.refusals(), [(Reason::HeadersTimeout, 1)]);
    assert_eq!(bench.refused_clients(), ["192.0.2.1"]);
    // A health check that ends after its header is nobody's failure.
    assert_eq!(status(&bench, PROXY, &local()).await, None);
    assert_eq!(bench.refusals(), [(Reason::HeadersTimeout, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_head_behind_a_header_has_its_own_time() {
    let bench = Bench::new(Required);
    let mut conn = bench.connect(PROXY);
    conn.send(V1).await;
    sleep(HEADERS_TIMEOUT - Duration::from_secs(1)).await;
    conn.send(&GET[..5]).await;
    sleep(HEADERS_TIMEOUT - Duration::from_secs(1)).await;
    conn.send(&GET[5..]).await;
    assert_eq!(conn.answer().await.0, 200);
    let mut conn = bench.connect(PROXY);
    let began = Instant::now();
    conn.send(&[V1, &GET[..5]].concat()).await;
    assert_eq!(conn.answer().await.0, 408);
    assert!(began.elapsed() < HEADERS_TIMEOUT + Duration::from_secs(1));
    assert_eq!(bench.refused_clients(), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_for_the_client_that_is_announced() {
    let bench = Bench::new(Required);
    let mut held = Vec::new();
    for _ in 0..PER_CLIENT {
        let mut conn = bench.connect(PROXY);
        conn.send(&[V1, GET].concat()).await;
        assert_eq!(conn.answer().await.0, 200);
        held.push(conn);
    }
    // Before it has asked for anything, and whether or not it then hangs on.
    let began = Instant::now();
    let mut refused = bench.connect(PROXY);
    refused.send(V1).await;
    let (status, body) = refused.answer().await;
    assert_eq!(status, 429);
    assert!(body.contains("TOO_MANY_CONNECTIONS_FROM_CLIENT"), "{body}");
    refused.served.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(bench.refusals(), [(Reason::TooManyConnectionsFromClient, 1)]);
    assert_eq!(bench.refused_clients(), ["192.0.2.1"]);
    // Another one, behind the same proxy.
    let mut other = bench.connect(PROXY);
    other.send(&[b"PROXY TCP4 192.0.2.2 10.0.0.1 1 2\r\n", GET].concat()).await;
    assert_eq!(other.answer().await.0, 200);
    // What is given back may be taken.
    let gone = held.pop().unwrap();
    drop((gone.io, gone.state));
    gone.served.await.unwrap();
    let mut next = bench.connect(PROXY);
    next.send(&[V1, GET].concat()).await;
    assert_eq!(next.answer().await, (200, CLIENT.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn http2_works_behind_a_header() {
    for header in [V1.to_vec(), v2()] {
        let bench = Bench::new(Required);
        let mut conn = bench.connect(PROXY);
        conn.send(&header).await;
        let (mut client, driver) = h2::client::handshake(conn.io).await.unwrap();
        tokio::spawn(driver);
        let request = http::Request::get("http://a/a").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let text = body.data().await.unwrap().unwrap();
        assert_eq!(text, CLIENT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_what_is_idle_behind_its_header_and_serves_what_is_not() {
    let bench = Bench::new(Required);
    // Idle for long, idle since just now, with a request on its way, and with half a header.
    let [mut old, mut new, mut asks, mut half] = [(); 4].map(|()| bench.connect(PROXY));
    old.send(&local()).await;
    sleep(Duration::from_secs(3)).await;
    new.send(&local()).await;
    asks.send(V1).await;
    half.send(&V1[..20]).await;
    old.settle().await;
    let began = Instant::now();
    for conn in [&old, &new, &asks, &half] {
        conn.state.order(Order::GoAway);
        conn.state.order(Order::CloseIdle);
    }
    assert_eq!(old.rest().await, "");
    assert!(began.elapsed() < Duration::from_millis(10));
    sleep(CLOSE_AFTER - Duration::from_millis(50)).await;
    asks.send(GET).await;
    assert_eq!(asks.answer().await, (200, CLIENT.to_owned()));
    assert_eq!(new.rest().await, "");
    assert!(began.elapsed() < CLOSE_AFTER + Duration::from_millis(10));
    sleep(Duration::from_secs(2)).await;
    half.send(&[&V1[20..], GET].concat()).await;
    assert_eq!(half.answer().await.0, 200);
    assert_eq!(bench.refusals(), []);
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_wait_for_a_header_at_once() {
    for bytes in [&V1[..20], V1] {
        let bench = Bench::new(Required);
        let mut conn = bench.connect(PROXY);
        conn.send(bytes).await;
        conn.settle().await;
        let began = Instant::now();
        conn.state.order(Order::Abort);
        assert_eq!(conn.rest().await, "");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
