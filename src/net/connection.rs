//! One connection from its first byte to its last. This is the only place where hyper's builders
//! are made.
//!
//! A connection waits for its first byte as a bare socket; then its protocol is told by what came,
//! and what serves it is built around it. Idle for a moment, an HTTP/1 connection is taken down to the
//! bare socket again: it costs no buffers, and whether a request is on its way to it is then known
//! exactly, which is what makes closing it in a drain safe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1 as hyper1, http2 as hyper2};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::context::{ConnectionLimits, Context, Http2Limits};
use super::http2::StreamExecutor;
use super::park::{self, Woken};
use super::secure::TlsStream;
use super::send_watch::SendWatch;
use super::service::Stack;
use super::state::{ConnState, Order};
use super::transport::Transport;
use super::{detect, head, http1, http2, linger, proxy_protocol, secure};
use crate::exchange::Scarce;
use crate::memory::{Charge, Purpose};
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};

/// How long a connection is idle before its buffers are given back; while memory is scarce, not at all.
pub const PARK_AFTER: Duration = Duration::from_millis(250);
/// How long a connection must have been idle before a drain closes it: a request that was sent
/// before the client could know is then either here or not coming.
pub const CLOSE_AFTER: Duration = Duration::from_millis(500);

/// How long a client is told that it has too many connections: it holds a place of others meanwhile.
pub const TELL_FOR: Duration = Duration::from_secs(1);

/// Streams of a connection on which only probes are answered.
const PROBES_AT_ONCE: u32 = 4;

/// The one configuration of hyper's HTTP/1, which serves requests that wish for another protocol.
pub fn http1_builder(limits: &ConnectionLimits) -> hyper1::Builder {
    let mut builder = hyper1::Builder::new();
    // Our clocks run outside: hyper's would close without an answer, at a timer a request.
    builder.header_read_timeout(None);
    // A client may close its sending side once it has asked, and still wants its answer. One that
    // has gone for good is found out by the answer, or by the request's own clock.
    builder.half_close(true);
    // Ours follows a clock that is set back.
    builder.auto_date_header(false);
    builder.max_buf_size(limits.max_head());
    // The default is on the stack; anything else moves every head to the heap.
    if limits.head.fields_count > 100 {
        builder.max_headers(limits.head.fields_count);
    }
    builder
}

/// The one HTTP/2 configuration.
pub fn http2_builder(
    executor: StreamExecutor,
    limits: &ConnectionLimits,
    http2: &Http2Limits,
    probes_only: bool,
) -> hyper2::Builder<StreamExecutor> {
    let mut builder = hyper2::Builder::new(executor);
    builder
        .auto_date_header(false)
        .max_concurrent_streams(if probes_only { PROBES_AT_ONCE } else { http2.max_concurrent_streams })
        .max_local_error_reset_streams(http2.max_local_error_resets)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_send_buf_size(http2.send_buffer)
        // Our own limits are inside this, so that they speak first.
        .max_header_list_size(u32::try_from(limits.max_head() * 2).unwrap_or(u32::MAX));
    builder
}

/// Keeps the gauge of open connections by protocol.
struct Gauge<'a> {
    context: &'a Context,
    protocol: Protocol,
}

impl<'a> Gauge<'a> {
    fn open(context: &'a Context) -> Self {
        context.metrics.connection_opened(Protocol::Unknown);
        Self { context, protocol: Protocol::Unknown }
    }

    fn identify(&mut self, protocol: Protocol) {
        if self.protocol != protocol {
            self.context.metrics.connection_identified(self.protocol, protocol);
            self.protocol = protocol;
        }
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        // The task of a connection ends by a panic: the runtime keeps it from going further.
        if std::thread::panicking() {
            self.context.metrics.rejected(Reason::InternalError);
        }
        self.context.metrics.connection_closed(self.protocol);
    }
}

