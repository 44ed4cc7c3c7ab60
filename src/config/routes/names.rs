//! What may stand in a `[[route]]` and a `[[check]]`: the parser, the reference and the schema all
//! come from these names.

use crate::config::keys::{self, Key, Kind, SECTIONS, TIMEOUT};

/// What a route may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum TargetKind {
    Upstream,
    Files,
    Redirect,
    Respond,
}

use TargetKind::{Files, Redirect, Respond, Upstream};

impl TargetKind {
    pub(in crate::config) const ALL: [Self; 4] = [Upstream, Files, Redirect, Respond];

    /// The name that sets it.
    pub(in crate::config) const fn name(self) -> &'static str {
        match self {
            Upstream => "upstream",
            Files => "root",
            Redirect => "redirect",
            Respond => "respond",
        }
    }
}

/// A name, how its value is written, and the targets that it means something for.
#[derive(Debug, Clone)]
pub(in crate::config) struct Name {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) takes: Takes,
    pub(in crate::config) targets: &'static [TargetKind],
}

/// How a value is written.
#[derive(Debug, Clone)]
pub(in crate::config) enum Takes {
    /// As this row says, which belongs to the route or check alone.
    Own(&'static Key),
    /// As this row of the table of keys says, in whose place it stands.
    Override(&'static Key),
    /// A table of these rows.
    OwnTable(&'static [Key]),
    /// A table of these rows of a section, in whose place it stands, or what the switch takes.
    Section { rows: Vec<&'static Key>, switch: Switch },
}

/// What may be written for a whole section.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Switch {
    /// `true` or `false`.
    Bool(&'static Key),
    /// `off` alone.
    Off(&'static Key),
}

/// A row that stands in no section, and is written into no section's field.
const fn own(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key::new(path, kind, default, help, |_, _| false)
}

const EVERY: &[TargetKind] = &TargetKind::ALL;

const PATH: Key = own(
    "route.path",
    Kind::UrlPath { query: false },
    "",
    "What the path of a request begins with, on segment borders: /api takes /api and /api/x, not /apis.",
);
const HOST: Key = own("route.host", Kind::Host, "", "The host of the request; without it any.");
const UPSTREAM: Key =
    own("route.upstream", Kind::Upstreams, "", "The application that answers, or several that are alike.");
const ROOT: Key = own("route.root", Kind::Folder, "", "The folder whose files answer.");
const METHODS: Key = own(
    "route.methods",
    Kind::AnyMethods,
    "",
    "Methods served here, in place of limits.allowed_methods; an application may know others, as PROPFIND.",
);

pub(super) const REDIRECT: &[Key] = &[
    own("redirect.to", Kind::Location, "", "Where the client is sent."),
    own("redirect.status", Kind::OneOf(&[301, 302, 303, 307, 308]), "308", "The status of the answer."),
    own(
        "redirect.keep_path",
        Kind::Bool,
        "false",
        "Whether what follows the route's path, and the query, are appended to `to`.",
    ),
];

pub(super) const RESPOND: &[Key] = &[
    own("respond.status", Kind::Count { min: 200, max: 599 }, "200", "The status of the answer."),
    own("respond.body", Kind::Text, "", "The body of the answer."),
    own("respond.content_type", Kind::HeaderValue, "text/plain; charset=utf-8", "Its Content-Type."),
];

/// Limits that a route can have of its own.
const LIMITS: &[&str] = &[
    "limits.max_body_size",
    "limits.request_timeout",
    "limits.body_timeout",
    "limits.min_body_rate",
    "limits.write_timeout",
    "limits.min_send_rate",
];
const MAX_RESPONSE_SIZE: &str = "limits.max_response_size";

/// What all rate limits have in common.
const OF_ALL_LIMITS: &[&str] = &[
    "rate_limit.enabled",
    "rate_limit.per_second",
    "rate_limit.backend",
    "rate_limit.redis_url",
    "rate_limit.redis_ca",
    "rate_limit.redis_timeout",
    "rate_limit.redis_prefix",
    "rate_limit.on_redis_failure",
];

/// Sections that a route can have a table of its own for; the switch; what is of the whole server;
/// and what it goes with.
type SectionRow =
    (&'static str, fn(&'static Key) -> Switch, &'static str, &'static [&'static str], &'static [TargetKind]);
const SECTION_TABLES: &[SectionRow] = &[
    ("rate_limit", Switch::Off, "rate_limit.max_requests", OF_ALL_LIMITS, EVERY),
    ("security_headers", Switch::Bool, "security_headers.enabled", &[], EVERY),
    (
        "compression",
        Switch::Bool,
        "compression.enabled",
        &["compression.max_concurrent"],
        &[Upstream, Files, Respond],
    ),
];

/// Everything that may stand in a `[[route]]`.
pub(in crate::config) fn route() -> Vec<Name> {
    let own = |name, row, targets| Name { name, takes: Takes::Own(row), targets };
    let mut names = vec![
        own("path", &PATH, EVERY),
        own("host", &HOST, EVERY),
        own("upstream", &UPSTREAM, &[Upstream]),
        own("root", &ROOT, &[Files]),
        Name { name: "redirect", takes: Takes::OwnTable(REDIRECT), targets: &[Redirect] },
        Name { name: "respond", takes: Takes::OwnTable(RESPOND), targets: &[Respond] },
        own("methods", &METHODS, EVERY),
    ];
    let over = |key: &'static Key, targets| Name { name: key.name(), takes: Takes::Override(key), targets };
    names.extend(LIMITS.iter().filter_map(|path| keys::find(path)).map(|key| over(key, EVERY)));
    names.extend(keys::find(MAX_RESPONSE_SIZE).map(|key| over(key, &[Upstream, Files])));
    for (section, switch, by, without, targets) in SECTION_TABLES {
        let rows: Vec<_> = section_rows(section).filter(|key| !without.contains(&key.path)).collect();
        if let Some(by) = keys::find(by) {
            names.push(Name { name: section, takes: Takes::Section { rows, switch: switch(by) }, targets });
        }
    }
    let upstream = section_rows("upstream").filter(|key| key.path != "upstream.url");
    names.extend(upstream.map(|key| over(key, &[Upstream])));
    names.extend(section_rows("files").filter(|key| key.path != "files.root").map(|key| over(key, &[Files])));
    names
}

fn section_rows(section: &str) -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().filter(move |(name, _, _)| *name == section).flat_map(|(_, _, keys)| keys.iter())
}

/// What a check asks, of which there is one.
pub(in crate::config) const PROBES: [&str; 4] = ["tcp", "http", "redis", "postgres"];

/// Everything that may stand in a `[[check]]`.
pub(in crate::config) const CHECK: &[Key] = &[
    own("check.name", Kind::CheckName, "", "What /ready and the metrics call it."),
    own("check.tcp", Kind::HostPort { port: None }, "", "A connection can be made."),
    own("check.http", Kind::HttpUrl, "", "A GET is answered well."),
    own("check.redis", Kind::HostPort { port: Some(6_379) }, "", "A PING is answered."),
    own("check.postgres", Kind::HostPort { port: Some(5_432) }, "", "A start-up handshake is answered."),
    own(
        "check.ca",
        Kind::File,
        "",
        "CAs (PEM) that an https:// URL has to have its certificate of, in place of the public ones.",
    ),
    own("check.interval", Kind::Time { min: 10, max: keys::DAY }, "5s", "From one try to the next."),
    own("check.timeout", TIMEOUT, "2s", "Longest time of a try."),
    own("check.fall", Kind::Count { min: 1, max: 1_000 }, "3", "Failures in a row that make it fail."),
    own("check.rise", Kind::Count { min: 1, max: 1_000 }, "2", "Successes in a row that make it pass again."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;
    use crate::config::source::Raw;

    #[test]
    fn no_name_stands_twice_and_every_row_is_found() {
        let names = route();
        let known: std::collections::HashSet<_> = names.iter().map(|name| name.name).collect();
        assert_eq!(known.len(), names.len());
        for path in LIMITS.iter().chain([&MAX_RESPONSE_SIZE]) {
            assert!(keys::find(path).is_some(), "{path}");
        }
        for (section, _, by, without, _) in SECTION_TABLES {
            assert!(keys::find(by).is_some_and(|key| key.section() == *section));
            assert!(without.iter().all(|path| keys::find(path).is_some()));
        }
        assert!(TargetKind::ALL.iter().all(|target| known.contains(target.name())));
        assert!(PROBES.iter().all(|probe| CHECK.iter().any(|key| key.name() == *probe)));
    }

    #[test]
    fn every_default_can_be_written() {
        for key in REDIRECT.iter().chain(RESPOND).chain(CHECK).filter(|key| !key.default.is_empty()) {
            let value = parse(key, &Raw::Text(key.default.to_owned()), false);
            assert_eq!(value.map(|value| value.to_string()).as_deref(), Ok(key.default), "{}", key.path);
        }
    }

    #[test]
    fn all_that_a_route_overrides_a_reload_applies() {
        for name in route() {
            let rows = match name.takes {
                Takes::Override(key) => vec![key],
                Takes::Section { rows, .. } => rows,
                Takes::Own(_) | Takes::OwnTable(_) => vec![],
            };
            assert!(rows.iter().all(|key| key.reloadable), "{}", name.name);
        }
    }
}
