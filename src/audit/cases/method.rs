//! Methods: what is not asked for should not be served.

use super::judge::{ask, no_answer};
use super::{Case, Target};
use crate::audit::wire::http1::{Answer, NoAnswer};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "method";

const KNOWN: Cure = Cure {
    advice: "Serve the methods that the application has, and answer 405 or 501 to all others.",
    keys: &["limits.allowed_methods"],
};
/// What a server that echoes would show of the request.
const MARK: &str = "nessen-probe-mark";

pub(super) fn cases() -> Vec<Case> {
    vec![
        method("method-lower-case", "asks by `get` (methods are case-sensitive)", |t| {
            t.head("get", t.path())
        }),
        method("method-unknown", "asks by a method of 40 letters", |t| {
            t.head("NESSENPROBENESSENPROBENESSENPROBENESSENP", t.path())
        }),
        method("method-64k", "asks by a method of 64 KiB", |t| t.head(&"A".repeat(64 << 10), t.path())),
        method("method-symbols", "asks by a method of symbols", |t| t.head("!#$%&'*+.^_`|~", t.path())),
        method("method-pri", "asks by PRI, the word that HTTP/2 begins with", |t| t.head("PRI", t.path())),
        echo("trace", "asks by TRACE whether it is reflected", "TRACE", "X-Mark: nessen-probe-mark\r\n"),
        echo("trace-cookie", "asks by TRACE for a cookie back", "TRACE", "Cookie: a=nessen-probe-mark\r\n"),
        echo(
            "track",
            "the same by TRACK, as some servers call it",
            "TRACK",
            "Cookie: a=nessen-probe-mark\r\n",
        ),
        tunnel("connect", "asks by CONNECT for a way to another host", "nessen-probe.invalid:443"),
        tunnel("connect-loopback", "asks by CONNECT for a way to the server's own port 22", "127.0.0.1:22"),
    ]
}

fn method(name: &'static str, what: &'static str, head: fn(&Target) -> String) -> Case {
    KNOWN.case(GROUP, name, what, move |target: Target| async move {
        match ask(&target, head(&target) + "\r\n").await {
            Ok(answer) => strange(&answer.map(|answer| answer.status)),
            Err(outcome) => outcome,
        }
    })
}

fn echo(name: &'static str, what: &'static str, method: &'static str, field: &'static str) -> Case {
    KNOWN.case(GROUP, name, what, move |target: Target| async move {
        match ask(&target, target.head(method, target.path()) + field + "\r\n").await {
            Ok(answer) => reflected(&answer),
            Err(outcome) => outcome,
        }
    })
}

fn tunnel(name: &'static str, what: &'static str, to: &'static str) -> Case {
    KNOWN.case(GROUP, name, what, move |target: Target| async move {
        let head = target.head_of(&format!("CONNECT {to} HTTP/1.1"), Some(&format!("Host: {to}")));
        match ask(&target, head + "\r\n").await {
            Ok(answer) => tunnelled(&answer.map(|answer| answer.status)),
            Err(outcome) => outcome,
        }
    })
}

/// A method that should not be known.
pub(super) fn strange(answer: &Result<u16, NoAnswer>) -> Outcome {
    match answer {
        Ok(status @ (500 | 502)) => Outcome::open(format!("{status}: something behind it failed")),
        Ok(status) if *status >= 400 => Outcome::held(status.to_string()),
        Ok(status) => Outcome::unclear(format!("{status}: served as if it were known")),
        Err(NoAnswer::Silence) => Outcome::unclear("no answer"),
        Err(none) => Outcome::held(no_answer(none)),
    }
}

/// A request that asks to be shown itself.
pub(super) fn reflected(answer: &Result<Answer, NoAnswer>) -> Outcome {
    match answer {
        Ok(answer) if answer.body.windows(MARK.len()).any(|part| part == MARK.as_bytes()) => {
            Outcome::open(format!("{}, with the request in it", answer.status))
        }
        Ok(answer) => Outcome::held(format!("{}, with nothing of the request", answer.status)),
        Err(NoAnswer::Silence) => Outcome::unclear("no answer"),
        Err(none) => Outcome::held(no_answer(none)),
    }
}

/// A request for a tunnel.
pub(super) fn tunnelled(answer: &Result<u16, NoAnswer>) -> Outcome {
    match answer {
        Ok(status) if (200..300).contains(status) => Outcome::open(format!("{status}: a tunnel")),
        Ok(status @ (502 | 504)) => Outcome::open(format!("{status}: it tried")),
        Ok(status) => Outcome::held(status.to_string()),
        Err(NoAnswer::Silence) => Outcome::unclear("no answer"),
        Err(none) => Outcome::held(no_answer(none)),
    }
}
