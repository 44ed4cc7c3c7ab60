//! Targets that lead where they should not, or into the answer's head.

use super::judge::{ask, no_answer};
use super::{Case, Target};
use crate::audit::wire::http1::{Answer, NoAnswer};
use crate::audit::{Cure, Outcome};

const GROUP: &str = "path";

const INSIDE: Cure = Cure {
    advice: "Refuse targets with `..`, encoded slashes, NUL or bytes that are no path, before any file is opened.",
    keys: &[],
};
const REFLECTED: Cure = Cure {
    advice: "Never write bytes of a request into the head of an answer without checking them.",
    keys: &[],
};
const RANGES: Cure =
    Cure { advice: "Answer many or overlapping ranges with the whole or with 416.", keys: &[] };

/// What stands in the file that is asked for, on any Unix.
const SECRET: [&[u8]; 2] = [b"root:", b":0:0:"];

const OUTSIDE: [(&str, &str, &str); 17] = [
    ("path-dots", "asks for a file above the root by `..`", "/../../../../../../etc/passwd"),
    ("path-dots-below", "the same from a folder", "/a/b/../../../../../../../etc/passwd"),
    ("path-encoded-dots", "the same, encoded", "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
    ("path-encoded-slash", "the same, slashes encoded", "/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd"),
    ("path-encoded-all", "the same, all encoded", "/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    (
        "path-encoded-twice",
        "the same, encoded twice",
        "/%252e%252e%252f%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    ),
    ("path-backslash", "the same by backslashes", "/..\\..\\..\\..\\..\\etc\\passwd"),
    ("path-encoded-backslash", "the same, encoded", "/..%5c..%5c..%5c..%5c..%5cetc%5cpasswd"),
    ("path-nul", "asks for a file with a NUL behind its name", "/../../../../etc/passwd%00.html"),
    ("path-slashes", "asks by two slashes", "//etc/passwd"),
    ("path-semicolon", "asks by `..;`", "/..;/..;/..;/..;/..;/etc/passwd"),
    ("path-overlong", "asks by dots in overlong UTF-8", "/%c0%ae%c0%ae/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd"),
    ("path-file", "asks for a file: URL", "file:///etc/passwd"),
    ("path-bad-escape", "asks with an escape that is none", "/%zz%"),
    ("path-control", "asks with a control character", "/\x01\x02"),
    ("path-fragment", "asks with a fragment", "/#/../../etc/passwd"),
    ("path-no-slash", "asks without a slash", "etc/passwd"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = OUTSIDE
        .iter()
        .map(|(name, what, path)| {
            INSIDE.case(GROUP, name, what, move |target: Target| async move {
                match ask(&target, target.head("GET", path) + "\r\n").await {
                    Ok(answer) => outside(&answer),
                    Err(outcome) => outcome,
                }
            })
        })
        .collect();
    cases.push(INSIDE.case(
        GROUP,
        "path-absolute",
        "asks above the root by an absolute target",
        |target| async move {
            let path = format!("{}://{}/../../../../etc/passwd", target.scheme(), target.authority());
            match ask(&target, target.head("GET", &path) + "\r\n").await {
                Ok(answer) => outside(&answer),
                Err(outcome) => outcome,
            }
        },
    ));
    let split = "%0d%0aX-Nessen-Probe:%20split%0d%0a";
    cases.extend(
        [
            ("split-path", "asks for a path with an encoded line end", format!("/a{split}")),
            ("split-query", "the same in the query", format!("/?a={split}")),
            ("split-folder", "the same in a folder, which may be redirected", format!("/a{split}/..")),
        ]
        .into_iter()
        .map(|(name, what, path)| {
            REFLECTED.case(GROUP, name, what, move |target: Target| {
                let path = path.clone();
                async move {
                    match ask(&target, target.head("GET", &path) + "\r\n").await {
                        Ok(answer) => is_split(&answer),
                        Err(outcome) => outcome,
                    }
                }
            })
        }),
    );
    cases.push(REFLECTED.case(
        GROUP,
        "redirect-away",
        "asks by `//host/..` to be sent to another host",
        |target| async move {
            match ask(&target, target.head("GET", "//nessen-probe.invalid/%2e%2e") + "\r\n").await {
                Ok(answer) => sent_away(&answer),
                Err(outcome) => outcome,
            }
        },
    ));
    cases.push(RANGES.case(GROUP, "ranges-1000", "asks for 1000 overlapping ranges", |target| async move {
        let ranges: Vec<String> = (0..1000).map(|at| format!("{at}-")).collect();
        let head = target.head("GET", target.path()) + &format!("Range: bytes={}\r\n\r\n", ranges.join(","));
        match ask(&target, head).await {
            Ok(answer) => ranged(&answer, target.baseline.body),
            Err(outcome) => outcome,
        }
    }));
    cases.push(RANGES.case(GROUP, "range-huge", "asks for a range up to 2^64", |target| async move {
        let head = target.head("GET", target.path()) + "Range: bytes=0-18446744073709551615\r\n\r\n";
        match ask(&target, head).await {
            Ok(answer) => ranged(&answer, target.baseline.body),
            Err(outcome) => outcome,
        }
    }));
    cases
}

/// A target that leads out, or is none.
pub(super) fn outside(answer: &Result<Answer, NoAnswer>) -> Outcome {
    match answer {
        Ok(answer) if SECRET.iter().all(|secret| holds(&answer.body, secret)) => {
            Outcome::open(format!("{}, with what looks like /etc/passwd", answer.status))
        }
        Ok(answer) if matches!(answer.status, 500 | 502) => {
            Outcome::open(format!("{}: something behind it failed", answer.status))
        }
        Ok(answer) => Outcome::held(answer.status.to_string()),
        Err(NoAnswer::Silence) => Outcome::unclear("no answer"),
        Err(none) => Outcome::held(no_answer(none)),
    }
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Line ends in a target.
pub(super) fn is_split(answer: &Result<Answer, NoAnswer>) -> Outcome {
    match answer {
        Ok(answer) if answer.field("x-nessen-probe").is_some() => {
            Outcome::open(format!("{}, with a field that the request brought", answer.status))
        }
        _ => outside(answer),
    }
}

/// A target that looks like another host.
pub(super) fn sent_away(answer: &Result<Answer, NoAnswer>) -> Outcome {
    match answer {
        Ok(answer) if answer.field("location").is_some_and(leads_away) => {
            Outcome::open(format!("{} to nessen-probe.invalid", answer.status))
        }
        _ => outside(answer),
    }
}

fn leads_away(location: &str) -> bool {
    let rest = location.strip_prefix("http:").or_else(|| location.strip_prefix("https:")).unwrap_or(location);
    rest.starts_with("//nessen-probe.invalid")
}

/// Ranges: no more than the whole.
pub(super) fn ranged(answer: &Result<Answer, NoAnswer>, whole: u64) -> Outcome {
    match answer {
        Ok(answer) if answer.status == 206 && answer.length > 2 * whole + 1024 => Outcome::open(format!(
            "206 with {}, where the whole has {}",
            super::judge::bytes(answer.length),
            super::judge::bytes(whole)
        )),
        _ => outside(answer),
    }
}
