//! Hands spans to a collector: OTLP over HTTP or gRPC, in batches, beside the requests.
//!
//! One task takes what [`Spans`] holds, a batch at a time. A collector that is slow, gone or hostile costs the
//! spans that find no place meanwhile, which are counted, and nothing else: each attempt has a deadline, an
//! answer has a bound, and after a few attempts a batch is given up. A request never waits for any of it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::dial::Dialer;
use crate::outcall::{Caller, Origin, Speak, Url};
use crate::random;
use crate::trace::{Lost, Spans};

mod encode;
mod send;
#[cfg(test)]
mod tests;

pub use encode::Service;
use send::{Outcome, Parcel};

/// Attempts to hand over one batch.
const ATTEMPTS: u32 = 5;
/// Before the second; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What is spoken with the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OTLP/HTTP: one POST for each batch.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

impl Wire {
    /// What TLS is to offer.
    pub fn speaks(self) -> Speak {
        match self {
            Self::Http => Speak::Either,
            Self::Grpc => Speak::Http2,
        }
    }
}

/// Where spans go, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collector.
    pub url: Url,
    /// What it is spoken to in.
    pub wire: Wire,
    /// Whom it has to be, where the URL asks for TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// What it is sent besides. Secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one attempt.
    pub timeout: Duration,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// Longest time that a span waits for its batch.
    pub delay: Duration,
    /// Who says it all.
    pub service: Service,
}

/// An exporter at work.
#[derive(Debug)]
pub struct Exporter {
    spans: Arc<Spans>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Exports what `spans` holds from now on. Must be called within a Tokio runtime.
    pub fn start(options: Options, spans: Arc<Spans>, dialer: Dialer) -> Self {
        let (stop, stopped) = watch::channel(false);
        let origin = Origin {
            host: options.url.host.clone(),
            port: options.url.port,
            tls: options.tls.clone().filter(|_| options.url.tls),
            speak: options.wire.speaks(),
        };
        let caller = Caller::new(dialer, origin);
        let work = Work { options, spans: spans.clone(), caller, stopped, fails: false };
        Self { spans, stop, task: tokio::spawn(work.run()) }
    }

    /// Exports what is left, within `time`; what is still left then is dropped and counted.
    pub async fn finish(mut self, time: Duration) {
        self.stop.send_replace(true);
        if timeout(time, &mut self.task).await.is_err() {
            self.task.abort();
            // What it had in hand is counted by the one who had it.
            let _ = (&mut self.task).await;
        }
        self.spans.close();
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work {
    options: Options,
    spans: Arc<Spans>,
    caller: Caller,
    stopped: watch::Receiver<bool>,
    /// The last batch could not be handed over.
    fails: bool,
}

/// Spans in the hands of the exporter; lost, unless somebody says what has become of them.
struct InHand<'a> {
    spans: &'a Spans,
    count: usize,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.spans.lose(Lost::Shutdown, self.count);
    }
}

impl Work {
    async fn run(mut self) {
        loop {
            let mut stopped = self.stopped.clone();
            let stops = tokio::select! {
                () = self.spans.filled() => false,
                () = sleep(self.options.delay) => false,
                _ = stopped.wait_for(|stop| *stop) => true,
            };
            loop {
                let batch = self.spans.take();
                if batch.is_empty() {
                    break;
                }
                self.hand_over(batch).await;
            }
            if stops {
                return;
            }
        }
    }

    /// Sends one batch, as often as it takes and may take.
    async fn hand_over(&mut self, batch: Vec<crate::trace::span::Span>) {
        let spans = self.spans.clone();
        let mut hand = InHand { spans: &spans, count: batch.len() };
        let message = encode::encode(&self.options.service, batch).await;
        let Some(parcel) = Parcel::new(&self.options, &message) else {
            self.lost(&mut hand, "the batch is too large");
            return;
        };
        drop(message);
        let mut attempt = 1;
        loop {
            let (why, after) = match parcel.send(&self.caller, &self.options).await {
                Outcome::Taken { rejected } => {
                    let rejected = rejected.min(hand.count);
                    self.taken(&mut hand, rejected);
                    return;
                }
                Outcome::Later { why, after } => (why, after),
                Outcome::Refused { why } => {
                    self.spans.export_failed();
                    self.lost(&mut hand, &why);
                    return;
                }
            };
            self.spans.export_failed();
            if attempt == ATTEMPTS || *self.stopped.borrow() {
                self.lost(&mut hand, &why);
                return;
            }
            self.say(&why);
            let wait = (FIRST_WAIT * 2u32.saturating_pow(attempt - 1)).mul_f64(0.5 + random::fraction());
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = sleep(wait.max(after.unwrap_or_default()).min(LONGEST_WAIT)) => {}
                // The last chance is taken at once.
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            attempt += 1;
        }
    }

    fn taken(&mut self, hand: &mut InHand<'_>, rejected: usize) {
        self.spans.exported(hand.count - rejected);
        self.spans.lose(Lost::Rejected, rejected);
        hand.count = 0;
        if std::mem::take(&mut self.fails) {
            tracing::info!("the collector takes traces again");
        }
    }

    fn lost(&mut self, hand: &mut InHand<'_>, why: &str) {
        self.spans.lose(Lost::ExportFailed, hand.count);
        hand.count = 0;
        self.say(why);
    }

    /// Says what is wrong, once for as long as it stays wrong.
    fn say(&mut self, why: &str) {
        if !std::mem::replace(&mut self.fails, true) {
            let url = &self.options.url;
            let collector = format!("{}:{}", url.host, url.port);
            tracing::warn!(%collector, "traces cannot be handed over: {why}");
        }
    }
}
