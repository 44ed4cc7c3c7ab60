//! Routes and checks in the reference and in the example file.

use std::fmt::Write;

use super::names::{self, Name, Switch, Takes, TargetKind};
use crate::config::keys::Key;

const ROUTES: &str = "
## [[route]]

What answers which paths of which hosts; a table for each, in the file alone, up to 10000 of them in 4 MiB.
What a request costs does not depend on their number. `upstream.url` and
`files.root` are one more route at `/`. Without any route, the welcome app answers.

A request goes to the route of its very host, else of the longest `*.` that its host is below, else of
no host, and there to the longest `path`, on segment borders. Where no route of its host takes its path,
those of no host may. `nessen check` prints the routes in this order. However a path is spelled, as in
`/%61pi`, `//api` or `/x/../api` for `/api`, it goes to the same route; what it leads to is given the path
as it came.

Exactly one of `upstream`, `root`, `redirect` and `respond` says what answers. Everything else stands in
place of a global key, for this route alone, with the values that it takes; what is left out is as it
is for all. `content_security_policy` and `permissions_policy` are added to what comes from `upstream`
and `root` only where they are set, globally or in the route. All of it changes on SIGHUP (\u{21bb}).

| name | with | allowed | meaning |
|---|---|---|---|
";

const CHECKS: &str = "
## [[check]]

What `/ready` depends on; a table for each, in the file alone, with exactly one of `tcp`, `http`,
`redis` and `postgres`. A check that fails makes `/ready` 503 and nothing else. A change needs a restart.

| name | default | allowed | meaning |
|---|---|---|---|
";

/// The sections of the reference.
pub(in crate::config) fn reference() -> String {
    let mut text = ROUTES.to_owned();
    for name in names::route() {
        route_rows(&mut text, &name);
    }
    text.push_str(CHECKS);
    for row in names::CHECK {
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {default} | {} | {} |", row.name(), row.allowed(), row.help);
    }
    text
}

fn route_rows(text: &mut String, name: &Name) {
    let with = match name.targets.len() {
        all if all == TargetKind::ALL.len() => "any".to_owned(),
        _ => name.targets.iter().map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(", "),
    };
    let mut line = |name: &str, allowed: &str, help: &str| {
        let _ = writeln!(text, "| `{name}` | {with} | {allowed} | {help} |");
    };
    let names = |rows: &mut dyn Iterator<Item = &Key>| {
        rows.map(|row| format!("`{}`", row.name())).collect::<Vec<_>>().join(", ")
    };
    match &name.takes {
        Takes::Own(row) => line(name.name, &row.allowed(), row.help),
        Takes::Override(row) => line(name.name, &row.allowed(), &format!("`{}`", row.path)),
        Takes::OwnTable(rows) => {
            line(name.name, &format!("a table of {}", names(&mut rows.iter())), "As follows.");
            for row in *rows {
                let default = match row.default {
                    "" => String::new(),
                    default => format!(" Default: `{default}`."),
                };
                line(row.path, &row.allowed(), &format!("{}{default}", row.help));
            }
        }
        Takes::Section { rows, switch } => {
            let switch = match switch {
                Switch::Bool(_) => "true, false",
                Switch::Off(_) => "off",
            };
            let allowed = format!("{switch}, or a table of {}", names(&mut rows.iter().copied()));
            line(name.name, &allowed, &format!("`{}.*`", name.name));
        }
    }
}

/// The end of the example file. Its settings stand as prose does, behind a space: who uncomments the
/// keys above is left with the defaults.
pub(in crate::config) const EXAMPLE: &str = r##"
# Routes: what answers which paths of which hosts. The longest path of the most exact host wins.
# Each can override most of what is above: docs/CONFIGURATION.md has all names.
#
# [[route]]
# path = "/api"
# upstream = ["http://app-1:8080", "http://app-2:8080"]
# health_path = "/healthz"
# request_timeout = "10s"
# methods = ["GET", "POST"]
# rate_limit = { max_requests = 100, window = "1s" }
#
# [[route]]
# path = "/uploads"
# host = "files.example.com"
# upstream = "h2c://uploads:8080"
# max_body_size = "1GiB"
# compression = false
#
# [[route]]
# path = "/"
# root = "./public"
# fallback = "/index.html"
# security_headers = { content_security_policy = "default-src 'self'" }
#
# [[route]]
# path = "/old"
# redirect = { to = "/new", status = 308, keep_path = true }
#
# [[route]]
# path = "/robots.txt"
# respond = { status = 200, body = "User-agent: *\n", content_type = "text/plain" }

# Readiness checks: /ready is 503 while one fails.
#
# [[check]]
# name = "database"
# postgres = "db:5432"
#
# [[check]]
# name = "queue"
# tcp = "queue:5672"
# interval = "10s"
# timeout = "1s"
"##;
