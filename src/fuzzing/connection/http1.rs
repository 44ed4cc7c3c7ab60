//! HTTP/1: the input is a script of what a client sends.

use super::echo::{ECHO, STREAM, said_of};
use super::requests::{self, Request};
use super::server;
use crate::fuzzing::answers::{self, Answer};
use crate::fuzzing::script::{self, Step};

pub(in crate::fuzzing) fn run(data: &[u8]) {
    let steps = script::read(data);
    // The preface of the other protocol has a target of its own.
    let sent = what_is_sent(&steps);
    if sent.starts_with(b"PRI") {
        return;
    }
    let undisturbed = steps.iter().all(|step| !matches!(step, Step::Fail | Step::Take(_)));
    let outcome = server().serve(steps, 1);
    let answered = outcome.far.answered();
    let cut_is_told = !undisturbed || outcome.far.was_reset();
    Conversation { sent: &sent, answered: &answered, cut_is_told, requests: outcome.requests }.judge();
}

/// All that reaches the server, if it reads on.
pub(super) fn what_is_sent(steps: &[Step]) -> Vec<u8> {
    let open = steps.iter().take_while(|step| !matches!(step, Step::End | Step::Fail));
    open.flat_map(|step| if let Step::Send(bytes) = step { bytes.as_slice() } else { &[] }).copied().collect()
}

struct Conversation<'a> {
    sent: &'a [u8],
    answered: &'a [u8],
    /// The client knows that an answer is not whole, since its connection broke.
    cut_is_told: bool,
    requests: u64,
}

impl Conversation<'_> {
    /// Every request has one answer, in its order, and what is no request has none behind it.
    fn judge(&self) {
        let (mut sent, mut answered) = (0, 0);
        let mut finals = 0;
        loop {
            let request = requests::read(&self.sent[sent..]);
            let head = match &request {
                requests::Read::Whole(Request { method, .. })
                | requests::Read::BadBody(method)
                | requests::Read::Cut(Some(method)) => method == "HEAD",
                requests::Read::Bad(_) | requests::Read::Cut(None) => self.sent[sent..].starts_with(b"HEAD "),
                requests::Read::Unsure => return self.count(answered, finals),
            };
            let answer = match self.next(&mut answered, head) {
                Some(answer) => answer,
                None => return,
            };
            finals += 1;
            assert!(finals <= self.requests + 1, "{finals} answers to {} requests", self.requests);
            let is_last = answer.closes() || answer.until_close;
            match request {
                requests::Read::Whole(request) => {
                    is_for(&answer, &request);
                    if is_last || request.last {
                        return self.ends(answered);
                    }
                    sent += request.end;
                }
                requests::Read::BadBody(_) => {
                    let believed = answer.status < 300 && !answer.all(ECHO).is_empty();
                    assert!(!believed, "a body that is none was taken for one: {answer:?}");
                    return self.ends(answered);
                }
                requests::Read::Bad(why) => {
                    assert!(answer.status >= 400, "{why}, and answered by {answer:?}");
                    return self.ends(answered);
                }
                requests::Read::Cut(_) => {
                    let believed = answer.status < 300 && !answer.all(ECHO).is_empty();
                    assert!(!believed, "a request that is cut off was answered: {answer:?}");
                    return self.ends(answered);
                }
                requests::Read::Unsure => {}
            }
        }
    }

    /// The next answer that is no interim one; `None` where there is none that is whole.
    fn next(&self, at: &mut usize, head: bool) -> Option<Answer> {
        loop {
            let rest = &self.answered[*at..];
            if rest.is_empty() {
                return None;
            }
            match answers::read(rest, head) {
                answers::Read::Whole(mut answer) => {
                    // What is refused before its method is known is answered with a body.
                    let behind = &rest[answer.end..];
                    if head && answer.closes() && !behind.is_empty() {
                        match answers::read(rest, false) {
                            answers::Read::Whole(with_body) => answer = with_body,
                            answers::Read::Cut(_) if self.cut_is_told => return None,
                            _ => panic!("behind the last answer: {:?}", text(behind)),
                        }
                    }
                    *at += answer.end;
                    if answer.status >= 200 {
                        return Some(answer);
                    }
                }
                answers::Read::Cut(_) => {
                    // Where the last chunk is missing, any end tells.
                    let is_told = self.cut_is_told || is_chunked(rest);
                    assert!(is_told, "an answer is cut off: {:?}", text(rest));
                    return None;
                }
                answers::Read::Wrong(why) => panic!("{why}: {:?}", text(rest)),
            }
        }
    }

    /// Nothing follows what was the last.
    fn ends(&self, at: usize) {
        let rest = &self.answered[at..];
        assert!(rest.is_empty(), "behind the last answer: {:?}", text(rest));
    }

    /// No more answers than requests, where it is not known which request is which: those to HEAD
    /// may look as if they had a body.
    fn count(&self, at: usize, before: u64) {
        let rest = &self.answered[at..];
        let heads = rest.windows(9).filter(|window| *window == b"HTTP/1.1 ").count() as u64;
        let interim = rest.windows(12).filter(|window| window.starts_with(b"HTTP/1.1 1")).count() as u64;
        // What was sent may be echoed.
        let echoed = self.sent.windows(9).filter(|window| *window == b"HTTP/1.1 ").count() as u64;
        let most = self.requests + 1 + echoed;
        assert!(before + heads - interim <= most, "{} answers to {}", before + heads, self.requests);
    }
}

/// What was answered is what was asked.
fn is_for(answer: &Answer, request: &Request) {
    let is_whole = request.method == "HEAD" || answer.status != 200 || answer.body == request.body;
    assert!(
        request.target != STREAM || is_whole,
        "{:?} is not {:?}",
        text(&answer.body),
        text(&request.body)
    );
    let Some(said) = answer.all(ECHO).first().copied() else { return };
    let said = text(said);
    let target = &request.target;
    // An absolute target is told by its path.
    if target.starts_with('/') {
        assert_eq!(said, said_of(&request.method, target), "{answer:?}");
    } else {
        assert!(said.starts_with(&request.method), "{said} is not {request:?}");
    }
    if request.method != "HEAD" && answer.status == 200 {
        assert!(answer.body == request.body, "{:?} is not {:?}", text(&answer.body), text(&request.body));
    }
}

/// Whether the head of an answer says that its body comes in chunks.
fn is_chunked(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer, |end| &answer[..end]);
    text(head).to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Statuses and contents of all answers; the one of this number is to HEAD.
#[cfg(test)]
pub(in crate::fuzzing) fn summary(answered: &[u8], head: Option<usize>) -> Vec<(u16, Vec<u8>)> {
    let (mut at, mut all) = (0, Vec::new());
    while at < answered.len() {
        match answers::read(&answered[at..], head == Some(all.len())) {
            answers::Read::Whole(answer) => {
                at += answer.end;
                // What is refused names its request, by a number of its own.
                let body = if answer.status < 400 { answer.body } else { Vec::new() };
                all.push((answer.status, body));
            }
            other => panic!("{other:?} in {:?}", text(answered)),
        }
    }
    all
}
