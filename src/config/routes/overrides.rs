//! What a route sets in place of the global values. Every value is read and written by the row of
//! the table of keys that it overrides.

use super::names::Switch;
use super::raw::{RawEntry, RawValue};
use super::route::{Reader, SetHere};
use crate::config::keys::{self, Key};
use crate::config::parse::parse;
use crate::config::value::Value;

impl Reader<'_, '_> {
    /// Takes one value over; `within` is the table that it stands in, if one.
    pub(super) fn take(&mut self, within: &str, entry: &RawEntry, row: &'static Key) {
        if let Some(value) = self.report.value(within, entry, row) {
            let name = if within.is_empty() { row.name() } else { row.path };
            self.write(name, row, value);
        }
    }

    fn write(&mut self, name: &str, row: &'static Key, value: Value) {
        // What `auto` comes to follows from what stands beside it.
        if value != Value::Auto {
            let written = (row.set)(&mut self.own, &value);
            debug_assert!(written, "{} does not take its own value", row.path);
            self.set.push(SetHere { name: name.to_owned(), key: row.path, value });
        }
    }

    /// Takes a table over that stands for a section.
    pub(super) fn take_section(
        &mut self,
        section: &RawEntry,
        entries: &[RawEntry],
        rows: &[&'static Key],
        switch: Switch,
    ) {
        for entry in entries {
            match rows.iter().find(|row| row.name() == entry.name) {
                Some(row) => self.take(&section.name, entry, row),
                None => {
                    let key = keys::find(&format!("{}.{}", section.name, entry.name));
                    let known = rows.iter().map(|row| row.name());
                    let hint = key.map(|key| format!("{} is of the whole server", key.path));
                    self.report.unknown(&section.name, entry, known, hint);
                }
            }
        }
        match switch {
            // Who writes a table wants what it says.
            Switch::Bool(row) if !self.is_set(row.path) => self.write(row.path, row, Value::Bool(true)),
            Switch::Bool(_) => {}
            Switch::Off(requests) => {
                self.own_rate_limit = true;
                let limit = &mut self.own.rate_limit;
                let burst_written = entries.iter().any(|entry| entry.name == "burst");
                let burst_set = self.set.iter().any(|set| set.key == "rate_limit.burst");
                // The global burst goes with the global number of requests.
                if !burst_set
                    && (burst_written || self.set.iter().any(|set| set.key == requests.path))
                    && let Some(requests) = limit.max_requests
                {
                    limit.burst = requests;
                }
                // What is faulty has its own error already.
                let known = |entry: &RawEntry| rows.iter().any(|row| row.name() == entry.name);
                let written = entries.iter().any(|entry| entry.name == requests.name());
                if limit.max_requests.is_none() && !written && entries.iter().all(known) {
                    let problem = "has no max_requests, and [rate_limit] has none either";
                    self.report.entry("", section, problem);
                }
            }
        }
    }

    /// Takes over what stands for a whole section and is no table.
    pub(super) fn take_switch(&mut self, entry: &RawEntry, rows: &[&'static Key], switch: Switch) {
        let (row, words) = match switch {
            Switch::Bool(row) => (row, "true, false"),
            Switch::Off(row) => (row, "off"),
        };
        let value = match &entry.value {
            RawValue::Plain(raw) => parse(row, raw, false).ok(),
            RawValue::Table(_) | RawValue::Other(_) => None,
        };
        match (switch, value) {
            (Switch::Bool(_), Some(value)) => self.write(row.path, row, value),
            (Switch::Off(_), Some(Value::Off)) => {
                self.own_rate_limit = true;
                self.write(row.path, row, Value::Off);
            }
            _ => {
                let names: Vec<_> = rows.iter().map(|row| row.name()).collect();
                let problem = format!("not taken here; allowed: {words}, or a table of {}", names.join(", "));
                self.report.entry("", entry, &problem);
            }
        }
    }
}