/// Serves a connection from its first byte to its last.
///
/// What it holds while it waits is in this future; all else is in a box that is there while something is
/// done. Not an `async fn`: what such a one is given it holds twice.
pub fn serve<T: Transport, S: Stack>(
    transport: T,
    state: Arc<ConnState>,
    context: Arc<Context>,
    stack: Arc<S>,
) -> impl Future<Output = ()> + Send {
    let mut waiting = Some(transport);
    async move {
        let mut gauge = Gauge::open(&context);
        let mut header_due = context.expects_header_of(state.socket_peer.ip());
        while let Some(transport) = &mut waiting {
            let woken = park::wait(transport, &state, &context).await;
            let Some(transport) = waiting.take() else { return };
            let held = (state.clone(), context.clone(), &*stack);
            let work = awake(transport, woken, &mut header_due, &mut gauge, held, &mut waiting);
            // Moved into its box before the wait for it, so that it is held there alone.
            Box::pin(work).await;
        }
    }
}

/// Serves a connection by TLS: what a client sends before it is agreed upon is no request.
pub fn serve_secure<S: Stack>(
    socket: TcpStream,
    state: Arc<ConnState>,
    context: Arc<Context>,
    stack: Arc<S>,
) -> impl Future<Output = ()> + Send {
    let mut accepted = Some(socket);
    async move {
        let mut gauge = Gauge::open(&context);
        let Some(socket) = accepted.take() else { return };
        // In a box of its own, which is gone once there is a session.
        let mut waiting = Box::pin(begin(socket, &state, &context, &mut gauge)).await;
        while let Some(transport) = &mut waiting {
            let woken = park::wait(transport, &state, &context).await;
            let Some(transport) = waiting.take() else { return };
            let held = (state.clone(), context.clone(), &*stack);
            // The header of a proxy has come before.
            let header_due = &mut false;
            let work = awake(transport, woken, header_due, &mut gauge, held, &mut waiting);
            Box::pin(work).await;
        }
    }
}

/// What comes before the first request of a TLS connection; `None` where none will.
async fn begin(
    mut socket: TcpStream,
    state: &Arc<ConnState>,
    context: &Arc<Context>,
    gauge: &mut Gauge<'_>,
) -> Option<TlsStream> {
    let tls = context.tls.as_ref()?;
    match secure::first(&mut socket, state, context, tls).await {
        Ok(first) => match secure::handshake(socket, &first, state, context, tls).await {
            Ok((stream, protocol)) => {
                gauge.identify(protocol);
                return Some(stream);
            }
            Err(secure::End::Refused(Some(stream), reason)) => {
                context.refused(reason, state.peer().ip(), gauge.protocol);
                linger(stream, &[], false, state).await;
            }
            Err(secure::End::Refused(None, reason)) => {
                context.refused(reason, state.peer().ip(), gauge.protocol);
            }
            Err(secure::End::Closed) => {}
        },
        Err(secure::NoHello::Answered(refusal, came)) => {
            refuse(socket, refusal, &came, state, context).await;
        }
        Err(secure::NoHello::Silent(reason)) => context.refused(reason, state.peer().ip(), gauge.protocol),
        Err(secure::NoHello::Closed) => {}
    }
    None
}

