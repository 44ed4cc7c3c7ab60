//! One HTTP/1 connection: requests are read, served and answered one after the other.
//!
//! The layers are polled here, in the connection's own task. Bytes are read when somebody waits for them: for
//! the next head, or for a body that is asked for. What the socket does not take holds back the body that is
//! answered with. So no more is held than is on its way.

mod answer;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, Method, Version};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::net::context::Context as Common;
use crate::net::head;
use crate::net::http1::input::{Handed, Input};
use crate::net::http1::output::Output;
use crate::net::http1::pipe::{Broken, Inlet, pipe};
use crate::net::http1::request::{self, Fault, Head, Reading};
use crate::net::http1::response::Framing;
use crate::net::http1::upgrade::Wish;
use crate::net::outgoing::Running;
use crate::net::service::{self, Stack};
use crate::net::state::ConnState;
use crate::net::transport::Transport;
use crate::net::upload::Upload;
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};
use crate::seen::Seen;
use crate::stage;

/// What is left of a body that is read in large pieces: what a small one would not hold.
const LARGE: u64 = 8 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a connection is left.
#[derive(Debug)]
pub(super) enum Event {
    /// Everything is said, or the client has gone.
    Over,
    /// The socket failed.
    Failed,
    /// An answer ends before its end.
    BrokenOff { unframed: bool },
    /// What came is no request.
    Refused(Refusal),
    /// A part of a head has come, which needs no parser to be waited for.
    Partial,
    /// The head that comes next wishes for another protocol.
    Wish(Wish),
}

/// The request under way.
#[derive(Debug)]
struct Asked {
    method: Method,
    version: Version,
    number: u64,
    running: Running,
}

pin_project! {
    /// What is read, served and written.
    pub(super) struct Conn<'a, T, S>
    where
        S: Stack,
    {
        io: &'a mut T,
        state: &'a Arc<ConnState>,
        common: &'a Arc<Common>,
        stack: S,
        input: Input,
        output: Output,
        asked: Option<Asked>,
        #[pin]
        call: Option<S::Future>,
        #[pin]
        body: Option<S::Body>,
        // Of the request: what is to be read, and who reads it.
        reading: Reading,
        inlet: Option<Inlet>,
        expects: bool,
        // Of the answer.
        framing: Framing,
        answered: u64,
        // Bytes that the socket had taken before this turn.
        sent_before: u64,
        trailers: Vec<HeaderName>,
        over: bool,
        broken: bool,
        // Another request may follow.
        keep: bool,
        // For the fields of the next request.
        fields: HeaderMap,
        // When that was begun, as long as no time has passed since.
        now: Option<Instant>,
        // What is unread has just come.
        fresh: bool,
        // The head under way began.
        began: Option<Instant>,
        // The route under way has bounds of its own.
        held_to_route: bool,
        most: usize,
    }
}

/// A step was made, and another can be; or the connection is left.
type Step = Poll<Option<Event>>;

impl<'a, T: Transport, S: Stack> Conn<'a, T, S> {
    pub(super) fn new(
        io: &'a mut T,
        prefix: Bytes,
        state: &'a Arc<ConnState>,
        common: &'a Arc<Common>,
        stack: S,
    ) -> Self {
        // A probe's head is small, and its connection is not counted.
        let most = if state.probe_only().is_some() { 8192 } else { common.limits.max_head() };
        Self {
            io,
            state,
            common,
            stack,
            input: Input::new(prefix),
            output: Output::default(),
            asked: None,
            call: None,
            body: None,
            reading: Reading::Length(0),
            inlet: None,
            expects: false,
            framing: Framing::Without,
            answered: 0,
            sent_before: 0,
            trailers: Vec::new(),
            over: false,
            broken: false,
            keep: true,
            fields: HeaderMap::new(),
            now: None,
            fresh: true,
            began: None,
            // Perhaps by a request before the connection's rest.
            held_to_route: state.send_limits().is_some(),
            most,
        }
    }

