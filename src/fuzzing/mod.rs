//! What is fed with bytes, by the fuzzers of `fuzz/` and, with the corpora that they have gathered,
//! by the tests. Nothing of it is in the default build.
//!
//! A target takes any bytes, and panics where a promise is broken.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a target ends by a panic where the product must not"
)]

mod answers;
mod configuration;
mod connection;
mod forwarded;
mod path;
mod pipe;
mod proxy_protocol;
mod script;
#[cfg(test)]
mod splits;
#[cfg(test)]
mod tests;
mod upstream;

use std::sync::OnceLock;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "configuration", run: configuration::run },
    Target { name: "connection_http1", run: connection::http1::run },
    Target { name: "connection_http2", run: connection::http2::run },
    Target { name: "forwarded", run: forwarded::run },
    Target { name: "path", run: path::run },
    Target { name: "proxy_protocol", run: proxy_protocol::run },
    Target { name: "upstream", run: upstream::run },
];

/// Feeds the target of this name.
///
/// # Panics
/// There is none, or a promise is broken.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("no target of this name");
    (target.run)(data);
}

/// Counts what is allocated, where somebody does.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    /// Begins to count anew.
    pub reset: fn(),
    /// The most bytes that were allocated at a time since then, above those at its beginning.
    pub peak: fn() -> usize,
}

static METER: OnceLock<Meter> = OnceLock::new();

/// Has memory counted by `meter` from now on.
pub fn count_with(meter: Meter) {
    let _ = METER.set(meter);
}

/// What `what` returns, and the most memory that it held at a time, where that is counted.
async fn metered<T>(what: impl Future<Output = T>) -> (T, Option<usize>) {
    let meter = METER.get();
    meter.inspect(|meter| (meter.reset)());
    let result = what.await;
    (result, meter.map(|meter| (meter.peak)()))
}
