//! Signals of the operating system, as events that a task can await.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// A signal that the server acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain, with the delay.
    Terminate,
    /// SIGINT: drain at once.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
}

impl Signal {
    /// Its name, for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// SIGTERM, SIGINT and SIGHUP, taken over but not yet told to anybody: they wait. It needs no thread,
/// so that there is one process-wide moment at which none runs (see [`crate::sandbox`]).
#[derive(Debug)]
pub struct HeldSignals(Signals);

/// Signals that came, in order. Once this exists, none of them ends the process by itself.
#[derive(Debug)]
pub struct SignalStream {
    receiver: mpsc::Receiver<Signal>,
    handle: signal_hook::iterator::Handle,
}

impl HeldSignals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The system refused a handler.
    pub fn take() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Self)
    }

    /// Tells them, those that came before first.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn stream(self) -> io::Result<SignalStream> {
        let mut signals = self.0;
        let handle = signals.handle();
        // A person who holds Ctrl-C down fills this; what does not fit repeats what is in it.
        let (sender, receiver) = mpsc::channel(16);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let signal = match signal {
                    SIGTERM => Signal::Terminate,
                    SIGINT => Signal::Interrupt,
                    _ => Signal::Hangup,
                };
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(signal) {
                    break;
                }
            }
        })?;
        Ok(SignalStream { receiver, handle })
    }
}

impl SignalStream {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The system refused a handler or a thread.
    pub fn install() -> io::Result<Self> {
        HeldSignals::take()?.stream()
    }

    /// The next signal. Never resolves once the process cannot receive any.
    pub async fn next(&mut self) -> Signal {
        match self.receiver.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

impl Drop for SignalStream {
    fn drop(&mut self) {
        self.handle.close();
    }
}
