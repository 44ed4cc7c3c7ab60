//! The bytes of a file: as many as were announced, or an error.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::file::{FilePart, FileReader, PIECE};

/// A body of exactly so many bytes. A file that shrinks must not leave the client waiting for the rest, nor one that
/// grows say more than its Content-Length.
#[derive(Debug)]
pub(super) struct Content {
    reader: FileReader,
    part: Arc<FilePart>,
    at: u64,
    left: u64,
}

impl Content {
    pub(super) fn new(part: Arc<FilePart>) -> Self {
        Self { reader: FileReader::new(part.file.clone()), at: part.at, left: part.size, part }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let size = usize::try_from(this.left).map_or(PIECE, |left| left.min(PIECE));
        if size == 0 {
            return Poll::Ready(None);
        }
        let piece = if this.part.is_taken() {
            // The next begins where a page does, and so do all behind it: the system sends as many at once.
            let odd = usize::try_from(this.at % PIECE as u64).unwrap_or(0);
            FilePart::stand_in(size.min(PIECE - odd))
        } else {
            let read = ready!(this.reader.poll_read(this.at, size, cx)).and_then(|read| {
                let early = || format!("the file ended {} bytes early", this.left);
                if read.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, early()));
                }
                Ok(read)
            });
            match read {
                Ok(read) => read,
                Err(error) => {
                    this.left = 0;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        };
        this.at += piece.len() as u64;
        this.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http_body_util::BodyExt;

    use super::*;

    fn file(name: &str, content: &[u8]) -> Arc<std::fs::File> {
        let path = std::env::temp_dir().join(format!("nessen-content-{}-{name}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(content).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        Arc::new(file)
    }

    async fn read(there: &'static str, announced: u64) -> io::Result<Bytes> {
        let part = FilePart::new(file(there, there.as_bytes()), (0, 0), 0, announced);
        Ok(Content::new(part.into()).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn what_was_announced_is_sent_or_nothing_is_believed() {
        assert_eq!(read("hello", 5).await.unwrap(), "hello");
        assert_eq!(read("hello, and more", 5).await.unwrap(), "hello");
        assert_eq!(read("", 0).await.unwrap(), "");
        assert_eq!(read("hell", 5).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_part_is_read_from_anywhere_to_its_end() {
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let file = file("whole", &content);
        for (from, to) in [(0, content.len()), (7, content.len()), (65_536, 131_072), (799_991, 800_000)] {
            let part = FilePart::new(file.clone(), (0, 0), from as u64, (to - from) as u64);
            let read = Content::new(part.into()).collect().await.unwrap().to_bytes();
            assert!(read == content[from..to], "{from} to {to}");
        }
    }

    #[tokio::test]
    async fn what_would_have_to_wait_is_read_by_a_thread() {
        let part = Arc::new(FilePart::new(file("elsewhere", b"from a disk"), (0, 0), 5, 6));
        let mut content = Content::new(part);
        assert!(
            content
                .reader
                .poll_read_elsewhere(5, 6, &mut Context::from_waker(std::task::Waker::noop()))
                .is_pending()
        );
        assert_eq!(content.collect().await.unwrap().to_bytes(), "a disk");
    }

    #[tokio::test]
    async fn a_part_that_was_taken_is_stood_in_for_until_it_is_given_back() {
        let part = Arc::new(FilePart::new(file("taken", &[7; 4 * PIECE]), (0, 0), 5, 4 * PIECE as u64 - 5));
        let mut content = Content::new(part.clone());
        part.take();
        assert_eq!(content.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE - 5);
        let frame = content.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(
            FilePart::is_stand_in(&frame)
                && FilePart::is_stand_in(&frame.slice(5..9))
                && frame.len() == PIECE
        );
        part.give_back();
        let rest = content.collect().await.unwrap().to_bytes();
        assert!(rest == vec![7; 2 * PIECE] && !FilePart::is_stand_in(&rest));
        assert!(!FilePart::is_stand_in(&FilePart::stand_in(9).slice(3..3)));
    }
}