    /// What was read and not used, and whether the client has closed its side.
    pub(super) fn rest(self: Pin<&mut Self>) -> (Bytes, bool) {
        let input = self.project().input;
        (input.unread.clone(), input.ended)
    }

    /// Goes on until something is waited for, or the connection is left.
    pub(super) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        // SECURITY: one request is served a turn, so that a client which sends many at once has others
        // served in between.
        let mut had = false;
        let this = self.as_mut().project();
        (*this.now, *this.sent_before) = (None, this.state.sent_bytes());
        loop {
            let step = if self.call.is_some() {
                self.as_mut().serve(cx)
            } else if self.asked.is_some() || self.body.is_some() {
                self.as_mut().answer(cx)
            } else {
                self.as_mut().next(&mut had, cx)
            };
            if let Some(event) = ready!(step) {
                return Poll::Ready(event);
            }
        }
    }

    /// Reads the next head.
    fn next(mut self: Pin<&mut Self>, had: &mut bool, cx: &mut Context<'_>) -> Step {
        let this = self.as_mut().project();
        if ready!(this.output.poll_flush(*this.io, this.state, cx)).is_err() {
            return left(Event::Failed);
        }
        if !*this.keep || !this.reading.is_over() {
            return left(Event::Over);
        }
        let limits = &this.common.limits;
        loop {
            this.input.skip_empty_lines();
            if this.input.has_begun() {
                if this.state.head_since().is_none() {
                    if *this.fresh {
                        let now = Instant::now();
                        *this.began = Some(now);
                        this.state.head_began(now);
                    } else {
                        this.state.head_began_with_last_read();
                    }
                }
                let fields = std::mem::take(this.fields);
                match request::parse(&this.input.unread, limits.head.fields_count, fields) {
                    Ok(Some(_)) if *had => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Ok(Some(Head { wish: true, length, fragment, .. })) => {
                        return left(Event::Wish(Wish { length, fragment }));
                    }
                    Ok(Some(head)) => {
                        *had = true;
                        self.begin(head);
                        return ON;
                    }
                    Ok(None) if this.input.unread.len() < *this.most => {}
                    Ok(None) => return left(Event::Refused(too_large(&this.input.unread, this.common))),
                    Err(fault) => {
                        return left(Event::Refused(refusal(fault, &this.input.unread, this.common)));
                    }
                }
            }
            let read = this.input.poll_read_head(*this.io, cx);
            if read.is_pending() && this.input.has_begun() && head::is_worth_gathering(&this.input.unread) {
                return left(Event::Partial);
            }
            match ready!(read) {
                Ok(0) => return left(Event::Over),
                Ok(_) => *this.fresh = true,
                Err(_) => return left(Event::Failed),
            }
        }
    }

    /// Asks the layers.
    fn begin(self: Pin<&mut Self>, head: Head) {
        let mut this = self.project();
        let sent = this
            .common
            .evidence
            .as_ref()
            .map(|evidence| (this.input.unread.slice(..head.length), evidence.body_bytes()));
        this.input.unread.advance(head.length);
        (*this.keep, *this.expects) = (head.keep, head.expects);
        (*this.reading, *this.broken, *this.over) = (head.body, false, false);
        let request = head.request;
        let (method, version) = (request.method().clone(), request.version());
        let (started, number) = this.state.request_begins();
        // The state counts whole milliseconds.
        let started = this.began.take().unwrap_or(started);
        let mut exchange =
            service::exchange(this.state, this.common, Protocol::Http1, &request, started, number);
        exchange.fragment = head.fragment;
        exchange.takes_beside = true;
        exchange.seen = sent.map(|(head, body)| Box::new(Seen::sent(head, body)));
        if this.reading.is_over() {
            exchange.body_ends();
        }
        let exchange = Arc::new(exchange);
        let asking = exchange.clone();
        let upload = match *this.reading {
            Reading::Length(0) => Upload::empty(),
            // All of it came with the head.
            Reading::Length(length) if length <= this.input.unread.len() as u64 => {
                (*this.reading, *this.expects) = (Reading::Length(0), false);
                let length = usize::try_from(length).unwrap_or(0);
                let body = this.input.unread.split_to(length);
                Upload::whole(body, this.state)
            }
            _ => {
                // What came with the head goes on with it, unless the client is still to be told to send it.
                let here = if *this.expects { Bytes::new() } else { this.input.begin_body(this.reading) };
                let left = if let Reading::Length(left) = *this.reading { Some(left) } else { None };
                let (inlet, outlet) = pipe(here, left);
                *this.inlet = Some(inlet);
                Upload::piped(outlet, this.state)
            }
        };
        *this.fresh = false;
        if this.inlet.is_none() && this.input.has_begun() {
            // The next head, or a part of it.
            this.state.read_ahead();
        }
        let running = Running {
            state: this.state.clone(),
            context: this.common.clone(),
            exchange,
            stream: None,
            answered: false,
            head: method == Method::HEAD,
        };
        let call = this.stack.call(stage::Asked { request: request.map(|()| upload), exchange: asking });
        // The route is known by now, and with it how slowly its answers may be taken.
        let own = service::own_send_limits(&running);
        if own.is_some() || *this.held_to_route {
            *this.held_to_route = own.is_some();
            this.state.hold_to(own);
        }
        this.call.set(Some(call));
        *this.asked = Some(Asked { method, version, number, running });
    }

    /// Waits for the layers.
    fn serve(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        let this = self.as_mut().project();
        let Some(call) = this.call.as_pin_mut() else { return ON };
        match call.poll(cx) {
            Poll::Ready(Ok(response)) => {
                self.as_mut().project().call.set(None);
                self.begin_answer(response, cx);
                return ON;
            }
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => {}
        }
        if self.as_mut().pump(cx) {
            return ON;
        }
        // The word to go on with a body.
        let this = self.project();
        match this.output.poll_flush(*this.io, this.state, cx) {
            Poll::Ready(Err(_)) => left(Event::Failed),
            _ => Poll::Pending,
        }
    }

    /// Reads on in a body that somebody waits for; whether anything came of it.
    fn pump(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let Some(inlet) = this.inlet.as_ref().filter(|inlet| inlet.is_wanted(cx)) else { return false };
        if std::mem::take(this.expects) {
            this.output.write(|flat| flat.extend_from_slice(CONTINUE));
        }
        loop {
            match this.input.hand_over(this.reading, inlet, cx) {
                Handed::Nothing => {}
                Handed::Piece => return true,
                Handed::Last => break,
            }
            let large = !matches!(this.reading, Reading::Length(left) if *left < LARGE);
            match this.input.poll_read(*this.io, large, cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    inlet.end(Err(Broken::Incomplete), cx);
                    break;
                }
            }
        }
        *this.inlet = None;
        if this.input.has_begun() {
            // The next head, or a part of it.
            this.state.read_ahead();
        }
        true
    }
}

/// Another step can be made.
const ON: Step = Poll::Ready(None);

fn left(why: Event) -> Step {
    Poll::Ready(Some(why))
}

/// What came is over the size of a head.
fn too_large(unread: &[u8], common: &Common) -> Refusal {
    let head = &common.limits.head;
    if memchr::memchr(b'\n', unread).is_none() {
        head.url_too_long.clone()
    } else {
        head.fields_too_large.clone()
    }
}

/// What came is no request.
fn refusal(fault: Fault, unread: &[u8], common: &Common) -> Refusal {
    let head = &common.limits.head;
    match fault {
        Fault::TargetTooLong => head.url_too_long.clone(),
        Fault::TooManyFields if unread.len() <= head.fields_size => head.too_many_fields.clone(),
        Fault::TooManyFields => head.fields_too_large.clone(),
        Fault::Ambiguous => {
            Refusal::new(Reason::AmbiguousFraming, "the request's length can be read in more than one way")
        }
        Fault::Malformed => Refusal::new(Reason::MalformedRequest, "the request head is not HTTP/1.1"),
    }
}
