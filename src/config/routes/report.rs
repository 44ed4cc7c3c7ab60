//! How a table is read: its own rows, and errors that say which table, which key, and what instead.

use super::raw::{RawEntry, RawTable, RawValue};
use crate::config::error::{ConfigError, Setting};
use crate::config::file::MOST_ERRORS;
use crate::config::keys::Key;
use crate::config::parse::parse;
use crate::config::source::{Origin, Raw};
use crate::config::suggest;
use crate::config::value::Value;

/// Where the errors of one table go.
pub(super) struct Report<'a> {
    /// `route 2 "/api"`
    table: String,
    /// Whether it stands for one setting, whose value the name has already.
    implied: bool,
    errors: &'a mut Vec<ConfigError>,
}

impl<'a> Report<'a> {
    /// `name` is what the table calls itself, as it was written.
    pub(super) fn new(kind: &str, raw: &RawTable, name: &str, errors: &'a mut Vec<ConfigError>) -> Self {
        let name = raw.entry(name).map(|entry| format!(" {}", entry.value)).unwrap_or_default();
        let implied = raw.number == 0;
        let table = if implied { kind.to_owned() } else { format!("{kind} {}{name}", raw.number) };
        Self { table, implied, errors }
    }

    /// How errors of other tables call this one.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Something is wrong with the table as a whole.
    pub(super) fn whole(&mut self, origin: &Origin, problem: String) {
        // A file with more is none that a person wrote for us.
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(ConfigError::Table {
                table: self.table.clone(),
                origin: origin.clone(),
                problem,
            });
        }
    }

    /// Something is wrong with one entry; `within` is the table that it stands in, if one.
    pub(super) fn entry(&mut self, within: &str, entry: &RawEntry, problem: &str) {
        let problem = match self.implied {
            true => problem.to_owned(),
            false => format!("{} = {}: {problem}", path(within, &entry.name), entry.value),
        };
        self.whole(&entry.origin, problem);
    }

    /// Something is wrong with a setting that stands elsewhere.
    pub(super) fn setting(&mut self, setting: Setting, problem: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(ConfigError::Contradiction { settings: vec![setting], problem });
        }
    }

    /// There is no such name; of the `known` ones the nearest is meant.
    pub(super) fn unknown<'k>(
        &mut self,
        within: &str,
        entry: &RawEntry,
        known: impl Iterator<Item = &'k str>,
        otherwise: Option<String>,
    ) {
        // To find what was meant costs the most of all, and would be thrown away.
        if self.errors.len() >= MOST_ERRORS {
            return;
        }
        let near = suggest::nearest(&entry.name, known.map(str::to_owned));
        let more = match (near, otherwise) {
            (Some(near), _) => format!("; did you mean {}?", path(within, &near)),
            (None, Some(otherwise)) => format!("; {otherwise}"),
            (None, None) => String::new(),
        };
        let name = path(within, &entry.name);
        self.whole(&entry.origin, format!("{name}: no such key{more}"));
    }

    /// The value of an entry, as `row` takes it.
    pub(super) fn value(&mut self, within: &str, entry: &RawEntry, row: &Key) -> Option<Value> {
        let raw = match &entry.value {
            RawValue::Plain(raw) => raw,
            RawValue::Table(_) | RawValue::Other(_) => {
                let problem = format!("not a value that a key takes; allowed: {}", row.allowed());
                self.entry(within, entry, &problem);
                return None;
            }
        };
        match parse(row, raw, false) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.entry(within, entry, &format!("{problem}; allowed: {}", row.allowed()));
                None
            }
        }
    }

    /// The values of a table that has rows of its own, in their order: what is written, else the
    /// default, else nothing. `None` where something is wrong.
    pub(super) fn values(
        &mut self,
        within: &str,
        entries: &[RawEntry],
        rows: &[Key],
    ) -> Option<Vec<Option<Value>>> {
        let mut sound = true;
        for entry in entries.iter().filter(|entry| rows.iter().all(|row| row.name() != entry.name)) {
            self.unknown(within, entry, rows.iter().map(Key::name), None);
            sound = false;
        }
        let mut values = Vec::new();
        for row in rows {
            let written = entries.iter().find(|entry| entry.name == row.name());
            let value = match written {
                Some(entry) => {
                    let value = self.value(within, entry, row);
                    sound &= value.is_some();
                    value
                }
                None if row.default.is_empty() => None,
                None => parse(row, &Raw::Text(row.default.to_owned()), false).ok(),
            };
            values.push(value);
        }
        sound.then_some(values)
    }
}

/// `redirect.to`, or `path` where it stands in no table.
fn path(within: &str, name: &str) -> String {
    // Escaped: a name must not be able to write to the terminal of who reads it.
    let name = name.escape_debug();
    if within.is_empty() { name.to_string() } else { format!("{within}.{name}") }
}
