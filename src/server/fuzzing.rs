//! The server's own layers, to be put over streams in memory, for who fuzzes them.

#![allow(clippy::unwrap_used, reason = "without a server there is nothing to fuzz")]

use std::sync::Arc;

use axum::Router;

use super::{Server, stack};
use crate::config::Config;
use crate::lifecycle::Event;
use crate::net::Stack;
use crate::net::context::Context;

/// What a server has between its connections and `router`, and what its connections share. It runs,
/// and stays so to the end of the process, though nothing is accepted.
pub(crate) fn running(config: Config, router: Router) -> (impl Stack, Arc<Context>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bound = runtime.block_on(Server::builder().config(config).router(router).bind()).unwrap();
    // Its housekeeping is never polled, and its socket never asked.
    let (_, bound) = Box::leak(Box::new((runtime, bound)));
    bound.writer.apply(Event::Listening);
    (stack::main(&bound.config, &bound.shared), bound.main.context.clone())
}
