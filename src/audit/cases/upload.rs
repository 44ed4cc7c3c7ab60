//! Answers that come before the upload is over: they must reach the client.

use std::time::Duration;

use super::body::upload;
use super::judge::unreached;
use super::{Case, Target};
use crate::audit::wire::Sent;
use crate::audit::{Cure, Outcome};

const GROUP: &str = "upload";

const EARLY: Cure = Cure {
    advice: "After an early answer read on for a while before closing (lingering close): a socket that is \
             closed with unread bytes sends a reset, and the answer is lost.",
    keys: &[],
};

/// Bytes of a body that most servers refuse to take.
const LENGTH: usize = 3 << 20;

pub(super) fn cases() -> Vec<Case> {
    let case = |name, what, head: fn(&Target) -> String| {
        EARLY.case(GROUP, name, what, move |target: Target| async move {
            send_first(&target, head(&target), false).await
        })
    };
    vec![
        case("upload-refused", "sends 3 MiB before it reads the answer", |target| {
            target.post(&format!("Content-Length: {LENGTH}\r\n"))
        }),
        case("upload-nowhere", "sends 3 MiB to a path that is not there, before it reads", |target| {
            target.head("POST", "/nessen-probe/nowhere") + &format!("Content-Length: {LENGTH}\r\n\r\n")
        }),
        EARLY.case(GROUP, "upload-refused-chunked", "the same in chunks", |target| async move {
            let head = target.post("Transfer-Encoding: chunked\r\n");
            send_first(&target, head, true).await
        }),
    ]
}

async fn send_first(target: &Target, head: String, chunked: bool) -> Outcome {
    let mut conn = match target.connect().await {
        Ok(conn) => conn,
        Err(error) => return unreached(error),
    };
    let piece = vec![b'a'; 64 << 10];
    let piece = if chunked { [b"10000\r\n".as_slice(), &piece, b"\r\n"].concat() } else { piece };
    let mut sent = conn.send_blind(head, target.patience()).await;
    for _ in 0..LENGTH >> 16 {
        if sent != Sent::All {
            break;
        }
        sent = conn.send_blind(&piece, target.patience()).await;
    }
    if chunked && sent == Sent::All {
        sent = conn.send_blind("0\r\n\r\n", target.patience()).await;
    }
    if sent != Sent::All {
        // What is on its way gets there, also a reset.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = conn.answer(target.patience()).await;
    upload(&answer, conn.sent)
}
