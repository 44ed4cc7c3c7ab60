//! A hardened HTTP runtime: it stands between the network and an application, bounds what any
//! client can make it spend, tells orchestrators the truth about its state, and drains without
//! losing a request.
//!
//! The binary `nessen` and a program that embeds this library run the same server; the program
//! brings its own routes:
//!
//! ```
//! use axum::{Router, routing::get};
//! use nessen::{Config, Outcome, Server};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default(); // or Config::from_env()?, as the binary does
//! config.server.port = 0; // any free one
//! # config.shutdown.drain_delay = std::time::Duration::ZERO;
//!
//! let server = Server::builder()
//!     .config(config)
//!     .router(Router::new().route("/hello", get(|| async { "hello" })))
//!     .check("database", || async { Ok::<(), std::io::Error>(()) })
//!     .bind()
//!     .await?;
//! println!("http://{}", server.local_addr());
//!
//! // `run()` serves until SIGTERM or SIGINT; here, until a future resolves.
//! let outcome = server.run_until(async {}).await;
//! assert_eq!(outcome, Outcome::Drained);
//! # Ok(())
//! # }
//! ```
//!
//! A program of its own runtime should build it with
//! [`global_queue_interval(2)`](tokio::runtime::Builder::global_queue_interval), as the binary does: a worker
//! of Tokio has room for 256 tasks that are ready, and what is over that waits for as long as a flood lasts.
//!
//! Two programs to begin with are in `examples/`: `hello` and `slow_dependency`.
//!
//! Routes of the configuration ([`config::RouteConfig`]) lead to applications elsewhere
//! ([`handler::proxy`]), to files ([`handler::static_files`]) or to fixed answers; the program's own
//! router answers what they leave.
//!
//! # The way of a request
//!
//! ```text
//! listener ─ admission ─ first byte ─ protocol ─ parser          net/
//!                                                   │
//!   request id ─ report ─ refusals to answers ─ framing           server/stack.rs lists
//!   ─ probes and admin endpoints (answered here) ─ route          these stages, each
//!   ─ drain gate ─ reserve gate ─ method ─ host ─ URL ─ headers   with its reason
//!   ─ rate limit ─ in-flight permit ─ request time-out
//!   ─ request body: size, gap, rate, memory
//!   ─ security headers ─ compression ─ response size
//!   ─ where the route leads: proxy, files, fixed answer, router
//! ```
//!
//! The route's values ([`policy::Policy`]) hold in all stages behind it. What needs no state refuses
//! first. Every stage ([`stage::Stage`]) refuses by its error, a [`refusal::Refusal`];
//! one place turns it into an answer, counts it and names it in the log. A permit is held until
//! the last byte of the response body has been handed over. The clocks of a connection run in
//! [`net`]: between requests, within a head, and while a client is slow to read.
//!
//! # The life of the process
//!
//! [`server::Builder::bind`] builds everything and binds the sockets; [`server::BoundServer::run`]
//! accepts. The phase ([`lifecycle::Phase`]) has one writer and is read by everybody: STARTING
//! until the listener accepts, RUNNING, DRAINING from the first signal on, STOPPING when nothing
//! is left or the deadline has passed. After SIGTERM the server is not ready but goes on serving
//! for `shutdown.drain_delay`, so that load balancers can notice; then it closes its listener,
//! refuses new requests, and lets those in flight finish within `shutdown.drain_timeout`.
//! [`Outcome`] says whether all of them did.
//!
//! # The floors of the house
//!
//! Imports only go down, and the rooms of floor 2 do not know each other; `house_tests` holds that.
//!
//! | floor | rooms |
//! |---|---|
//! | 5 | [`cli`], and `main.rs`, which calls it; `fuzzing`, which only tests and fuzzers build |
//! | 4 | [`server`]: builds everything and runs it |
//! | 3 | [`config`]: one table of keys, four places to set them, one valid [`Config`] |
//! | 2 | [`net`], [`limits`], [`middleware`], [`admin`], [`handler`], [`audit`] |
//! | 1 | [`evidence`], [`lifecycle`], [`probe`], [`resolve`], [`sandbox`], [`telemetry`] |
//! | 0 | [`body`], [`check`], [`chunked`], [`client_address`], [`exchange`], [`host`], [`html`], [`pace`], [`path`], [`policy`], [`protocol`], [`random`], [`redact`], [`refusal`], [`seen`], [`stage`], [`units`] |

pub mod admin;
pub mod audit;
pub mod body;
pub mod check;
pub mod chunked;
pub mod cli;
pub mod client_address;
pub mod config;
pub mod deadline;
pub mod dial;
pub mod evidence;
pub mod exchange;
pub mod handler;
pub mod host;
pub mod html;
pub mod lifecycle;
pub mod limits;
pub mod memory;
pub mod middleware;
pub mod net;
pub mod otlp;
pub mod outcall;
pub mod pace;
pub mod path;
pub mod places;
pub mod policy;
pub mod probe;
pub mod protocol;
pub mod quota;
pub mod random;
pub mod redact;
pub mod refusal;
pub mod resolve;
pub mod sandbox;
pub mod seen;
pub mod server;
pub mod stage;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod units;

pub use config::Config;
pub use server::{Outcome, Server};

/// What is fed with bytes. Not in the default build.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod house_tests;

/// The README's program, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
