//! Where the tasks of HTTP/2 streams run, each with a string attached.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::streams::Streams;

/// Runs each stream as a task that ends when its stream is reset. Dropping the task drops h2's
/// handle, which sends RST_STREAM(CANCEL).
#[derive(Debug, Clone)]
pub struct StreamExecutor(pub Arc<Streams>);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let stream = self.0.take_latest();
        tokio::spawn(async move {
            let Some(stream) = stream else {
                future.await;
                return;
            };
            let mut future = pin!(future);
            std::future::poll_fn(|cx| {
                if stream.is_reset(cx.waker()) {
                    return Poll::Ready(());
                }
                future.as_mut().poll(cx).map(drop)
            })
            .await;
        });
    }
}
