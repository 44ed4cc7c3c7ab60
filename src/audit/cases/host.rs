//! Whom a request is for: exactly one host, and a valid one.

use super::judge::{exchange, must_refuse};
use super::{Case, Target};
use crate::audit::Cure;

const GROUP: &str = "host";

const ONE: Cure = Cure {
    advice: "Answer 400 to a request of HTTP/1.1 without exactly one valid Host; serve known names only.",
    keys: &["limits.allowed_hosts"],
};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, what, raw: fn(&Target) -> String, choice: bool| {
        ONE.case(GROUP, name, what, move |target: Target| async move {
            match exchange(&target, raw(&target) + "\r\n", 1).await {
                Ok(seen) => must_refuse(&seen, target.baseline.get),
                Err(outcome) => outcome,
            }
        })
        .tolerated(choice)
    };
    vec![
        case("host-missing", "asks without Host", |target| target.head_of(&line(target), None), false),
        case(
            "host-twice",
            "asks with two Hosts that differ",
            |target| hosts(target, &format!("Host: {}\r\nHost: nessen-probe.invalid", target.authority())),
            false,
        ),
        case(
            "host-space",
            "asks with a Host that has a space in it",
            |target| hosts(target, "Host: a b"),
            false,
        ),
        case(
            "host-slash",
            "asks with a Host that has a path",
            |target| hosts(target, "Host: a.test/b"),
            false,
        ),
        case(
            "host-comma",
            "asks with a list of Hosts (widely served)",
            |target| hosts(target, "Host: a.test,b.test"),
            true,
        ),
        case(
            "host-user",
            "asks with a Host that has a user (widely served)",
            |target| hosts(target, &format!("Host: user@{}", target.authority())),
            true,
        ),
        case(
            "host-port",
            "asks with a Host whose port is no number (widely served)",
            |target| hosts(target, "Host: a.test:b"),
            true,
        ),
        case("host-empty", "asks with an empty Host (permitted)", |target| hosts(target, "Host: "), true),
        case(
            "host-other",
            "asks for the host nessen-probe.invalid (a matter of choice)",
            |target| hosts(target, "Host: nessen-probe.invalid"),
            true,
        ),
        case(
            "host-absolute",
            "asks for one host in the target and for another in Host (the target's counts)",
            |target| {
                let line = format!("GET http://nessen-probe.invalid{} HTTP/1.1", target.path());
                target.head_of(&line, Some(&format!("Host: {}", target.authority())))
            },
            true,
        ),
    ]
}

fn line(target: &Target) -> String {
    format!("GET {} HTTP/1.1", target.path())
}

fn hosts(target: &Target, host: &str) -> String {
    target.head_of(&line(target), Some(host))
}
