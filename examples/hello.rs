//! Routes of one's own behind every limit, and a readiness check that a person can fail by hand.
//!
//! ```text
//! cargo run --example hello
//! curl -i localhost:3000/hello/world
//! curl -i -X POST localhost:3000/pause      # /ready: 503, naming the check, within a second
//! curl -i -X POST localhost:3000/resume
//! ```
//!
//! It is configured as the binary is: `PORT=8080 MAX_BODY_SIZE=64KiB cargo run --example hello`.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use nessen::lifecycle::readiness::Check;
use nessen::{Config, Outcome, Server};

async fn hello(Path(name): Path<String>) -> String {
    format!("hello, {name}\n")
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let paused = Arc::new(AtomicBool::new(false));

    let switch = |to: bool| {
        let paused = paused.clone();
        post(async move || paused.store(to, Ordering::Relaxed))
    };
    let router = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/pause", switch(true))
        .route("/resume", switch(false));

    // Asked on its interval, never on the way of a request.
    let operator = Check::new("operator", move || {
        let paused = paused.load(Ordering::Relaxed);
        async move { if paused { Err("paused by hand") } else { Ok(()) } }
    });

    let outcome = Server::builder()
        .config(Config::from_env()?)
        .router(router)
        .readiness_check(operator.interval(Duration::from_secs(1)))
        .run()
        .await?;
    Ok(match outcome {
        Outcome::Drained => ExitCode::SUCCESS,
        // The deadline passed, and work was cut off.
        Outcome::CutOff(_) => ExitCode::from(3),
        Outcome::Failed => ExitCode::FAILURE,
    })
}
