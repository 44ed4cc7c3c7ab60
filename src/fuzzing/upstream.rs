//! A hostile upstream: what it says to the proxy's HTTP/1.1 client.
//!
//! The first byte says what is asked, one bit a request: HEAD, or GET; and the highest, whether the
//! first has a body. The rest is a script.

use std::cell::Cell;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;

use super::answers::{Read, read, read_generously};
use super::pipe::{Far, pipe};
use super::script::{self, Step};
use crate::handler::proxy::fuzzing::Client;

/// Requests that are sent at most.
const REQUESTS: usize = 7;
/// Beyond these the product may refuse what is strictly an answer.
const SURELY_TAKEN: usize = 4096;

/// What the client made of one answer.
struct Taken {
    status: u16,
    body: Vec<u8>,
    whole: bool,
}

/// One request: what was made of its answer, and whether the connection was kept for another, with so
/// many bytes delivered by then.
struct Exchange {
    head: bool,
    taken: Option<Taken>,
    kept: Option<usize>,
}

pub(super) fn run(data: &[u8]) {
    let Some((flags, data)) = data.split_first() else { return };
    let (exchanges, sent) = converse(*flags, script::read(data));
    // Judged by all that came in the end: an answer is whole or not, whatever stands behind it.
    let mut at = 0;
    for exchange in exchanges {
        let end = judge(&sent[at..], exchange.head, exchange.taken.as_ref());
        if let Some(delivered) = exchange.kept {
            let Some(end) = end else { panic!("an answer that none can read, and the connection is kept") };
            at += end;
            assert_eq!(at, delivered, "what came unasked is taken for the next answer");
        }
    }
}

/// The answer to one GET: its status and content, whether it is whole, and the connection was kept.
#[cfg(test)]
pub(super) fn first(steps: Vec<Step>) -> Option<(u16, Vec<u8>, bool, bool)> {
    let (exchanges, _) = converse(0, steps);
    let Exchange { taken, kept, .. } = exchanges.into_iter().next()?;
    let Taken { status, body, whole } = taken?;
    Some((status, body, whole, kept.is_some()))
}

/// Asks an upstream that does as `steps` say; what came of it, and all that the upstream sent.
fn converse(flags: u8, steps: Vec<Step>) -> (Vec<Exchange>, Vec<u8>) {
    let patience = script::duration(&steps) + Duration::from_secs(60);
    let (near, far) = pipe(script::bytes(&steps), 4096);
    let exchanges = script::with_paused_clock(async {
        let (asked, next) = (Cell::new(0), Notify::new());
        let upstream = async {
            let mut awaited = 0;
            script::play(steps, &far, async |step| {
                if step == Step::Await {
                    awaited += 1;
                    // One that waits for what never comes gives up.
                    while asked.get() <= awaited {
                        let waited = tokio::time::timeout(Duration::from_secs(1), next.notified()).await;
                        if waited.is_err() {
                            break;
                        }
                    }
                }
            })
            .await;
            far.end();
        };
        let client = ask_on(Client::new(Box::new(near)), flags, &far, &asked, &next);
        let both = async { tokio::join!(upstream, client).1 };
        tokio::time::timeout(patience, both).await.expect("it does not end")
    });
    let sent = far.all_sent();
    (exchanges, sent)
}

async fn ask_on(
    mut client: Client,
    flags: u8,
    far: &Far,
    asked: &Cell<usize>,
    next: &Notify,
) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for number in 0..REQUESTS {
        let head = flags >> number & 1 == 1;
        let upload: &[u8] = if number == 0 && flags >> 7 == 1 { b"hello" } else { b"" };
        let method = if head { Method::HEAD } else { Method::GET };
        asked.set(number + 1);
        next.notify_one();
        let taken = answer(&mut client, &method, upload).await;
        let whole = taken.as_ref().is_some_and(|taken| taken.whole);
        let kept = (whole && client.is_reusable()).then(|| far.sent().0);
        exchanges.push(Exchange { head, taken, kept });
        if kept.is_none() {
            break;
        }
    }
    exchanges
}

async fn answer(client: &mut Client, method: &Method, upload: &[u8]) -> Option<Taken> {
    let parts = client.ask(method, upload).await.ok()?;
    let mut taken = Taken { status: parts.status.as_u16(), body: Vec::new(), whole: true };
    while let Some(part) = client.next().await {
        match part {
            Some(part) => taken.body.extend_from_slice(&part),
            None => {
                taken.whole = false;
                break;
            }
        }
    }
    Some(taken)
}

/// Holds what was taken against what stands in the bytes, and tells where it ends.
fn judge(bytes: &[u8], head: bool, taken: Option<&Taken>) -> Option<usize> {
    let mut at = 0;
    let found = loop {
        match read_generously(&bytes[at..], head) {
            // An upstream that changes its protocol says its last word in this one.
            Read::Whole(interim) if interim.status < 200 && interim.status != 101 => at += interim.end,
            found => break found,
        }
    };
    match (found, taken) {
        (Read::Whole(answer), Some(taken)) => {
            assert_eq!(answer.status, taken.status);
            if taken.whole {
                assert!(answer.body == taken.body, "{:?} was taken for {answer:?}", taken.body);
            } else {
                assert!(answer.body.starts_with(&taken.body), "{:?} of {answer:?}", taken.body);
                // Lines of chunks and trailers have bounds of their own.
                let framed = answer.end - answer.body.len() >= SURELY_TAKEN;
                let refusable = answer.until_close || framed || !is_strict(&bytes[at..], head);
                assert!(refusable, "whole, and taken for cut: {answer:?}");
            }
            Some(at + answer.end)
        }
        (Read::Cut(status), Some(taken)) => {
            assert_eq!(status, Some(taken.status), "no head");
            assert!(!taken.whole, "cut, and taken for whole: {:?}", String::from_utf8_lossy(bytes));
            None
        }
        (Read::Wrong(why), Some(taken)) if taken.whole => {
            panic!("{why}, and taken for whole: {:?}", String::from_utf8_lossy(bytes));
        }
        (Read::Whole(answer), None) => {
            let small = at + answer.end < SURELY_TAKEN && answer.fields.len() < 50;
            assert!(!(small && is_strict(&bytes[at..], head)), "an answer was not taken: {answer:?}");
            None
        }
        (Read::Wrong(_), Some(_)) | (Read::Cut(_) | Read::Wrong(_), None) => None,
    }
}

/// Whether nobody could refuse what stands here.
fn is_strict(bytes: &[u8], head: bool) -> bool {
    matches!(read(bytes, head), Read::Whole(_))
}