/// Does what a connection was woken for. One that waits for a request again is left in `waiting`.
async fn awake<T: Transport, S: Stack>(
    mut transport: T,
    woken: Woken,
    header_due: &mut bool,
    gauge: &mut Gauge<'_>,
    (state, context, stack): (Arc<ConnState>, Arc<Context>, &S),
    waiting: &mut Option<T>,
) {
    let mut prefix = match woken {
        Woken::Bytes(bytes) => bytes,
        Woken::Closed | Woken::CloseIdle => return,
        // What began under a record that is never whole.
        Woken::Idle if state.head_since().is_some() => {
            return refuse(transport, http1::headers_timeout(&context), &[], &state, &context).await;
        }
        Woken::Idle => {
            context.refused(Reason::Idle, state.peer().ip(), gauge.protocol);
            return;
        }
        Woken::Abort => return abort(transport, &state, &context).await,
    };
    loop {
        if prefix.is_empty() {
            *waiting = Some(transport);
            return;
        }
        if std::mem::take(header_due) {
            // Boxed, so that connections without a header do not carry the room for one.
            let read = Box::pin(proxy_protocol::read(&mut transport, &mut prefix, &state, &context));
            match read.await {
                Ok(()) => {}
                Err(proxy_protocol::End::Refused(refusal)) => {
                    return refuse(transport, refusal, &prefix, &state, &context).await;
                }
                Err(proxy_protocol::End::TooMany(refusal)) => {
                    // Told no longer than a client that is refused when it connects.
                    let told = Box::pin(refuse(transport, refusal, &prefix, &state, &context));
                    let _ = tokio::time::timeout(TELL_FOR, told).await;
                    return;
                }
                Err(proxy_protocol::End::Silent(reason)) => {
                    context.refused(reason, state.peer().ip(), gauge.protocol);
                    return;
                }
                Err(proxy_protocol::End::Closed) => return,
                Err(proxy_protocol::End::Abort) => return abort(transport, &state, &context).await,
            }
        }
        if gauge.protocol == Protocol::Unknown {
            match detect::protocol(&mut transport, &mut prefix, &state, &context).await {
                Ok(protocol) => gauge.identify(protocol),
                Err(head::End::Refused(refusal)) => {
                    return refuse(transport, refusal, &prefix, &state, &context).await;
                }
                Err(head::End::Closed) => return,
                Err(head::End::Abort) => return abort(transport, &state, &context).await,
            }
        }
        if gauge.protocol == Protocol::Http1 {
            match head::gather(&mut transport, &mut prefix, &state, &context).await {
                Ok(()) => {}
                Err(head::End::Refused(refusal)) => {
                    return refuse(transport, refusal, &prefix, &state, &context).await;
                }
                Err(head::End::Closed) => return,
                Err(head::End::Abort) => return abort(transport, &state, &context).await,
            }
        }
        // Held until the connection waits again.
        let held = match work(&state, &context, gauge.protocol) {
            Ok(charge) => charge,
            Err(refusal) if gauge.protocol == Protocol::Http2 => {
                context.refused(refusal.reason, state.peer().ip(), gauge.protocol);
                return linger(transport, &http2::farewell(), true, &state).await;
            }
            Err(refusal) => return refuse(transport, refusal, &prefix, &state, &context).await,
        };
        let first = std::mem::take(&mut prefix);
        if let (Protocol::Http2, Some(limits)) = (gauge.protocol, &context.limits.http2) {
            let drive = http2::drive(transport, first, &state, &context, limits, stack.clone());
            let end = Box::pin(drive).await;
            drop(held);
            return end_http2(end, &state, &context).await;
        }
        let end = Box::pin(http1::drive(transport, first, &state, &context, stack.clone())).await;
        if !matches!(end, http1::End::Upgraded) {
            drop(held);
        }
        match end {
            http1::End::Idle(idle) => {
                transport = idle;
                transport.rests();
            }
            http1::End::Resume(resumed, bytes) => {
                (transport, prefix) = (resumed, bytes);
                transport.rests();
            }
            http1::End::Refused(transport, refusal, came) => {
                return refuse(transport, refusal, &came, &state, &context).await;
            }
            http1::End::Linger(transport) => {
                // SECURITY: the reserve is for probes, which have no bodies; nobody lingers in it.
                let more = state.body_left() && state.probe_only().is_none();
                return linger(transport, &[], more, &state).await;
            }
            http1::End::Stalled(transport) => {
                transport.reset_on_drop();
                context.refused(Reason::SlowReader, state.peer().ip(), Protocol::Http1);
                return;
            }
            http1::End::Upgraded => return tunnel(&state, &context).await,
            http1::End::Closed => return,
        }
    }
}

