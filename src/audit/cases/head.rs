//! Request heads: how many fields, how large, how long a target, which version.

use super::judge::{ask, exchange, grow, is_refusal, no_answer};
use super::{Case, Target};
use crate::audit::wire::http1::NoAnswer;
use crate::audit::{Cure, Outcome};

const GROUP: &str = "head";

const FIELDS: Cure = Cure {
    advice: "Limit the number of header fields and their size together: 431.",
    keys: &["limits.max_header_count", "limits.max_header_size"],
};
const URL: Cure =
    Cure { advice: "Limit the length of the request target: 414.", keys: &["limits.max_url_length"] };
const VERSION: Cure = Cure {
    advice: "Answer HTTP/1.1 and HTTP/1.0 alone: 505 or 400 for other versions, nothing for HTTP/0.9.",
    keys: &[],
};

const MIB: usize = 1 << 20;

pub(super) fn cases() -> Vec<Case> {
    let sized = |cure: Cure, name, what, raw: fn(&Target) -> String, choice: bool| {
        cure.case(GROUP, name, what, move |target: Target| async move { size(&target, raw(&target)).await })
            .tolerated(choice)
    };
    vec![
        sized(
            FIELDS,
            "header-count-200",
            "sends 200 fields (the limit is a matter of choice)",
            |t| fields(t, 200),
            true,
        ),
        sized(
            FIELDS,
            "header-count-1000",
            "sends 1000 fields (the limit is a matter of choice)",
            |t| fields(t, 1000),
            true,
        ),
        sized(FIELDS, "header-count-5000", "sends 5000 fields", |t| fields(t, 5000), false),
        sized(
            FIELDS,
            "header-size-64k",
            "sends a field of 64 KiB (the limit is a matter of choice)",
            |t| one_field(t, 64 << 10),
            true,
        ),
        sized(FIELDS, "header-size-1m", "sends fields of 1 MiB together", many_large_fields, false),
        sized(FIELDS, "header-name-64k", "sends a field with a name of 64 KiB", long_name, true),
        FIELDS.case(GROUP, "header-endless", "sends fields without end, up to 4 MiB", |target| async move {
            let head = target.head("GET", target.path()).into_bytes();
            let piece = field(16 << 10).into_bytes();
            grow(&target, [head].into_iter().chain(vec![piece; 300]), |honest| honest.get).await
        }),
        FIELDS.case(
            GROUP,
            "header-line-endless",
            "sends one field without end, up to 4 MiB",
            |target| async move {
                let head = target.head("GET", target.path()) + "X-A: ";
                let pieces = [head.into_bytes()].into_iter().chain(vec![vec![b'a'; 16 << 10]; 300]);
                grow(&target, pieces, |honest| honest.get).await
            },
        ),
        sized(
            URL,
            "url-64k",
            "asks for a target of 64 KiB (the limit is a matter of choice)",
            |t| url(t, 64 << 10),
            true,
        ),
        sized(URL, "url-1m", "asks for a target of 1 MiB", |t| url(t, MIB), false),
        URL.case(
            GROUP,
            "url-endless",
            "sends a request line without end, up to 4 MiB",
            |target| async move {
                let pieces = [b"GET /".to_vec()].into_iter().chain(vec![vec![b'a'; 16 << 10]; 300]);
                grow(&target, pieces, |honest| honest.get).await
            },
        ),
        FIELDS
            .case(
                GROUP,
                "blank-lines-endless",
                "sends empty lines in place of a request, up to 4 MiB (nothing has to be kept of them)",
                |target| async move {
                    grow(&target, vec![b"\r\n".repeat(8 << 10); 300], |honest| honest.get).await
                },
            )
            .tolerated(true),
        VERSION
            .case(GROUP, "version-0.9", "asks in HTTP/0.9 (old, and permitted)", |target| async move {
                match ask(&target, format!("GET {}\r\n", target.path())).await {
                    Ok(answer) => old_version(&answer.map(|answer| answer.status)),
                    Err(outcome) => outcome,
                }
            })
            .tolerated(true),
        version("version-2.0", "asks in HTTP/2.0, written as a line of HTTP/1", "HTTP/2.0"),
        version("version-unknown", "asks in HTTP/9.9", "HTTP/9.9"),
        version("version-junk", "asks in HTTP/1.1x", "HTTP/1.1x"),
    ]
}

fn version(name: &'static str, what: &'static str, version: &'static str) -> Case {
    VERSION
        .case(GROUP, name, what, move |target: Target| async move {
            let line = format!("GET {} {version}", target.path());
            let host = format!("Host: {}", target.authority());
            let seen = exchange(&target, target.head_of(&line, Some(&host)) + "\r\n", 1).await;
            match seen {
                Ok(seen) => super::judge::must_refuse(&seen, target.baseline.get),
                Err(outcome) => outcome,
            }
        })
        // RFC 9110 section 15.6.6 lets a server choose.
        .tolerated(true)
}

fn field(size: usize) -> String {
    format!("X-Large: {}\r\n", "a".repeat(size))
}

fn fields(target: &Target, count: usize) -> String {
    let many: String = (0..count).map(|number| format!("X-{number}: a\r\n")).collect();
    target.head("GET", target.path()) + &many + "\r\n"
}

fn one_field(target: &Target, size: usize) -> String {
    target.head("GET", target.path()) + &field(size) + "\r\n"
}

fn many_large_fields(target: &Target) -> String {
    target.head("GET", target.path()) + &field(4 << 10).repeat(256) + "\r\n"
}

fn long_name(target: &Target) -> String {
    format!("{}X-{}: a\r\n\r\n", target.head("GET", target.path()), "a".repeat(64 << 10))
}

fn url(target: &Target, size: usize) -> String {
    let between = if target.path().contains('?') { '&' } else { '?' };
    target.head("GET", &format!("{}{between}{}", target.path(), "a".repeat(size))) + "\r\n"
}

async fn size(target: &Target, raw: String) -> Outcome {
    match exchange(target, raw, 1).await {
        Ok(seen) => taken(&seen, target.baseline.get),
        Err(outcome) => outcome,
    }
}

/// Refused or cut off, or taken.
pub(super) fn taken(seen: &super::judge::Seen, honest: u16) -> Outcome {
    match seen.answers.first() {
        Some(status) if !is_refusal(*status, honest) => Outcome::open(format!("{}: taken", seen.words())),
        None if seen.end.is_none() => {
            Outcome::open(format!("{}: taken in, and waited for more", seen.words()))
        }
        _ => Outcome::held(seen.words()),
    }
}

pub(super) fn old_version(answer: &Result<u16, NoAnswer>) -> Outcome {
    match answer {
        Ok(status) if *status >= 400 => Outcome::held(status.to_string()),
        Ok(status) => Outcome::unclear(format!("{status}: served as if it were HTTP/1")),
        Err(NoAnswer::Garbage(what)) => Outcome::unclear(format!("answered without a head: {what}")),
        Err(NoAnswer::Silence) => Outcome::held("waited for fields: not taken for HTTP/0.9"),
        Err(none @ NoAnswer::Ended(_)) => Outcome::held(no_answer(none)),
    }
}
