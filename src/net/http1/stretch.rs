//! A part of a file on its way to the socket: sent by the system where that takes no disk, read by a thread where it does.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::Errno;

use crate::body::file::{FilePart, FileReader, Moment};
use crate::net::transport::Transport;

/// So many bytes of a file that nobody has read.
#[derive(Debug)]
pub(super) struct Stretch {
    part: Arc<FilePart>,
    reader: FileReader,
    at: u64,
    left: usize,
    /// When the kernel was seen to have them in memory.
    seen: Option<Moment>,
}

/// What became of a stretch.
pub(super) enum Sent {
    /// So many bytes of it have left.
    Some(usize),
    /// These had to be read.
    Read(Bytes),
}

impl Stretch {
    pub(super) fn new(part: Arc<FilePart>, at: u64, size: usize) -> Self {
        Self { reader: FileReader::new(part.file.clone()), part, at, left: size, seen: None }
    }

    /// Bytes that have not left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether it is being read.
    pub(super) fn waits(&self) -> bool {
        self.reader.waits()
    }

    /// So many of them have left, or have been read.
    pub(super) fn advance(&mut self, sent: usize) {
        self.at += sent as u64;
        self.left = self.left.saturating_sub(sent);
    }

    /// Whether that takes no disk.
    fn is_in_memory(&mut self) -> bool {
        let now = Moment::now();
        if self.seen == Some(now) || self.part.was_seen(self.at, self.left, now) {
            self.seen = Some(now);
        } else if self.reader.is_in_memory(self.at, self.left) {
            self.part.note_seen(self.at, self.left, now);
            self.seen = Some(now);
        } else {
            self.seen = None;
        }
        self.seen.is_some()
    }

