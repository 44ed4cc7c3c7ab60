//! Writing the answer: its head, what there is room for of its body, and the end of its request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, SizeHint};
use tokio::time::Instant;

use super::{Conn, Event, ON, Step, left};
use crate::body::file::FilePart;
use crate::net::date;
use crate::net::http1::pipe::Inlet;
use crate::net::http1::response::{self, Answer, Framing, NotWhole};
use crate::net::service::Stack;
use crate::net::transport::Transport;

/// Bytes of an answer that wait for the socket before no more are asked for.
const ENOUGH: usize = 32 * 1024;
/// An answer up to this size is over once it is known to its end. A longer one is when its last byte has left:
/// until then it can be taken back, and counts as being served.
const AT_ONCE: u64 = 2 * 1024;
/// Bytes of an answer that are sent in a turn, or a few more: a client that takes all at once has others served in
/// between.
const TURN: u64 = 512 * 1024;
/// A map of fields with room for more than this is not kept for the next request.
const FIELDS: usize = 64;

impl<T: Transport, S: Stack> Conn<'_, T, S> {
    /// Begins to write an answer.
    pub(super) fn begin_answer(self: Pin<&mut Self>, response: Response<S::Body>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let Some(asked) = this.asked.as_mut() else { return };
        this.state.answer_begins();
        // SECURITY: a client that waits for a word before it sends takes this answer for it. The word itself
        // would be read as a part of the answer from here on.
        let awaits_word = std::mem::take(this.expects);
        if !this.reading.is_over() && this.inlet.as_ref().is_none_or(Inlet::is_given_up) {
            // What is here of a body that nobody wants is thrown away; where more would come, nothing can
            // follow it.
            this.input.discard(this.reading);
            let comes = !this.reading.is_over() && this.inlet.is_some() && !awaits_word;
            if comes && matches!(this.input.poll_read(*this.io, false, cx), Poll::Ready(Ok(1..))) {
                this.input.discard(this.reading);
            }
            *this.keep &= this.reading.is_over();
            if this.reading.is_over() && this.input.has_begun() {
                // The next head, or a part of it, which has come now.
                this.state.read_ahead();
            }
        }
        // It may send its body or not, and nobody can tell that from the next request.
        *this.keep &= !awaits_word || this.reading.is_over();
        let (mut parts, body) = response.into_parts();
        let size = if body.is_end_stream() { SizeHint::with_exact(0) } else { body.size_hint() };
        let answer = Answer {
            status: parts.status,
            fields: &parts.headers,
            beside: asked.running.exchange.beside(),
            size,
            method: &asked.method,
            version: asked.version,
            // There is no change of protocol on this way.
            keep: *this.keep && !asked.running.is_last(asked.number) && !parts.status.is_informational(),
        };
        let mut written = (Framing::Without, false);
        let now = Instant::now();
        *this.now = Some(now);
        let date = |text: &mut Vec<u8>| date::write(now, text);
        this.output.write(|flat| written = response::write(&answer, date, flat));
        (*this.framing, *this.keep) = written;
        *this.answered = 0;
        *this.trailers = match this.framing {
            Framing::Chunked => response::named_trailers(&parts.headers),
            _ => Vec::new(),
        };
        *this.over = matches!(this.framing, Framing::Without | Framing::Length(0));
        if T::SENDS_FILES
            && let Some(part) = parts.extensions.remove::<Arc<FilePart>>()
            && *this.framing == Framing::Length(part.size)
        {
            this.output.take(part);
        }
        this.body.set(Some(body));
        let mut fields = parts.headers;
        if fields.capacity() <= FIELDS {
            fields.clear();
            *this.fields = fields;
        }
    }

    /// Writes an answer.
    pub(super) fn answer(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        let waits = self.as_mut().fill(cx);
        let mut this = self.as_mut().project();
        if *this.over && !*this.broken && *this.answered <= AT_ONCE {
            self.as_mut().end();
            this = self.as_mut().project();
        }
        let Poll::Ready(flushed) = this.output.poll_flush(*this.io, this.state, cx) else {
            // Its request may still be read while the client takes no more.
            return if !waits && self.pump(cx) { ON } else { Poll::Pending };
        };
        if let Err(error) = flushed {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return left(Event::Failed);
            }
            // A file that was to be sent is shorter now.
            *this.broken = true;
        }
        if *this.broken {
            return left(Event::BrokenOff { unframed: *this.framing == Framing::Close });
        }
        if *this.over {
            if this.asked.is_some() {
                self.as_mut().end();
                this = self.as_mut().project();
                this.state.flushed();
            }
            return if this.asked.is_none() || self.read_on(cx) { ON } else { Poll::Pending };
        }
        if this.state.sent_bytes() - *this.sent_before >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if waits { Poll::Pending } else { ON }
    }

    /// Takes from the body what there is room for; whether more of it is waited for.
    fn fill(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        loop {
            let mut this = self.as_mut().project();
            if *this.over || this.output.len() >= ENOUGH {
                return false;
            }
            let Some(mut body) = this.body.as_mut().as_pin_mut() else { return false };
            let frame = body.as_mut().poll_frame(cx);
            let last = body.is_end_stream();
            let Poll::Ready(frame) = frame else {
                if self.as_mut().pump(cx) {
                    continue;
                }
                return true;
            };
            let whole = match frame {
                Some(Ok(frame)) => {
                    *this.answered += frame.data_ref().map_or(0, Bytes::len) as u64;
                    match this.framing.put(frame, this.output, this.trailers) {
                        Ok(false) if last => this.framing.end(this.output),
                        Ok(false) => continue,
                        Ok(true) => Ok(()),
                        Err(not_whole) => Err(not_whole),
                    }
                }
                None => this.framing.end(this.output),
                Some(Err(_)) => Err(NotWhole),
            };
            (*this.over, *this.broken) = (true, whole.is_err());
            return false;
        }
    }

    /// Reads on behind a whole answer; whether anything came of it, were it that nobody reads any more.
    fn read_on(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        self.as_mut().pump(cx) || self.inlet.as_ref().is_none_or(|inlet| inlet.poll_given_up(cx))
    }

    /// The answer is over, and with it the request, unless a task that the handler left behind reads it.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(asked) = this.asked.as_mut() {
            asked.running.answered = true;
            if let Some(now) = *this.now {
                asked.running.exchange.ends(now);
            }
        }
        let at_once = this.body.is_some();
        this.body.set(None);
        // Where its end is that of the connection, the answer is not over before.
        let is_read = this.inlet.as_ref().is_some_and(|inlet| !inlet.is_given_up());
        if is_read && !this.reading.is_over() && *this.framing != Framing::Close {
            return;
        }
        *this.asked = None;
        *this.inlet = None;
        if !at_once {
            this.state.idles();
        }
        // Of its body more may come, unless the connection has thrown it away.
        this.state.leaves_body(!this.reading.is_over());
    }
}
