//! Black-box tests: the real binary on real sockets, held to the contract of the documentation.
//!
//! A module per subject. Nothing here knows how the server is built; what a test needs to know about
//! its state it asks the server: its log, its metrics, its answers, its exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on must stop, and these threads are its own"
)]

mod admin_page;
mod audit;
mod compression;
mod differential;
mod evidence;
mod faults;
mod files;
mod framing;
mod library;
mod life;
mod limits_http1;
mod limits_http2;
mod proxy;
mod proxy_protocol;
mod rate_limit_redis;
mod ready;
mod replacement;
mod routes;
mod sandbox;
mod support;
mod tls;
mod tracing;
