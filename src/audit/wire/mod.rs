//! A raw connection: bytes out, bytes in, and how it ended.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::target::Spent;

pub(super) mod hpack;
pub(super) mod http1;
pub(super) mod http2;
mod tls;

pub(super) use tls::Socket;

const READ: usize = 64 << 10;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
    /// By us: all that a case may read has been read.
    Enough,
}

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// All of it was taken.
    All,
    /// The connection ended before.
    Ended,
    /// The other side takes no more.
    Stalled,
    /// The case may send no more.
    Spent,
}

/// One connection.
pub(super) struct Conn {
    stream: Socket,
    spent: Arc<Spent>,
    /// What has come and was not taken.
    pub(super) buffer: Vec<u8>,
    /// How it ended.
    pub(super) end: Option<End>,
    /// Whether the other side has met bytes of ours with a reset.
    pub(super) broken: bool,
    /// Bytes sent.
    pub(super) sent: u64,
    /// Bytes received.
    pub(super) received: u64,
    /// When it was opened.
    pub(super) opened: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Conn {
    pub(super) fn new(stream: Socket, spent: Arc<Spent>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            spent,
            buffer: Vec::new(),
            end: None,
            broken: false,
            sent: 0,
            received: 0,
            opened: Instant::now(),
            _permit: permit,
        }
    }

    /// Sends bytes and takes in what comes meanwhile, until nothing has moved for `stall`.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>, stall: Duration) -> Sent {
        self.transfer(bytes.as_ref(), stall, true).await
    }

    /// Sends bytes and reads nothing.
    pub(super) async fn send_blind(&mut self, bytes: impl AsRef<[u8]>, stall: Duration) -> Sent {
        self.transfer(bytes.as_ref(), stall, false).await
    }

    async fn transfer(&mut self, mut rest: &[u8], stall: Duration, reading: bool) -> Sent {
        let mut deadline = Instant::now() + stall;
        while !rest.is_empty() {
            if self.end.is_some() {
                return Sent::Ended;
            }
            let interest = if reading { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
            let ready = match timeout_at(deadline, self.stream.ready(interest)).await {
                Ok(Ok(ready)) => ready,
                Ok(Err(_)) => return self.broken(),
                Err(_) => return Sent::Stalled,
            };
            if reading && ready.is_readable() && !self.take_in() && self.end.is_some() {
                return Sent::Ended;
            }
            if ready.is_writable() {
                let granted = self.spent.send(rest.len());
                let Some(part) = rest.get(..granted).filter(|part| !part.is_empty()) else {
                    return Sent::Spent;
                };
                let written = self.stream.try_write(part);
                let count = *written.as_ref().unwrap_or(&0);
                self.spent.unsent(granted - count);
                match written {
                    Ok(_) => deadline = Instant::now() + stall,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return self.broken(),
                }
                self.sent += count as u64;
                rest = rest.get(count..).unwrap_or_default();
            }
        }
        Sent::All
    }

    /// A write failed: what came before is still to be read.
    fn broken(&mut self) -> Sent {
        self.broken = true;
        Sent::Ended
    }

    /// Reads what is there; false where nothing came.
    fn take_in(&mut self) -> bool {
        let granted = self.spent.read(READ);
        if granted == 0 {
            self.end = Some(End::Enough);
            return false;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + granted, 0);
        let read = self.stream.try_read(self.buffer.get_mut(length..).unwrap_or_default());
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(length + count);
        self.spent.unread(granted - count);
        self.received += count as u64;
        match read {
            // A reset that a write has met is shown to the reader as an end in order.
            Ok(0) => self.end = Some(if self.broken { End::Reset } else { End::Closed }),
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Reset),
        }
        false
    }

    /// Waits for further bytes until `deadline`; false where none came, and `end` says whether any will.
    pub(super) async fn fill(&mut self, deadline: Instant) -> bool {
        while self.end.is_none() {
            match timeout_at(deadline, self.stream.readable()).await {
                Ok(Ok(())) => {
                    if self.take_in() {
                        return true;
                    }
                }
                Ok(Err(_)) => self.end = Some(End::Reset),
                Err(_) => return false,
            }
        }
        false
    }

    /// Notes the status of an answer.
    pub(super) fn answered(&self, status: u16) {
        self.spent.answered(status);
    }

    /// Takes `count` bytes off what has come.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Waits until the connection ends, and forgets what comes.
    pub(super) async fn drain(&mut self, deadline: Instant) -> Option<End> {
        while self.fill(deadline).await {
            self.buffer.clear();
        }
        self.end
    }

    /// Reads a few bytes, and forgets them.
    pub(super) fn sip(&mut self) {
        let mut few = [0; 16];
        match self.stream.try_sip(&mut few) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.received += count as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Reset),
        }
    }

    /// Whether the other side has reset it, without reading.
    pub(super) fn was_reset(&self) -> bool {
        self.broken || matches!(self.stream.tcp().take_error(), Ok(Some(_)) | Err(_))
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        self.stream.finish();
    }
}