    /// Has it sent, if that takes no disk; else has it read.
    pub(super) fn poll_send<T: Transport>(&mut self, io: &T, cx: &mut Context<'_>) -> Poll<io::Result<Sent>> {
        if !self.waits() && self.is_in_memory() {
            match ready!(io.poll_send_file(self.reader.file(), self.at, self.left, cx)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => return Poll::Ready(Ok(Sent::Some(sent))),
                Err(error) if cannot(&error) => self.part.give_back(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let read = ready!(self.reader.poll_read_elsewhere(self.at, self.left, cx))?;
        if read.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(Sent::Read(read)))
    }
}

/// The system has no way to send this file: its file system may not, or a sandbox may be older.
fn cannot(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::fs::{Advice, fadvise};
    use rustix::io::{ReadWriteFlags, preadv2};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::output::Output;
    use super::*;
    use crate::body::file::{FileId, PIECE};
    use crate::net::admission::Permits;
    use crate::net::registry::Registry;
    use crate::net::send_watch::UNSENT_LOW_WATER;
    use crate::net::state::ConnState;

    fn state() -> Arc<ConnState> {
        Registry::default().enter(|entry| ConnState::new(([127, 0, 0, 1], 1).into(), Permits::none(), entry))
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size / 4 + 1).flat_map(|number| u32::try_from(number).unwrap().to_le_bytes()).take(size).collect()
    }

    /// A file of this, which only its descriptor is left of.
    fn file(name: &str, content: &[u8]) -> Arc<File> {
        let path = std::env::temp_dir().join(format!("nessen-stretch-{}-{name}", std::process::id()));
        let mut file =
            File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        file.write_all(content).unwrap();
        std::fs::remove_file(&path).unwrap();
        Arc::new(file)
    }

    /// An inode may be that of a file which another test saw a moment ago.
    fn unseen() -> FileId {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        (0, NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let near = listener.accept().await.unwrap().0;
        // As the listener does it.
        socket2::SockRef::from(&near).set_tcp_notsent_lowat(UNSENT_LOW_WATER).unwrap();
        (near, far)
    }

    /// The part from 5 on, between a head and a tail.
    fn output(file: &Arc<File>, size: usize) -> Output {
        let part = Arc::new(FilePart::new(file.clone(), unseen(), 5, size as u64));
        let mut output = Output::default();
        output.write(|flat| flat.extend_from_slice(b"head"));
        output.take(part);
        for begin in (0..size).step_by(PIECE) {
            output.push(FilePart::stand_in((size - begin).min(PIECE)));
        }
        output.write(|flat| flat.extend_from_slice(b"tail"));
        assert_eq!(output.len(), size + 8);
        output
    }

    async fn flush<T: Transport>(output: &mut Output, io: &mut T, state: &ConnState) -> io::Result<()> {
        poll_fn(|cx| output.poll_flush(io, state, cx)).await
    }

    #[tokio::test]
    async fn a_file_is_sent_in_its_place() {
        let (size, state) = (3 * PIECE + 77, state());
        let content = content(size + 100);
        let file = file("place", &content);
        let (mut near, mut far) = sockets().await;
        let reads = tokio::spawn(async move {
            let mut read = Vec::new();
            while far.read_buf(&mut read).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
            read
        });
        let mut output = output(&file, size);
        flush(&mut output, &mut near, &state).await.unwrap();
        assert_eq!((output.len(), state.sent_bytes()), (0, size as u64 + 8));
        drop(near);
        assert!(reads.await.unwrap() == [b"head", &content[5..5 + size], b"tail"].concat());
    }

    #[tokio::test]
    async fn where_no_file_can_be_sent_it_is_read() {
        let (size, state) = (PIECE + 77, state());
        let content = content(size + 100);
        let file = file("unable", &content);
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut output = output(&file, size);
        flush(&mut output, &mut near, &state).await.unwrap();
        drop(near);
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert!(read == [b"head", &content[5..5 + size], b"tail"].concat());
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error_and_no_end() {
        let (size, state) = (PIECE, state());
        for there in [0, 5, 6, 20_000, size + 4] {
            let file = file("early", &content(size + 5));
            let (mut near, _far) = sockets().await;
            let mut output = output(&file, size);
            file.set_len(there as u64).unwrap();
            let error = flush(&mut output, &mut near, &state).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{there}");
            assert_eq!(output.len(), size + 4 - there.saturating_sub(5), "{there}");
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_noted() {
        // More than the buffers of both sockets hold.
        let (size, state) = (8 << 20, state());
        let file = file("blocked", &content(size + 5));
        let (mut near, far) = sockets().await;
        let mut output = output(&file, size);
        while state.blocked_since().is_none() {
            let flushed = poll_fn(|cx| Poll::Ready(output.poll_flush(&mut near, &state, cx))).await;
            assert!(flushed.is_pending());
            tokio::task::yield_now().await;
        }
        assert!(state.sent_bytes() > 4 && output.len() as u64 + state.sent_bytes() == size as u64 + 8);
        drop(far);
        assert!(flush(&mut output, &mut near, &state).await.is_err());
    }

    #[tokio::test]
    async fn what_was_seen_in_memory_is_believed_for_a_moment_and_for_this_file_alone() {
        let file = file("seen", &content(PIECE));
        let part = |id| Arc::new(FilePart::new(file.clone(), id, 0, PIECE as u64));
        let (one, other, now) = (part(unseen()), part(unseen()), Moment::now());
        let mut stretch = Stretch::new(one.clone(), 0, PIECE);
        assert!(!one.was_seen(0, PIECE, now) && stretch.is_in_memory());
        let now = stretch.seen.unwrap();
        assert!(one.was_seen(0, PIECE, now));
        assert!(!one.was_seen(1, PIECE, now) && !one.was_seen(0, PIECE - 1, now));
        assert!(!other.was_seen(0, PIECE, now) && !one.was_seen(0, PIECE, now.after()));
    }

    /// A worker must not wait for a disk, nor the client be blamed for it.
    #[tokio::test]
    async fn what_is_not_in_memory_is_read_by_a_thread() {
        let (size, state) = (4 * PIECE, state());
        let content = content(size + 5);
        let file = file("disk", &content);
        file.sync_all().unwrap();
        fadvise(&*file, 0, None, Advice::DontNeed).unwrap();
        // What lies between is enough to wait for, and the pages at both ends are no proof. Nothing is read ahead.
        fadvise(&*file, 0, None, Advice::Random).unwrap();
        let part = Arc::new(FilePart::new(file.clone(), unseen(), 5, size as u64));
        let mut stretch = Stretch::new(part, 5, PIECE);
        let mut page = [0; 4096];
        for there in [0, PIECE - 4096] {
            let _ = std::os::unix::fs::FileExt::read_at(&*file, &mut page, there as u64).unwrap();
        }
        let byte = &mut [0];
        if preadv2(&*file, &mut [io::IoSliceMut::new(byte)], 8192, ReadWriteFlags::NOWAIT).is_ok() {
            return; // A file system in memory.
        }
        let (mut near, mut far) = sockets().await;
        near.writable().await.unwrap();
        match poll_fn(|cx| stretch.poll_send(&near, cx)).await.unwrap() {
            Sent::Read(bytes) => assert!(bytes == content[5..5 + PIECE]),
            Sent::Some(sent) => panic!("{sent} bytes were sent, and waited for"),
        }
        fadvise(&*file, 0, None, Advice::DontNeed).unwrap();
        let mut output = output(&file, size);
        let flushed = poll_fn(|cx| Poll::Ready(output.poll_flush(&mut near, &state, cx))).await;
        assert!(
            state.blocked_since().is_none() || state.sent_bytes() > 4,
            "{flushed:?}: the client is blamed"
        );
        let reads = tokio::spawn(async move {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.map(|_| read)
        });
        flush(&mut output, &mut near, &state).await.unwrap();
        near.shutdown().await.unwrap();
        assert!(reads.await.unwrap().unwrap() == [b"head", &content[5..5 + size], b"tail"].concat());
    }
}
