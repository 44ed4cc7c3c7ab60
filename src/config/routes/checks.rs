//! From `[[check]]` tables to checks.

use std::collections::HashMap;

use super::line;
use super::model::{CheckConfig, Probe};
use super::names::{CHECK, PROBES};
use super::raw::{RawTable, RawValue};
use super::report::Report;
use crate::config::error::ConfigError;
use crate::config::source::{Origin, Raw};
use crate::config::value::Value;
use crate::tls::client::ClientOptions;

/// Every check that is sound, in the order of the file; what is wrong goes to the errors.
pub(in crate::config) fn checks(tables: &[RawTable], errors: &mut Vec<ConfigError>) -> Vec<CheckConfig> {
    let before = errors.len();
    let mut checks = Vec::new();
    let mut names: HashMap<String, Origin> = HashMap::new();
    for raw in tables {
        let mut report = Report::new("check", raw, "name", errors);
        checks.extend(check(raw, &mut report));
        let Some(RawValue::Plain(Raw::Text(name))) = raw.entry("name").map(|entry| &entry.value) else {
            continue;
        };
        if let Some(first) = names.get(name.trim()) {
            report.whole(&raw.origin, format!("the same name as the check at {first}"));
        }
        names.entry(name.trim().to_owned()).or_insert_with(|| raw.origin.clone());
    }
    if let Some(new) = errors.get_mut(before..) {
        new.sort_by_key(line);
    }
    checks
}

fn check(raw: &RawTable, report: &mut Report<'_>) -> Option<CheckConfig> {
    let values = report.values("", &raw.entries, CHECK);
    let named: Vec<&str> = PROBES.into_iter().filter(|probe| raw.entry(probe).is_some()).collect();
    let allowed = format!("exactly one of {}", PROBES.join(", "));
    match named.as_slice() {
        [_] => {}
        [] => report.whole(&raw.origin, format!("asks nothing; allowed: {allowed}")),
        more => report.whole(&raw.origin, format!("has {}; allowed: {allowed}", more.join(" and "))),
    }
    if raw.entry("name").is_none() {
        report.whole(&raw.origin, "has no name".to_owned());
    }
    if named.len() != 1 {
        return None;
    }
    let mut values = values?.into_iter();
    let mut next = || values.next().flatten();
    let Some(Value::Text(name)) = next() else { return None };
    let mut probe = None;
    for kind in PROBES {
        if let Some(Value::Endpoint { host, port, path, tls }) = next() {
            probe = Some(match kind {
                "tcp" => Probe::Tcp { host, port },
                "http" if tls => Probe::Https { host, port, path, ca: None },
                "http" => Probe::Http { host, port, path },
                "redis" => Probe::Redis { host, port },
                _ => Probe::Postgres { host, port },
            });
        }
    }
    if let Some(Value::File(file)) = next()
        && let Some(entry) = raw.entry("ca")
    {
        match &mut probe {
            Some(Probe::Https { ca, .. }) => {
                let options = ClientOptions { ca: Some(file.clone()), identity: None };
                if let Err(error) = options.config(&[]) {
                    report.entry("", entry, &error.problem);
                }
                *ca = Some(file);
            }
            _ => report.entry("", entry, "means nothing without an https:// URL in http"),
        }
    }
    let (Some(Value::Time(interval)), Some(Value::Time(timeout))) = (next(), next()) else { return None };
    let (Some(Value::Count(fall)), Some(Value::Count(rise))) = (next(), next()) else { return None };
    Some(CheckConfig {
        name,
        probe: probe?,
        interval,
        timeout,
        fall: u32::try_from(fall).ok()?,
        rise: u32::try_from(rise).ok()?,
        origin: raw.origin.clone(),
    })
}
