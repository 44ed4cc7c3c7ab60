//! `axum::serve` with one route, as its users begin: the peer of Nessen around a router.

use std::net::SocketAddr;

use axum::serve::ListenerExt;
use axum::{Router, routing::get};
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(3001);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().route("/", get(|| async { "Hello, World!" }));
        axum::serve(listener, router).await
    })
}
