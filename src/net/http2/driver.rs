//! Driving one HTTP/2 connection to its end.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::executor::StreamExecutor;
use super::frames::{Code, SETTINGS, goaway};
use super::io::{Http2Io, Ledger};
use super::streams::Streams;
use crate::net::clock::Clock;
use crate::net::connection::{CLOSE_AFTER, TELL_FOR, http2_builder};
use crate::net::context::{Context, Http2Limits};
use crate::net::send_watch::SendWatch;
use crate::net::service::{ConnService, Stack, Wire};
use crate::net::state::{ConnState, Order};
use crate::net::transport::Transport;
use crate::protocol::Protocol;
use crate::refusal::Reason;

/// How it ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// For this reason, with these bytes still to be sent.
    Refused(Option<T>, Reason, Vec<u8>),
    /// Over; the client may still be sending.
    Linger(T, Vec<u8>),
    /// Over, and nothing is left of it.
    Closed,
}

/// What a clock says.
enum Due {
    /// Streams that are being answered are looked at.
    Judge,
    CloseIdle,
    Refuse(Reason),
}

/// What ended the loop.
enum Event {
    Done(Result<(), hyper::Error>),
    Refused(Reason),
    CloseIdle,
    Abort,
}

/// How often streams are looked at while memory is scarce.
const TICK_SCARCE: Duration = Duration::from_millis(100);

/// How often streams that are being answered are looked at.
fn tick(context: &Context) -> Duration {
    if context.memory.scarce_by() > 0 {
        return TICK_SCARCE;
    }
    (context.limits.send.timeout / 4).clamp(Duration::from_millis(20), Duration::from_millis(500))
}

/// Serves requests until the connection is over, or a clock runs out.
pub(crate) async fn drive<T: Transport, S: Stack>(
    transport: T,
    prefix: Bytes,
    state: &Arc<ConnState>,
    context: &Arc<Context>,
    limits: &Http2Limits,
    stack: S,
) -> End<T> {
    let streams = Arc::new(Streams::new(context.limits.send));
    let ledger = Arc::new(Ledger::default());
    let (io, slot) = Http2Io::new(
        transport,
        prefix,
        state.clone(),
        ledger.clone(),
        // Compressed, so smaller than what it stands for unless somebody plays with it.
        context.limits.max_head() * 2,
        limits.max_cancelled_streams,
    );
    let service = ConnService::new(stack, state.clone(), context.clone(), Wire::Http2(streams.clone()));
    let executor = StreamExecutor(streams.clone());
    let builder = http2_builder(executor, &context.limits, limits, state.probe_only().is_some());
    let event = {
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut watch = Watch::new(state, context, &streams);
        let mut clock = pin!(Clock::default());
        let mut told = false;
        poll_fn(|cx| {
            streams.register(cx.waker());
            state.stay_registered(cx.waker());
            if !told && (state.ordered(Order::GoAway) || state.is_old_at(Instant::now())) {
                told = true;
                state.tell();
                connection.as_mut().graceful_shutdown();
            }
            if state.ordered(Order::Abort) {
                return Poll::Ready(Event::Abort);
            }
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Event::Done(result));
            }
            if state.is_to_leave() {
                return Poll::Ready(Event::Abort);
            }
            if ledger.abusive.load(Ordering::Acquire) || streams.is_accused() {
                return Poll::Ready(Event::Refused(Reason::Http2Abuse));
            }
            if ledger.ungreeted.load(Ordering::Acquire) {
                return Poll::Ready(Event::Refused(Reason::MalformedRequest));
            }
            loop {
                let (at, due) = watch.next();
                ready!(clock.as_mut().wait_until(at, cx));
                match due {
                    Due::Judge => watch.judge(),
                    Due::CloseIdle => return Poll::Ready(Event::CloseIdle),
                    Due::Refuse(reason) => return Poll::Ready(Event::Refused(reason)),
                }
            }
        })
        .await
    };
    // Its answers can no longer be sent.
    streams.reset_all();
    let transport = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let last = ledger.last_stream.load(Ordering::Relaxed);
    // A GOAWAY in the middle of another frame would be read as part of it.
    let say = |code| match ledger.at_boundary.load(Ordering::Relaxed) {
        true => goaway(last, code).to_vec(),
        false => Vec::new(),
    };
    match event {
        Event::Abort => End::Closed,
        Event::Refused(Reason::SlowReader) => End::Refused(transport, Reason::SlowReader, Vec::new()),
        Event::Refused(Reason::Idle) => End::Refused(transport, Reason::Idle, say(Code::NoError)),
        Event::Refused(Reason::MalformedRequest) => {
            End::Refused(transport, Reason::MalformedRequest, say(Code::ProtocolError))
        }
        Event::Refused(reason) => End::Refused(transport, reason, say(Code::EnhanceYourCalm)),
        // What is on its way will not be looked at, and whoever sent it is told so.
        Event::CloseIdle => {
            transport.map_or(End::Closed, |transport| End::Linger(transport, say(Code::NoError)))
        }
        Event::Done(Ok(())) => transport.map_or(End::Closed, |transport| End::Linger(transport, Vec::new())),
        // h2 has said why already, where it could.
        Event::Done(Err(error)) => match reason(&error) {
            Some(reason) => End::Refused(transport, reason, Vec::new()),
            None => End::Closed,
        },
    }
}

