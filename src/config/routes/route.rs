//! From one `[[route]]` table to a route with every effective value.

use http::Method;

use super::RouteRow;
use super::certificates::Certificates;
use super::model::{RouteConfig, Target};
use super::names::{Name, Takes, TargetKind};
use super::raw::{RawEntry, RawTable, RawValue};
use super::report::Report;
use crate::config::Config;
use crate::config::keys;
use crate::config::settings::Settings;
use crate::config::value::Value;
use crate::handler::routes::normal;

/// A route that is being read.
pub(super) struct Reader<'a, 'e> {
    pub(super) raw: &'a RawTable,
    pub(super) names: &'a [Name],
    pub(super) settings: &'a Settings,
    pub(super) report: Report<'e>,
    /// The global configuration with the route's own values written over it.
    pub(super) own: Config,
    /// What was written over it.
    pub(super) set: Vec<SetHere>,
    /// The files of certificates that were looked at already.
    pub(super) certificates: &'a mut Certificates,
    /// Whether the route counts its own requests, or none.
    pub(super) own_rate_limit: bool,
}

/// What no two routes share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    host: Option<String>,
    path: String,
}

/// An override.
pub(super) struct SetHere {
    /// `connect_timeout`, `rate_limit.burst`
    pub(super) name: String,
    /// `section.key`
    pub(super) key: &'static str,
    pub(super) value: Value,
}

impl Reader<'_, '_> {
    /// The route's place, and the route with its row for people; each `None` where something
    /// essential of it is wrong.
    pub(super) fn read(mut self) -> (Option<Place>, Option<(RouteConfig, RouteRow)>) {
        let kinds = self.target_kinds();
        let kind = if let [only] = kinds.as_slice() { Some(*only) } else { None };
        for entry in &self.raw.entries {
            self.entry(entry, kind);
        }
        let path = self.path();
        let host = match self.own_value("host") {
            Some(Value::Hosts(hosts)) => Some(hosts.into_iter().next()),
            Some(_) => None,
            None => Some(None).filter(|_| self.raw.entry("host").is_none()),
        };
        let methods = match self.own_value("methods") {
            Some(Value::Methods(methods)) => Some(methods),
            _ => None,
        };
        if let Some(methods) = &methods {
            self.own.limits.allowed_methods.clone_from(methods);
            let value = Value::Methods(methods.clone());
            self.set.push(SetHere { name: "methods".to_owned(), key: "limits.allowed_methods", value });
        }
        let targets: Vec<_> = kinds.iter().map(|kind| self.target(*kind)).collect();
        let place = host.zip(path).map(|(host, path)| Place { host, path });
        let route = match (&place, targets.into_iter().next().flatten(), kind) {
            (Some(place), Some(target), Some(_)) => Some(self.route(place.clone(), target, methods)),
            _ => None,
        };
        (place, route)
    }

    fn route(
        mut self,
        Place { host, path }: Place,
        target: Target,
        methods: Option<Vec<Method>>,
    ) -> (RouteConfig, RouteRow) {
        self.consequences(&target);
        let own_size = self.is_set("limits.max_response_size");
        let row = RouteRow {
            host: host.clone(),
            path: path.clone(),
            target: target.to_string(),
            origin: self.raw.origin.clone(),
            overrides: self.overrides(),
        };
        let Config { limits, upstream, files, compression, security_headers, rate_limit, .. } = self.own;
        let route = RouteConfig {
            path,
            host,
            target,
            origin: self.raw.origin.clone(),
            max_response_size: limits.max_response_size.filter(|_| own_size),
            limits,
            upstream,
            files,
            compression,
            security_headers,
            rate_limit: Some(rate_limit).filter(|_| self.own_rate_limit),
            methods,
        };
        (route, row)
    }

    /// What the table leads to: exactly one thing, or that is an error.
    fn target_kinds(&mut self) -> Vec<TargetKind> {
        let named = |kind: &TargetKind| self.raw.entry(kind.name()).is_some();
        let kinds: Vec<_> = TargetKind::ALL.into_iter().filter(named).collect();
        let names = |kinds: &[TargetKind], between| {
            kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(between)
        };
        let allowed = format!("allowed: exactly one of {}", names(&TargetKind::ALL, ", "));
        match kinds.as_slice() {
            [_] => {}
            [] => self.report.whole(&self.raw.origin, format!("leads nowhere; {allowed}")),
            more => self.report.whole(&self.raw.origin, format!("has {}; {allowed}", names(more, " and "))),
        }
        kinds
    }