/// Charges what a request may hold. Where there is no room, the connection is good for probes alone,
/// which are paid for already.
///
/// # Errors
/// This client holds its part.
fn work(state: &Arc<ConnState>, context: &Context, protocol: Protocol) -> Result<Option<Charge>, Refusal> {
    if state.probe_only().is_some() {
        return Ok(None);
    }
    let comes_after_others = || context.penalties.holds(state.peer().ip().into(), state.accepted());
    if state.share().is_some() && context.memory.is_half_used() && comes_after_others() {
        state.probes_only(Scarce::Memory, protocol);
        return Ok(None);
    }
    let charge = context.memory.open(state.share().cloned());
    match charge.add(context.working(), Purpose::Work) {
        Ok(()) => return Ok(Some(charge)),
        Err(refusal) if context.memory.has_room(context.working(), Purpose::Work) => return Err(refusal),
        Err(_) => state.probes_only(Scarce::Memory, protocol),
    }
    Ok(None)
}

/// Watches over a socket that a handler has taken over: it has no requests any more,
/// but a client that does not read is still one that does not read.
async fn tunnel(state: &ConnState, context: &Context) {
    let mut sends = SendWatch::of_socket(context.limits.send);
    let look = (context.limits.send.timeout / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
    while tokio::time::timeout(look, state.has_left()).await.is_err() {
        let Some(since) = state.blocked_since() else { continue };
        let (waited, sent) = state.sent();
        let now = Instant::now();
        if sends.deadline(now, since, waited, sent) <= now && !state.ordered(Order::Abort) {
            context.refused(Reason::SlowReader, state.peer().ip(), Protocol::Http1);
            state.order(Order::Abort);
        }
    }
}

/// Answers a refusal that no request carries, of which `came` had come, and counts it.
async fn refuse<T: Transport>(
    transport: T,
    refusal: Refusal,
    came: &[u8],
    state: &ConnState,
    context: &Context,
) {
    let answer = context.refuse(refusal, state.peer().ip(), Protocol::Http1, came);
    if state.probe_only().is_some() {
        return linger::say(transport, &answer).await;
    }
    linger(transport, &answer, true, state).await;
}

/// Closes so that `last` arrives, unless its place is needed now.
async fn linger<T: Transport>(transport: T, last: &[u8], more: bool, state: &ConnState) {
    state.lingers();
    let mut close = pin!(linger::close(transport, last, more));
    poll_fn(|cx| {
        state.register(cx.waker());
        if state.is_to_leave() { Poll::Ready(()) } else { close.as_mut().poll(cx) }
    })
    .await;
}

/// Makes room, or makes an end.
async fn abort<T: Transport>(transport: T, state: &ConnState, context: &Context) {
    if state.probe_only().is_some() {
        let (reason, limit) = match state.probe_only() {
            Some(Scarce::Memory) => (Reason::Overloaded, "limits.memory"),
            _ => (Reason::TooManyConnections, "limits.max_connections"),
        };
        let refusal = Refusal::new(reason, "the connection made room for another").limit(limit);
        // Told in passing: its place is needed now, and it has sent nothing that would be in the
        // way of a close.
        let answer = context.refuse(refusal, state.peer().ip(), Protocol::Http1, &[]);
        linger::say(transport, &answer).await;
    }
}

async fn end_http2<T: Transport>(end: http2::End<T>, state: &ConnState, context: &Context) {
    match end {
        http2::End::Closed => {}
        http2::End::Linger(transport, last) => linger(transport, &last, true, state).await,
        http2::End::Refused(transport, reason, last) => {
            context.refused(reason, state.peer().ip(), Protocol::Http2);
            let Some(transport) = transport else { return };
            if reason == Reason::SlowReader {
                transport.reset_on_drop();
            } else {
                linger(transport, &last, reason != Reason::Idle, state).await;
            }
        }
    }
}
