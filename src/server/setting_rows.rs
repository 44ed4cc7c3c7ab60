//! The configuration in force, for people who look on.

use crate::admin::page::SettingRow;
use crate::config::{Loaded, Origin};

/// Routes and checks that are shown; all of them can be seen by `nessen check`.
const MOST_TABLES: usize = 200;

/// Every key with its value and origin, in the order of the table of keys; then routes and checks.
pub fn setting_rows(loaded: &Loaded) -> Vec<SettingRow> {
    let mut rows: Vec<_> = loaded
        .values
        .iter()
        .map(|value| SettingRow {
            key: value.key.to_owned(),
            value: value.value.clone(),
            origin: value.origin.to_string(),
            explicit: value.explicit,
            note: if value.auto { "decided by auto" } else { "" },
        })
        .collect();
    let table = |key: String, value: String, origin: &Origin| SettingRow {
        key,
        value,
        origin: origin.to_string(),
        explicit: true,
        note: "",
    };
    rows.extend(loaded.routes.iter().take(MOST_TABLES).map(|route| {
        let overrides = route.overrides.iter().map(|(name, value)| format!(", {name} = {value}"));
        let value = route.target.clone() + &overrides.collect::<String>();
        let host = route.host.as_deref().unwrap_or_default();
        table(format!("route {host}{}", route.path), value, &route.origin)
    }));
    rows.extend(
        loaded
            .config
            .checks
            .iter()
            .take(MOST_TABLES)
            .map(|check| table(format!("check {}", check.name), check.probe.to_string(), &check.origin)),
    );
    for (what, count) in [("routes", loaded.routes.len()), ("checks", loaded.config.checks.len())] {
        if let Some(more) = count.checked_sub(MOST_TABLES).filter(|more| *more > 0) {
            rows.push(SettingRow {
                key: format!("further {what}"),
                value: format!("{more}, which nessen check prints"),
                origin: String::new(),
                explicit: true,
                note: "",
            });
        }
    }
    rows
}

/// The rows after a reload: a setting that only a restart can apply keeps its value, and says so.
pub fn reloaded_rows(started_with: &Loaded, loaded: &Loaded, needs_restart: &[&str]) -> Vec<SettingRow> {
    let mut rows = setting_rows(loaded);
    let old = setting_rows(started_with);
    const NOTE: &str = "changed since; needs a restart";
    if needs_restart.contains(&"[[check]]") {
        let is_check = |row: &&SettingRow| row.key.starts_with("check ");
        rows.retain(|row| !is_check(&row));
        rows.extend(old.iter().filter(is_check).map(|old| SettingRow { note: NOTE, ..old.clone() }));
    }
    for row in rows.iter_mut().filter(|row| needs_restart.contains(&&*row.key)) {
        if let Some(old) = old.iter().find(|old| old.key == row.key) {
            *row = SettingRow { note: NOTE, ..old.clone() };
        }
    }
    rows
}
