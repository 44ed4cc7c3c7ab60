//! The same answer from Nessen around an axum router, with every limit and metric at its default.
//!
//! `nessen_hello [ROUTES]`: with so many more routes, `/r0` and those after it.

use axum::{Router, routing::get};
use nessen::config::Config;
use nessen::server::Server;

async fn hello() -> &'static str {
    "Hello, World!"
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let routes: usize = std::env::args().nth(1).map_or(Ok(0), |count| count.parse())?;
    let config = Config::from_env()?;
    // As the binary does: one worker is a thread to itself.
    let mut runtime = match config.server.workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(config.server.workers).enable_all().build()?;
    let router = Router::new().route("/", get(hello));
    let router = (0..routes).fold(router, |router, number| router.route(&format!("/r{number}"), get(hello)));
    let _ = runtime.block_on(Server::builder().config(config).router(router).run())?;
    Ok(())
}
