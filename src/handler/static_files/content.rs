//! The bytes of a file: as many as were announced, or an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body of exactly so many bytes. `ServeDir` reads to the end of the file, wherever that is
    /// by then: a file that shrinks would leave the client waiting for the rest, and one that
    /// grows would say more than its Content-Length.
    #[derive(Debug)]
    pub(super) struct Content<B> {
        #[pin]
        body: B,
        left: u64,
    }
}

impl<B> Content<B> {
    pub(super) fn new(body: B, size: u64) -> Self {
        Self { body, left: size }
    }
}

impl<B: Body<Data = Bytes, Error = io::Error>> Body for Content<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.project();
        if *this.left == 0 {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.poll_frame(cx));
        Poll::Ready(Some(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(mut bytes))) => {
                bytes.truncate(usize::try_from(*this.left).unwrap_or(usize::MAX));
                *this.left -= bytes.len() as u64;
                Ok(Frame::data(bytes))
            }
            Some(Err(error)) => {
                *this.left = 0;
                Err(error)
            }
            // A file has no trailers.
            Some(Ok(Err(_))) | None => {
                let detail = format!("the file ended {} bytes early", this.left);
                *this.left = 0;
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, detail))
            }
        }))
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
    use http_body_util::{BodyExt, Full};

    use super::*;

    async fn read(there: &'static str, announced: u64) -> io::Result<Bytes> {
        let body = Full::new(Bytes::from(there)).map_err(|never| match never {});
        Ok(Content::new(body, announced).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn what_was_announced_is_sent_or_nothing_is_believed() {
        assert_eq!(read("hello", 5).await.unwrap(), "hello");
        assert_eq!(read("hello, and more", 5).await.unwrap(), "hello");
        assert_eq!(read("", 0).await.unwrap(), "");
        assert_eq!(read("hell", 5).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