/// All that a connection is told which is not served: it may ask again elsewhere or later.
pub(crate) fn farewell() -> Vec<u8> {
    [SETTINGS.as_slice(), &goaway(0, Code::NoError)].concat()
}

/// What h2 gave up for, if the client was to blame.
fn reason(error: &hyper::Error) -> Option<Reason> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    if error.is_io() || error.is_remote() {
        return None;
    }
    match error.reason()? {
        h2::Reason::NO_ERROR => None,
        h2::Reason::ENHANCE_YOUR_CALM => Some(Reason::Http2Abuse),
        _ => Some(Reason::MalformedRequest),
    }
}

/// The clocks of an HTTP/2 connection.
struct Watch<'a> {
    state: &'a ConnState,
    context: &'a Context,
    streams: &'a Streams,
    sends: SendWatch,
    next_judgement: Instant,
}

impl<'a> Watch<'a> {
    fn new(state: &'a ConnState, context: &'a Context, streams: &'a Streams) -> Self {
        let sends = SendWatch::of_socket(context.limits.send);
        Self { state, context, streams, sends, next_judgement: Instant::now() }
    }

    /// Looks at the streams, and resets those whose client does not read.
    fn judge(&mut self) {
        self.next_judgement = Instant::now() + tick(self.context);
        self.state.progress.holds_up(self.streams.outstanding());
        for _ in 0..self.streams.judge() {
            self.context.refused(Reason::SlowReader, self.state.peer().ip(), Protocol::Http2);
        }
    }

    /// The earliest deadline, and what is to be done then.
    fn next(&mut self) -> (Instant, Due) {
        let now = Instant::now();
        let limits = &self.context.limits;
        if let Some(since) = self.state.blocked_since() {
            let (waited, sent) = self.state.sent();
            return (self.sends.deadline(now, since, waited, sent), Due::Refuse(Reason::SlowReader));
        }
        let next = if self.state.in_flight() > 0 {
            (self.next_judgement, Due::Judge)
        } else {
            self.state.progress.holds_up(self.streams.outstanding());
            // What is still buffered of finished answers is little, and no reason to stay for long.
            let idle = self.state.idle_since();
            // A client that goes on asking keeps nobody from leaving.
            let patience =
                self.state.told_long_ago().map_or(CLOSE_AFTER, |told| CLOSE_AFTER.min(told - idle));
            match self.state.closes_after(patience) {
                None => {
                    // SECURITY: a probe asks at once, and its place is for the next one.
                    let patience = match self.state.probe_only() {
                        Some(_) => TELL_FOR,
                        // A head that is under way has a clock of its own, which began later.
                        None if self.state.head_since().is_some() => limits.idle_timeout,
                        None => limits.patience(self.state.requests()),
                    };
                    (idle + patience, Due::Refuse(Reason::Idle))
                }
                // Its last bytes leave without a word to this clock, which therefore looks early.
                Some(_) if self.streams.outstanding() => {
                    ((idle + limits.send.timeout).min(now + CLOSE_AFTER), Due::CloseIdle)
                }
                Some(close) => (close, Due::CloseIdle),
            }
        };
        match self.state.head_since().map(|since| since + limits.headers_timeout) {
            Some(head) if head < next.0 => (head, Due::Refuse(Reason::HeadersTimeout)),
            _ => next,
        }
    }
}
