//! A dependency that takes five seconds to come up. The server is there at once: `/health` is 200,
//! requests are served, and `/ready` is 503 and names what it waits for, until it is there.
//!
//! ```text
//! cargo run --example slow_dependency
//! watch -n 1 curl -s localhost:3000/ready
//! ```

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use nessen::lifecycle::readiness::Check;
use nessen::{Config, Outcome, Server};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long it takes to come up.
const START_UP: Duration = Duration::from_secs(5);

/// The dependency: its address is known, and nobody listens there yet.
fn dependency() -> io::Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        tokio::time::sleep(START_UP).await;
        match socket.listen(16) {
            Ok(listener) => accept(listener).await,
            Err(error) => tracing::error!(%error, "the dependency does not come up"),
        }
    });
    Ok(address)
}

async fn accept(listener: TcpListener) {
    while let Ok((connection, _)) = listener.accept().await {
        drop(connection);
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let address = dependency()?;
    let database = Check::new("database", move || async move { TcpStream::connect(address).await.map(drop) })
        .interval(Duration::from_millis(500))
        .timeout(Duration::from_secs(1));

    let outcome = Server::builder()
        .config(Config::from_env()?)
        .router(Router::new().route("/", get(|| async { "served, ready or not\n" })))
        .readiness_check(database)
        .run()
        .await?;
    Ok(match outcome {
        Outcome::Drained => ExitCode::SUCCESS,
        // The deadline passed, and work was cut off.
        Outcome::CutOff(_) => ExitCode::from(3),
        Outcome::Failed => ExitCode::FAILURE,
    })
}
