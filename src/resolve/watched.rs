//! A name that is looked up again and again, so that its addresses follow what it stands for.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Addresses, ResolveError, Resolver, literal};

/// Time between two lookups at least, whatever the TTL says and however often somebody asks.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a lookup said last: addresses, or why there have never been any.
type Answer = Result<Arc<[IpAddr]>, ResolveError>;

/// The addresses of a name, kept current. Dropped, it asks no more.
#[derive(Debug)]
pub struct Watched {
    answer: watch::Receiver<Option<Answer>>,
    early: Arc<Notify>,
    task: Option<AbortHandle>,
}

impl Watched {
    /// Looks `host` up now, and again whenever the answer's TTL ends: after a second at the earliest
    /// and `longest` at the latest.
    ///
    /// A lookup that fails takes no addresses away, for the name servers may be ill while the
    /// upstreams are well. It is tried again after a second, then after twice as long, up to `longest`.
    ///
    /// Each failure is told to `failed`. Call it within a Tokio runtime.
    pub fn spawn(
        resolver: Resolver,
        host: String,
        longest: Duration,
        failed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        if let Some(address) = literal(&host) {
            let (_, mut answer) = watch::channel(Some(Ok(Arc::from([address]))));
            answer.mark_changed();
            return Self { answer, early: Arc::default(), task: None };
        }
        let host: Arc<str> = host.into();
        let lookup = {
            let (host, failed) = (host.clone(), Arc::new(failed));
            move || {
                let (resolver, host, failed) = (resolver.clone(), host.clone(), failed.clone());
                async move { resolver.lookup(&host).await.inspect_err(|_| failed()) }
            }
        };
        Self::with(host, longest, lookup)
    }

    pub(super) fn with<F, Fut>(host: Arc<str>, longest: Duration, lookup: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Addresses, ResolveError>> + Send + 'static,
    {
        let (sender, answer) = watch::channel(None);
        let early = Arc::new(Notify::new());
        let task = tokio::spawn(follow(host, longest, lookup, sender, early.clone()));
        Self { answer, early, task: Some(task.abort_handle()) }
    }

    /// The addresses that were told last; an error where none ever were; `None` before the first answer.
    pub fn current(&self) -> Option<Answer> {
        self.answer.borrow().clone()
    }

    /// Waits until [`Watched::current`] is another than at the last call, or than nothing at the first.
    pub async fn changed(&mut self) {
        if self.answer.changed().await.is_err() {
            // An address never changes.
            std::future::pending::<()>().await;
        }
    }

    /// Asks for a lookup before the TTL ends: where a connection failed, its address may be gone.
    /// Does no more than one lookup a second, however often it is called.
    pub fn refresh(&self) {
        self.early.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn follow<F, Fut>(
    host: Arc<str>,
    longest: Duration,
    lookup: F,
    sender: watch::Sender<Option<Answer>>,
    early: Arc<Notify>,
) where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Addresses, ResolveError>>,
{
    let longest = longest.max(SHORTEST);
    let mut back_off = SHORTEST;
    let mut failing = false;
    loop {
        let answer = lookup().await;
        let now = Instant::now();
        let pause = match answer {
            Ok(Addresses { addresses, ttl }) => {
                if failing {
                    tracing::info!(%host, "the name resolves again");
                }
                (failing, back_off) = (false, SHORTEST);
                publish(&sender, &host, addresses);
                ttl.clamp(SHORTEST, longest)
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%host, %error, "the name does not resolve");
                }
                failing = true;
                sender.send_if_modified(|last| match last {
                    Some(Ok(_)) => false,
                    last if *last == Some(Err(error.clone())) => false,
                    last => {
                        *last = Some(Err(error));
                        true
                    }
                });
                let pause = back_off;
                back_off = (back_off * 2).min(longest);
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = early.notified() => sleep_until(now + SHORTEST).await,
        }
    }
}

fn publish(sender: &watch::Sender<Option<Answer>>, host: &str, addresses: Vec<IpAddr>) {
    sender.send_if_modified(|last| {
        if let Some(Ok(known)) = last {
            if **known == *addresses {
                return false;
            }
            tracing::debug!(
                host,
                before = known.len(),
                now = addresses.len(),
                "the name's addresses changed"
            );
        }
        *last = Some(Ok(addresses.into()));
        true
    });
}
