//! One connection of a client, served by the code that serves sockets and by the server's own layers.

mod echo;
pub(super) mod http1;
pub(super) mod http2;
mod records;
mod requests;
#[cfg(test)]
mod served;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::pipe::{Far, Near, pipe};
use super::script::{self, Step};
use crate::config::Config;
use crate::memory::{WAITING, WORKING};
use crate::net::admission::Permits;
use crate::net::connection;
use crate::net::context::Context;
use crate::net::registry::Registry;
use crate::net::state::{ConnState, Order};
use crate::refusal::Reason;
use crate::units::Rate;

/// Longest that a connection is drained of what still comes (`net::linger`).
const LINGER: Duration = Duration::from_secs(14);
/// What an answer may take on the far side without being counted as the server's.
const ANSWERED: usize = 1 << 20;

/// Where a text of the server's own is, and what it may take while it is written.
const METRICS: &[u8] = b"/metrics";
const SCRAPE: usize = 256 * 1024;

type Serve = dyn Fn(Near, Arc<ConnState>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A server without a socket.
pub(in crate::fuzzing) struct Server {
    pub(super) config: Config,
    context: Arc<Context>,
    serve: Box<Serve>,
}

/// What came of a connection.
pub(in crate::fuzzing) struct Outcome {
    pub(in crate::fuzzing) far: Far,
    /// Requests that the server saw.
    pub(super) requests: u64,
}

/// Small limits, so that a short input gets to all of them.
fn config() -> Config {
    let mut config = Config::default();
    (config.server.host, config.server.port) = ([127, 0, 0, 1].into(), 0);
    config.log.level = crate::config::LogLevel::Off;
    config.log.access = crate::config::AccessLog::Off;
    let limits = &mut config.limits;
    limits.max_body_size = 2048;
    limits.max_url_length = 256;
    limits.max_header_size = 1024;
    limits.max_header_count = 20;
    limits.max_requests_per_connection = 12;
    limits.min_body_rate = Some(Rate { bytes_per_second: 100, grace: Duration::from_secs(5) });
    let http2 = &mut config.http2;
    http2.max_concurrent_streams = 8;
    (http2.max_local_error_resets, http2.max_cancelled_streams) = (10, 10);
    (http2.stream_window, http2.connection_window, http2.send_buffer) = (16_384, 65_536, 16_384);
    config
}

/// One for each thread: what is counted and held of a server is then that of one connection.
pub(in crate::fuzzing) fn server() -> &'static Server {
    thread_local! {
        static SERVER: &'static Server = Box::leak(Box::new(Server::new()));
    }
    SERVER.with(|server| *server)
}

impl Server {
    fn new() -> Self {
        let config = config();
        let (stack, context) = crate::server::fuzzing::running(config.clone(), echo::router());
        let (shared, stack) = (context.clone(), Arc::new(stack));
        let serve = move |near, state| {
            let served = connection::serve(near, state, shared.clone(), stack.clone());
            Box::pin(served) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Self { config, context, serve: Box::new(serve) }
    }

    /// Serves a client that does as `steps` say, and holds what must hold whatever they say: no
    /// panic, an end in time, and no more memory than is accounted for.
    pub(in crate::fuzzing) fn serve(&self, steps: Vec<Step>, streams: u64) -> Outcome {
        let panics = self.panics();
        let patience = self.patience(&steps);
        let sent = script::bytes(&steps);
        let (near, far) = pipe(sent, ANSWERED);
        let (requests, held) =
            script::with_paused_clock(super::metered(self.play(near, &far, steps, patience)));
        assert_eq!(self.panics(), panics, "a panic was caught");
        assert_eq!(self.context.memory.used(), 0, "memory is held of a connection that is gone");
        // What operators ask for is as long as there are series, and in no account.
        let scraped = far.all_sent().windows(METRICS.len()).filter(|window| *window == METRICS).count();
        let excess = far.answered_len().saturating_sub(ANSWERED) * 4 + scraped * SCRAPE;
        let bound = self.account(streams) + excess;
        if let Some(held) = held {
            assert!(held <= bound, "{held} bytes were held, over {bound}");
        }
        Outcome { far, requests }
    }

    async fn play(&self, near: Near, far: &Far, steps: Vec<Step>, patience: Duration) -> u64 {
        let peer = SocketAddr::from(([203, 0, 113, 9], 5000));
        let state = Registry::default().enter(|entry| ConnState::new(peer, Permits::none(), entry));
        let served = tokio::spawn((self.serve)(near, state.clone()));
        script::play(steps, far, async |step| match step {
            Step::Drain => {
                state.order(Order::GoAway);
                state.order(Order::CloseIdle);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        })
        .await;
        match tokio::time::timeout(patience, served).await {
            Ok(served) => served.expect("the connection's task panicked"),
            Err(_) => panic!("it does not end within {patience:?}"),
        }
        state.requests()
    }

    fn panics(&self) -> u64 {
        let counts = self.context.metrics.rejections().into_iter();
        counts.filter(|(reason, _)| *reason == Reason::InternalError).map(|(_, count)| count).sum()
    }

    /// How long a connection may live on once its client does nothing more: every time-out once, and
    /// those of a request as often as one may wait.
    fn patience(&self, _: &[Step]) -> Duration {
        let limits = &self.config.limits;
        let request = limits.request_timeout + limits.body_timeout + limits.write_timeout;
        let requests = u32::try_from(limits.max_requests_per_connection).unwrap();
        limits.headers_timeout + limits.idle_timeout + LINGER + request * requests
    }

    /// Bytes that a connection with so many requests may hold, as `check` counts them.
    fn account(&self, requests: u64) -> usize {
        let Config { limits, http2, .. } = &self.config;
        let request = u64::from(http2.stream_window)
            + (http2.send_buffer + limits.max_header_size + limits.max_url_length) as u64
            + limits.max_body_size;
        usize::try_from(WAITING + WORKING + requests * request).unwrap()
    }
}
