//! `[[route]]` and `[[check]]`: tables of the file of which there can be many.
//!
//! Stage one ([`RawTable`]) keeps what was written and where; stage two makes routes and checks of
//! it, each name by the rules of [`names`].

mod certificates;
mod checks;
pub(super) mod document;
mod model;
pub(super) mod names;
mod overrides;
mod place;
mod raw;
mod report;
mod route;
mod target;

use std::collections::HashMap;

use super::Config;
use super::error::ConfigError;
use super::file::MOST_ERRORS;
use super::settings::Settings;
use super::source::{Origin, Raw};
use super::value::Value;
use crate::handler::routes::{Prefixes, normal, order};
use certificates::Certificates;
use raw::{RawEntry, RawValue};
use report::Report;
use route::{Place, Reader};

pub(super) use checks::checks;
pub use model::{CheckConfig, Probe, RouteConfig, Target};
pub(super) use raw::RawTable;

/// A route, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// The host; `None` is any.
    pub host: Option<String>,
    /// The prefix.
    pub path: String,
    /// What answers.
    pub target: String,
    /// Where it was set.
    pub origin: Origin,
    /// What differs from the global values: names and values.
    pub overrides: Vec<(String, String)>,
}

/// Redirects that are followed in search of a circle; browsers give up after 20.
const MOST_HOPS: usize = 20;

/// Routes, in the order in which they are matched.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) routes: Vec<RouteConfig>,
    /// The same, for people.
    pub(super) rows: Vec<RouteRow>,
}

/// Makes routes of tables and of `upstream.url` and `files.root`; `global` is what they override.
/// What is wrong goes to the errors, and leaves its route out.
pub(super) fn routes(
    tables: &[RawTable],
    settings: &Settings,
    global: &Config,
    errors: &mut Vec<ConfigError>,
) -> Routes {
    let names = names::route();
    let implied = implied(settings);
    let tables = tables.iter().map(|table| ("route".to_owned(), table));
    let tables = tables.chain(implied.iter().map(|(name, table)| (name.clone(), table)));
    let mut found: Vec<(RouteConfig, RouteRow, String)> = Vec::new();
    let mut seen: HashMap<Place, String> = HashMap::new();
    let mut certificates = Certificates::default();
    let before = errors.len();
    for (kind, raw) in tables {
        let report = Report::new(&kind, raw, "path", errors);
        let table = report.table().to_owned();
        let own = global.clone();
        let reader = Reader {
            raw,
            names: &names,
            settings,
            report,
            own,
            set: Vec::new(),
            certificates: &mut certificates,
            own_rate_limit: false,
        };
        let (place, route) = reader.read();
        if let Some(place) = place {
            match seen.get(&place) {
                Some(first) => {
                    let problem = format!("the same host and path as {first}");
                    Report::new(&kind, raw, "path", errors).whole(&raw.origin, problem);
                }
                None => {
                    seen.insert(place, format!("{table} ({})", raw.origin));
                }
            }
        }
        found.extend(route.map(|(route, row)| (route, row, table)));
    }
    found.sort_by_cached_key(|(route, _, _)| match_order(route));
    circles(&found, errors);
    // As somebody goes through the file who corrects it.
    if let Some(new) = errors.get_mut(before..) {
        new.sort_by_key(line);
    }
    let mut routes = Routes::default();
    for (route, row, _) in found {
        routes.routes.push(route);
        routes.rows.push(row);
    }
    routes
}

/// The line of the file, or beyond every file.
fn line(error: &ConfigError) -> usize {
    match error {
        ConfigError::Table { origin: Origin::File { line, .. }, .. } => *line,
        _ => usize::MAX,
    }
}

/// As the table of routes has them; and what is alike there, by name.
fn match_order(route: &RouteConfig) -> impl Ord + use<> {
    (order(route.host.as_deref(), &route.path), route.host.clone(), route.path.clone())
}

/// `upstream.url` and `files.root` as the tables that they stand for.
fn implied(settings: &Settings) -> Vec<(String, RawTable)> {
    let table = |key, name: &str| {
        let chosen = settings.sound(key)?;
        let raw = match chosen.effective() {
            Value::Upstreams(urls) if !urls.is_empty() => {
                Raw::List(urls.iter().map(ToString::to_string).collect())
            }
            Value::Folder(root) => Raw::Text(root.to_str()?.to_owned()),
            _ => return None,
        };
        let entry = |name: &str, raw| RawEntry {
            name: name.to_owned(),
            origin: chosen.origin.clone(),
            value: RawValue::Plain(raw),
        };
        let shown = format!("{key} = {raw}");
        let entries = vec![entry("path", Raw::Text("/".to_owned())), entry(name, raw)];
        Some((shown, RawTable { number: 0, origin: chosen.origin.clone(), entries }))
    };
    [table("upstream.url", "upstream"), table("files.root", "root")].into_iter().flatten().collect()
}

/// A redirect to a path that it takes itself, or that another leads back to it, has its clients go
/// round in a circle.
fn circles(routes: &[(RouteConfig, RouteRow, String)], errors: &mut Vec<ConfigError>) {
    // A request would be looked for among those of any host as well; that is no circle to be sure of.
    let mut prefixes: HashMap<Option<&str>, Prefixes> = HashMap::new();
    for (place, (route, _, _)) in routes.iter().enumerate() {
        prefixes.entry(route.host.as_deref()).or_default().add(route.path.trim_end_matches('/'), place);
    }
    // Where a client ends up that follows one redirect. URLs may be of any host.
    let next = |(route, _, _): &(RouteConfig, RouteRow, String)| {
        let Target::Redirect { to, .. } = &route.target else { return None };
        let to = Some(to).filter(|to| to.starts_with('/'))?;
        let path = normal(to.split(['?', '#']).next().unwrap_or_default());
        prefixes.get(&route.host.as_deref())?.longest(&path)
    };
    let next: Vec<Option<usize>> = routes.iter().map(next).collect();
    let next = |place: usize| next.get(place).copied().flatten();
    for (place, (route, _, table)) in routes.iter().enumerate() {
        let Target::Redirect { to, .. } = &route.target else { continue };
        let mut stops = std::iter::successors(next(place), |place| next(*place)).take(MOST_HOPS);
        let back = match stops.position(|stop| stop == place) {
            None => continue,
            Some(0) => "leads back to this very route",
            Some(_) => "leads back to this very route, by way of others",
        };
        if errors.len() >= MOST_ERRORS {
            return;
        }
        errors.push(ConfigError::Table {
            table: table.clone(),
            origin: route.origin.clone(),
            problem: format!("redirect.to = {to:?}: {back}"),
        });
    }
}

#[cfg(test)]
mod tests;
