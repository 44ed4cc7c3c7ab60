//! HTTP/1.1 as it is on the wire, read strictly: for an upstream that takes nothing crooked from a
//! proxy, and for a client that takes nothing crooked from a server.
//!
//! Text is Latin-1 here, a character for a byte: what is no UTF-8 comes through unchanged.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::http1::End;

/// Field lines in order, with their names as they came.
pub(crate) type Fields = Vec<(String, String)>;

/// A line longer than this is taken for an attack on the reader.
const LONGEST_LINE: usize = 4 << 20;
const READ: usize = 64 << 10;

/// Why a message could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection ended, or nothing came for as long as the reader waits.
    Ended(End),
    /// What came is no HTTP/1.1.
    Syntax(String),
    /// An HTTP/2 stream was reset with this code.
    Reset(u32),
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// By its length.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

fn wrong<T>(what: &str, bytes: &[u8]) -> Result<T, Broken> {
    let shown: String = latin1(bytes).chars().take(120).collect();
    Err(Broken::Syntax(format!("{what}: {shown:?}")))
}

/// The characters of bytes.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes of characters.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("Latin-1")).collect()
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(known)
}

/// The values of a field, in order.
pub(crate) fn values<'a>(fields: &'a Fields, name: &str) -> Vec<&'a str> {
    let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
    fields.iter().filter(same).map(|(_, value)| value.as_str()).collect()
}

/// The framing that fields announce: one way to read it, or none.
pub(crate) fn framing(fields: &Fields, otherwise: Framing) -> Result<Framing, Broken> {
    let lengths = values(fields, "content-length");
    let codings = values(fields, "transfer-encoding");
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(otherwise),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|error| Broken::Syntax(error.to_string()))
        }
        _ => Err(Broken::Syntax(format!("framed by lengths {lengths:?} and codings {codings:?}"))),
    }
}

/// One connection, read strictly.
pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
    at: usize,
}

impl Wire {
    /// Around a socket that others may hold too, to end it.
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(super::PATIENCE));
        let wire = Self { stream, buffer: Vec::new(), at: 0 };
        wire.wait(super::PATIENCE);
        wire
    }

    /// How long each read waits.
    pub(crate) fn wait(&self, time: Duration) {
        let _ = self.stream.set_read_timeout(Some(time.max(Duration::from_millis(1))));
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Sends all of it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        (&*self.stream).write_all(bytes)
    }

    /// What has come and is not read.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Waits for further bytes.
    pub(crate) fn fill(&mut self) -> Result<(), Broken> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + READ, 0);
        let read = loop {
            match (&*self.stream).read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(Broken::Ended(End::Fin)),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Broken::Ended(End::Open))
            }
            Err(_) => Err(Broken::Ended(End::Reset)),
        }
    }

    /// A line without its end, which must be CR LF.
    pub(crate) fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut looked = 0;
        let end = loop {
            match self.pending()[looked..].iter().position(|byte| *byte == b'\n') {
                Some(end) => break looked + end,
                None => looked = self.pending().len(),
            }
            if looked > LONGEST_LINE {
                return wrong("a line without end", self.pending());
            }
            self.fill()?;
        };
        let line = self.pending()[..end].to_vec();
        self.at += end + 1;
        match line.split_last() {
            Some((b'\r', line)) if !line.contains(&b'\r') => Ok(line.to_vec()),
            _ => wrong("a line that does not end in CR LF", &line),
        }
    }

    /// Hands out the next `count` bytes, in parts.
    fn take(&mut self, count: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        let mut left = count;
        while left > 0 {
            if self.pending().is_empty() {
                self.fill()?;
            }
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(self.pending().len());
            sink(&self.buffer[self.at..self.at + part]);
            self.at += part;
            left -= part as u64;
        }
        Ok(())
    }

    /// The next `count` bytes; nothing where the connection ends before.
    pub(crate) fn bytes(&mut self, count: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(count, &mut |part| bytes.extend_from_slice(part)).ok()?;
        Some(bytes)
    }

    /// Field lines up to the empty one.
    pub(crate) fn fields(&mut self) -> Result<Fields, Broken> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return wrong("a field line without a colon", &line);
            };
            let value = line[colon + 1..].trim_ascii();
            let fine = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
            if !is_token(&line[..colon]) || !value.iter().all(fine) {
                return wrong("a crooked field line", &line);
            }
            fields.push((latin1(&line[..colon]), latin1(value)));
        }
    }

    /// A body of this framing, and its trailers.
    pub(crate) fn body(&mut self, framing: Framing, sink: &mut dyn FnMut(&[u8])) -> Result<Fields, Broken> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => self.take(length, sink)?,
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
                    return wrong("a chunk size", &line);
                }
                let size = u64::from_str_radix(&latin1(size), 16).expect("hexadecimal digits");
                if size == 0 {
                    return self.fields();
                }
                self.take(size, sink)?;
                if !self.line()?.is_empty() {
                    return wrong("no line end after a chunk", self.pending());
                }
            },
            Framing::Close => loop {
                let count = self.pending().len();
                self.take(count as u64, sink)?;
                match self.fill() {
                    Ok(()) => {}
                    Err(Broken::Ended(End::Fin)) => break,
                    Err(broken) => return Err(broken),
                }
            },
        }
        Ok(Vec::new())
    }

    /// Says that nothing more will be sent, and reads until the other side says so too.
    pub(crate) fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.drain();
    }

    /// Reads until the connection ends, and forgets what came.
    pub(crate) fn drain(&mut self) -> End {
        loop {
            self.at = self.buffer.len();
            if let Err(Broken::Ended(end)) = self.fill() {
                return end;
            }
        }
    }
}
