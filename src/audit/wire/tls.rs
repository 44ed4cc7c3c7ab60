//! The socket of a raw connection, with TLS or without. Within TLS no byte is sent before the one ahead of it
//! has left, and none is read before it is asked for, as far as records allow.

use std::io::{self, ErrorKind, Read, Write};

use rustls::ClientConnection;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Bytes that are read of the socket at a time.
const READ: usize = 16 << 10;
/// Bytes of one record that is sent.
const RECORD: usize = 4 << 10;

/// A socket.
pub(in crate::audit) enum Socket {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// One within TLS.
pub(in crate::audit) struct Tls {
    tcp: TcpStream,
    tls: ClientConnection,
    /// What was decrypted and not taken.
    plain: Vec<u8>,
    /// The other side sends nothing more.
    over: bool,
}

impl Socket {
    /// After its handshake.
    pub(in crate::audit) fn within(stream: TlsStream<TcpStream>) -> io::Result<Self> {
        let (tcp, tls) = stream.into_inner();
        let mut tls = Tls { tcp, tls, plain: Vec::new(), over: false };
        tls.decrypt()?;
        Ok(Self::Tls(Box::new(tls)))
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tls(tls) if interest.is_readable() && !tls.plain.is_empty() => Ok(Ready::READABLE),
            _ => self.tcp().ready(interest).await,
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(into),
            Self::Tls(tls) => {
                while tls.plain.is_empty() && !tls.over {
                    tls.pull(READ)?;
                }
                Ok(tls.give(into))
            }
        }
    }

    /// The same, and no more of the socket than there is room for.
    pub(super) fn try_sip(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(into),
            Self::Tls(tls) => {
                tls.pull(into.len())?;
                match tls.give(into) {
                    0 if !tls.over => Err(ErrorKind::WouldBlock.into()),
                    count => Ok(count),
                }
            }
        }
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => {
                tls.push()?;
                if tls.tls.wants_write() {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let part = bytes.get(..RECORD).unwrap_or(bytes);
                let count = tls.tls.writer().write(part)?;
                tls.push()?;
                Ok(count)
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.tls.send_close_notify();
            let _ = tls.push();
        }
        let _ = rustix::net::shutdown(self.tcp(), rustix::net::Shutdown::Write);
    }
}

impl Tls {
    /// Reads of the socket what is there, up to so much, and decrypts it.
    fn pull(&mut self, most: usize) -> io::Result<()> {
        let mut bytes = vec![0; most];
        let count = self.tcp.try_read(&mut bytes)?;
        self.over |= count == 0;
        let mut rest = bytes.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest)?;
            self.decrypt()?;
        }
        self.push()
    }

    fn decrypt(&mut self) -> io::Result<()> {
        let state =
            self.tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        self.over |= state.peer_has_closed();
        let (before, count) = (self.plain.len(), state.plaintext_bytes_to_read());
        self.plain.resize(before + count, 0);
        match self.plain.get_mut(before..) {
            Some(room) if count > 0 => self.tls.reader().read_exact(room),
            _ => Ok(()),
        }
    }

    /// Sends what was encrypted, as far as it goes.
    fn push(&mut self) -> io::Result<()> {
        struct Out<'a>(&'a TcpStream);
        impl Write for Out<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.try_write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Out(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn give(&mut self, into: &mut [u8]) -> usize {
        let count = self.plain.len().min(into.len());
        for (to, from) in into.iter_mut().zip(self.plain.drain(..count)) {
            *to = from;
        }
        count
    }
}
