//! The library around routes of one's own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use nessen::config::{AccessLog, LogLevel};
use nessen::{Config, Outcome, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::PATIENCE;

fn config() -> Config {
    let mut config = Config::default();
    config.server.host = [127, 0, 0, 1].into();
    config.server.port = 0;
    config.log.level = LogLevel::Off;
    config.log.access = AccessLog::Off;
    config.shutdown.drain_delay = Duration::ZERO;
    config
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_outs_without_end_are_no_fault() {
    let mut config = config();
    for duration in [
        &mut config.limits.request_timeout,
        &mut config.limits.headers_timeout,
        &mut config.limits.idle_timeout,
        &mut config.limits.body_timeout,
        &mut config.limits.write_timeout,
        &mut config.limits.max_connection_age,
        &mut config.shutdown.drain_timeout,
    ] {
        *duration = Duration::MAX;
    }
    let app = Router::new().route("/", get(|| async { "hello" }));
    let server = Server::builder().config(config).router(app).bind().await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(server.run_until(async move { drop(stopped.await) }));
    for _ in 0..3 {
        assert!(ask(address, "/").await.ends_with("hello"));
    }
    stop.send(()).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap(), Outcome::Drained);
}

/// Leaves HTTP and writes for as long as somebody reads.
async fn pour(request: Request) -> axum::response::Response {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut socket = hyper_util::rt::TokioIo::new(upgraded);
        while socket.write_all(&[0; 65536]).await.is_ok() {}
    });
    let answer = axum::response::Response::builder().status(101);
    answer.header("connection", "upgrade").header("upgrade", "pour").body(axum::body::Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_not_read_is_reset() {
    let mut config = config();
    config.limits.write_timeout = Duration::from_millis(500);
    let app = Router::new().route("/pour", get(pour));
    let server = Server::builder().config(config).router(app).bind().await.unwrap();
    let address = server.local_addr();
    let run = tokio::spawn(server.run_until(std::future::pending()));
    let mut tunnel = TcpStream::connect(address).await.unwrap();
    let request = b"GET /pour HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: pour\r\n\r\n";
    tunnel.write_all(request).await.unwrap();
    let refused = async {
        let line = "nessen_rejections_total{reason=\"slow_reader\"} 1";
        while !ask(address, "/metrics").await.contains(line) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the tunnel was endured");
    let mut poured = Vec::new();
    let end = tokio::time::timeout(PATIENCE, tunnel.read_to_end(&mut poured)).await;
    assert!(end.expect("the tunnel goes on").is_err(), "closed in order after {} bytes", poured.len());
    assert!(poured.starts_with(b"HTTP/1.1 101"), "{:?}", poured.get(..40));
    run.abort();
}
