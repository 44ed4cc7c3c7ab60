//! A server that bounds nothing and refuses nothing, to be found wanting.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{weak_http1, weak_http2};

/// In which way it is weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    /// Reads whatever comes in some way, over HTTP/1 and HTTP/2, and waits for ever.
    Lenient,
    /// Forgets what has come behind a request.
    Forgetful,
    /// Serves one connection after the other.
    Serial,
    /// Answers on four connections and never again.
    Mortal,
}

/// What answers have for a body.
pub(super) const BODY: usize = 64 << 10;

/// A running one.
pub(super) struct Weak {
    pub(super) address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Weak {
    pub(super) fn start(weakness: Weakness) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { continue };
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.set_nodelay(true);
                if weakness == Weakness::Mortal && number >= 4 {
                    silent.push(stream);
                } else if weakness == Weakness::Serial {
                    serve(stream, weakness);
                } else {
                    std::thread::spawn(move || serve(stream, weakness));
                }
            }
        });
        Self { address, stopping }
    }
}

impl Drop for Weak {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Tells the protocol by the first byte's look, and serves to the end.
fn serve(stream: TcpStream, weakness: Weakness) {
    let mut reader = Reader { stream, buffer: Vec::new() };
    while reader.buffer.len() < 5 && !reader.buffer.starts_with(b"\r\n") {
        if !reader.fill() {
            return;
        }
    }
    if reader.buffer.starts_with(b"PRI *") {
        weak_http2::serve(reader);
    } else {
        weak_http1::serve(reader, weakness);
    }
}

/// Bytes as they come.
pub(super) struct Reader {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
}

impl Reader {
    /// Waits for more; false at the end.
    pub(super) fn fill(&mut self) -> bool {
        let mut part = vec![0; 64 << 10];
        match self.stream.read(&mut part) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                true
            }
        }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Passes `count` bytes over, without keeping them.
    pub(super) fn skip(&mut self, count: u64) -> Option<()> {
        let mut left = count;
        while left > 0 {
            if self.buffer.is_empty() && !self.fill() {
                return None;
            }
            let part = left.min(self.buffer.len() as u64);
            self.buffer.drain(..part as usize);
            left -= part;
        }
        Some(())
    }

    /// A line that ends in LF, or in CR alone, without its end.
    pub(super) fn line(&mut self) -> Option<String> {
        let mut looked = 0;
        loop {
            // What follows a CR decides whether it ends a line by itself.
            let end = self.buffer[looked..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            match end.map(|end| looked + end) {
                Some(end) if self.buffer[end] == b'\n' || self.buffer.len() > end + 1 => {
                    let both = self.buffer[end] == b'\r' && self.buffer[end + 1] == b'\n';
                    let line = self.buffer[..end].iter().map(|byte| char::from(*byte)).collect();
                    self.buffer.drain(..end + 1 + usize::from(both));
                    return Some(line);
                }
                found => looked = found.unwrap_or(self.buffer.len()),
            }
            if !self.fill() {
                return None;
            }
        }
    }
}
