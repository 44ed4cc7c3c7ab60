//! The same answer from Nessen, with every limit and metric at its default.

use axum::{Router, routing::get};
use nessen::config::Config;
use nessen::server::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.server.workers)
        .enable_all()
        .build()?;
    let router = Router::new().route("/", get(|| async { "Hello, World!" }));
    let _ = runtime.block_on(Server::builder().config(config).router(router).run())?;
    Ok(())
}