    /// Checks one entry, and takes over what it overrides.
    fn entry(&mut self, entry: &RawEntry, target: Option<TargetKind>) {
        let Some(name) = self.names.iter().find(|name| name.name == entry.name) else {
            let known = self.names.iter().map(|name| name.name);
            self.report.unknown("", entry, known, not_of_a_route(&entry.name));
            return;
        };
        let is_target = TargetKind::ALL.iter().any(|kind| kind.name() == name.name);
        match target {
            // A second target has its own error already.
            Some(target) if !is_target && !name.targets.contains(&target) => {
                let with: Vec<_> = name.targets.iter().map(|kind| kind.name()).collect();
                let (target, with) = (target.name(), with.join(" or "));
                let problem = format!("means nothing with {target}; it goes with {with}");
                self.report.entry("", entry, &problem);
            }
            _ => match &name.takes {
                Takes::Own(_) | Takes::OwnTable(_) => {}
                Takes::Override(row) => self.take("", entry, row),
                Takes::Section { rows, switch } => match &entry.value {
                    RawValue::Table(entries) => self.take_section(entry, entries, rows, *switch),
                    _ => self.take_switch(entry, rows, *switch),
                },
            },
        }
    }

    /// Whether the key was set here.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.set.iter().any(|set| set.key == key)
    }

    /// The value of a name that is the route's own; what is wrong with it is reported.
    pub(super) fn own_value(&mut self, name: &str) -> Option<Value> {
        let known = self.names.iter().find(|known| known.name == name)?;
        let Takes::Own(row) = known.takes else { return None };
        self.report.value("", self.raw.entry(name)?, row)
    }

    /// The path in the spelling in which it is compared, without a slash at its end.
    fn path(&mut self) -> Option<String> {
        let Some(entry) = self.raw.entry("path") else {
            self.report.whole(&self.raw.origin, "has no path; / is for every request".to_owned());
            return None;
        };
        let Some(Value::UrlPath(path)) = self.own_value("path") else { return None };
        if path.contains('*') {
            self.report.entry("", entry, "has a *; a path takes all below it as it is");
            return None;
        }
        let path = normal(&path);
        let bare = path.strip_suffix('/').unwrap_or(&path);
        Some(if bare.is_empty() { "/".to_owned() } else { bare.to_owned() })
    }

    /// What follows from the target, and from several values together.
    fn consequences(&mut self, target: &Target) {
        match target {
            Target::Upstream(urls) => self.own.upstream.url.clone_from(urls),
            _ => self.own.upstream.url.clear(),
        }
        self.own.files.root = match target {
            Target::Files(root) => Some(root.clone()),
            _ => None,
        };
        if matches!(target, Target::Upstream(_) | Target::Files(_)) {
            // They break pages that were not made for them.
            let chosen = |key: &str| self.settings.explicit(key) || self.is_set(key);
            let policy = chosen("security_headers.content_security_policy");
            let permissions = chosen("security_headers.permissions_policy");
            let headers = &mut self.own.security_headers;
            headers.content_security_policy = headers.content_security_policy.take().filter(|_| policy);
            headers.permissions_policy = headers.permissions_policy.take().filter(|_| permissions);
        }
        self.certificates();
        let upstream = &self.own.upstream;
        if upstream.eject_time > upstream.max_eject_time
            && let Some(entry) = self.raw.entry("max_eject_time").or_else(|| self.raw.entry("eject_time"))
        {
            let problem = "the first time is longer than the longest (eject_time, max_eject_time)";
            self.report.entry("", entry, problem);
        }
    }

    /// What differs from the global values.
    fn overrides(&self) -> Vec<(String, String)> {
        let differs = |set: &&SetHere| self.settings.effective(set.key) != Some(&set.value);
        let shown = |set: &SetHere| (set.name.clone(), set.value.to_string());
        self.set.iter().filter(differs).map(shown).collect()
    }
}

/// What an unknown name may stand for: a key of the whole server, or a section.
fn not_of_a_route(name: &str) -> Option<String> {
    if keys::SECTIONS.iter().any(|(section, _, _)| *section == name) {
        return Some(format!("what a route has of [{name}] stands by its own name, as in connect_timeout"));
    }
    let key = keys::all().find(|key| key.name() == name)?;
    Some(format!("{} is of the whole server", key.path))
}
